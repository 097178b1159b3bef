// While a study runs: reload, with everything where the reader left it, and only as long as the reader wants. What the
// reader has chosen is in the address, which a reload keeps.
// After this long, a link that was followed is taken to have led nowhere.
const LEAVING_MS = 60000;

function follow(seconds, key) {
  const kept = JSON.parse(sessionStorage.getItem(key) || "{}");
  if (kept.top) scrollTo(0, kept.top);
  const label = document.body.appendChild(document.createElement("label"));
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = kept.follow !== false;
  label.className = "follow";
  label.append(box, ` reload every ${seconds} s`);
  addEventListener("pagehide", () => {
    sessionStorage.setItem(key, JSON.stringify({ top: scrollY, follow: box.checked }));
  });
  // Who has followed a link is on the way: a reload would call them back before a slow answer comes.
  let leftAt = -Infinity;
  addEventListener("beforeunload", () => { leftAt = Date.now(); });
  setInterval(() => {
    const leaving = Date.now() - leftAt < LEAVING_MS;
    if (box.checked && !document.hidden && !leaving) location.reload();
  }, seconds * 1000);
}
