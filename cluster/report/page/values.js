const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const four = (value) =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));

// Values: the points of a plot are those of its marks, and those along its lines.
function pointsOf(svg) {
  const points = [];
  all("path[data-x]", svg).forEach((line, series) => {
    const at = line.getAttribute("d").match(/-?[\d.]+/g).map(Number);
    const [xs, ys] = [line.dataset.x.split(" "), line.dataset.y.split(" ")];
    xs.forEach((x, number) => points.push({
      x: at[2 * number], y: at[2 * number + 1], series: series + 1, owner: line,
      text: () => lineText(line, Number(x), Number(ys[number])),
    }));
  });
  const marks = all(".mark", svg).map((mark) => {
    const [x, y] = mark.dataset.at.split(" ").map(Number);
    return { x, y, series: 0, owner: mark, text: () => mark.dataset.tip };
  });
  return [...marks.sort((one, other) => one.x - other.x || one.y - other.y), ...points];
}

function lineText(line, x, y) {
  const count = line.dataset.runs;
  const runs = count ? `, mean of ${count} run${count === "1" ? "" : "s"}` : "";
  const perplexity = line.dataset.perplexity ? ` (perplexity ${four(Math.exp(y))})` : "";
  return `${line.dataset.called || "B ="} ${line.dataset.batch}, ${four(x)} ${line.dataset.unit}: ` +
    `${line.dataset.what || "loss"} ${four(y)}${perplexity}${runs}`;
}

function readable(plot) {
  const svg = plot.querySelector("svg");
  all(".mark", svg).forEach((mark) => {
    const title = mark.querySelector("title");
    mark.dataset.tip = title.textContent;
    title.remove(); // else the browser's own tip lies over this one
  });
  const points = pointsOf(svg);
  if (!points.length) return;
  const tip = plot.appendChild(document.createElement("div"));
  tip.className = "tip";
  tip.setAttribute("role", "status");
  const cursor = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "circle"));
  cursor.setAttribute("class", "cursor");
  cursor.setAttribute("r", "0");
  plot.tabIndex = 0;
  plot.setAttribute("role", "group");
  plot.setAttribute("aria-label", `${svg.getAttribute("aria-label").split(". ")[0]}: arrow keys read the values`);
  let current = null;
  const seen = () => points.filter((point) => point.owner.getClientRects().length);
  const scale = () => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;

  function show(point) {
    current = point;
    tip.classList.toggle("on", Boolean(point));
    cursor.setAttribute("r", point ? "7" : "0");
    if (!point) return;
    cursor.setAttribute("cx", point.x);
    cursor.setAttribute("cy", point.y);
    tip.textContent = point.text();
    const [x, y] = [point.x * scale(), point.y * scale()];
    const left = Math.min(Math.max(x - tip.offsetWidth / 2, 0), plot.clientWidth - tip.offsetWidth);
    const above = y - tip.offsetHeight - 12;
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${above > 0 ? above : y + 14}px`;
  }

  function nearest(x, y, among) {
    let [best, least] = [null, Infinity];
    among.forEach((point) => {
      const away = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (away < least) [best, least] = [point, away];
    });
    return least < 45 ** 2 ? best : null;
  }

  plot.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    show(nearest((event.clientX - box.left) / scale(), (event.clientY - box.top) / scale(), seen()));
  });
  plot.addEventListener("pointerleave", () => show(null));
  plot.addEventListener("blur", () => show(null));
  plot.addEventListener("keydown", (event) => {
    const next = moved(event.key, current, seen());
    if (event.key === "Escape") show(null);
    if (!next) return;
    event.preventDefault();
    show(next);
  });
}

// Left and right go along a line or over the marks, up and down to the next line.
function moved(key, current, points) {
  const [along, across] = [{ ArrowLeft: -1, ArrowRight: 1 }[key], { ArrowUp: -1, ArrowDown: 1 }[key]];
  if (!points.length || !(along || across)) return null;
  if (!current || !points.includes(current)) return points[0];
  const ofSeries = points.filter((point) => point.series === current.series);
  if (along) return ofSeries[ofSeries.indexOf(current) + along] || current;
  const series = [...new Set(points.map((point) => point.series))];
  if (series.length < 2) return null;
  const other = series[(series.indexOf(current.series) + across + series.length) % series.length];
  const there = points.filter((point) => point.series === other);
  return there.reduce((one, two) => Math.abs(two.x - current.x) < Math.abs(one.x - current.x) ? two : one);
}
