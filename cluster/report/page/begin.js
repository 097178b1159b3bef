// A page with a script: everything that it shows is in the page already, and nothing is asked of the network.
document.documentElement.classList.add("js");
all(".plot").forEach(readable);
all("table.sortable").forEach(sortable);
all("section[data-curves]").forEach(switched);
all("a[data-unpacked]").forEach((link) => link.addEventListener("click", (event) => {
  if (typeof DecompressionStream === "undefined") return;
  event.preventDefault();
  unpack(link);
}));
all("a[data-picture]").forEach((link) => link.addEventListener("click", (event) => {
  event.preventDefault();
  picture(link);
}));
all("button[data-copy]").forEach((button) => button.addEventListener("click", () => copy(button)));
all("button[data-check]").forEach((button) => button.addEventListener("click", () => {
  all("input", button.parentElement).forEach((input) => { input.checked = button.dataset.check === "all"; });
}));
// What is folded on a screen is read on paper.
addEventListener("beforeprint", () => all(".evidence").forEach((one) => { one.open = true; }));
address();
const seconds = Number(document.body.dataset.refresh);
if (seconds) follow(seconds, `batchscope ${document.body.dataset.study}`);
