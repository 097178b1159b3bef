// Another metric or scale of the curves, and the trials that do not count: drawn from the numbers in the page, on the
// same axes and with the same marks as the drawing that is there without a script.
const [MEANT, COUNTED, TRIED, RUNNING] = [0, 1, 2, 3];
const TOP = 36, BOTTOM = 44, LEFT = 56, RIGHT = 40;

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  if (text !== undefined) made.textContent = text;
  return made;
}

function switched(section) {
  const trials = JSON.parse(section.dataset.curves).map(
    ([kind, curve, batch, colour, epochs, updates, seconds, validation, training, accuracy]) => ({
      kind, curve, colour, validation, training, accuracy,
      gap: training.length ? validation.map((loss, at) => gapOf(loss, training[at])) : [],
      updates, seconds,
      examples: updates.map((update) => update * batch),
      epochs: updates.map((update) => update * batch * epochs),
    }));
  const chosen = (name) => section.querySelector(`input[name^="${name}"]:checked`)?.value;
  const also = (value) => section.querySelector(`input[name^="also"][value="${value}"]`)?.checked;
  const inputs = all("input[name^='metric'], input[name^='scale'], input[name^='also']", section);
  const atFirst = () => inputs.every((input) => input.checked === input.defaultChecked);
  const narrow = matchMedia("(max-width: 640px)");

  function redraw() {
    const metric = chosen("metric") || "validation";
    const log = section.querySelector("input[name^='scale'][value='log']");
    if (log) log.disabled = metric === "gap" || metric === "accuracy";
    all(".panel", section).forEach((panel) => {
      const figure = panel.querySelector("figure");
      figure.querySelector(".redrawn")?.remove();
      figure.classList.toggle("redraws", !atFirst());
      const [title, note] = [figure.querySelector("h3"), figure.querySelector("figcaption p")];
      title.dataset.first ||= title.textContent;
      note.dataset.first ||= note.textContent;
      [title.textContent, note.textContent] = [title.dataset.first, note.dataset.first];
      if (atFirst() || !panel.getClientRects().length) return;
      const drawn = drawing(section, trials.filter((one) => one.kind < TRIED ||
        (one.kind === TRIED ? also("tried") : also("running"))), {
        metric, clock: panel.dataset.clock, log: Boolean(log?.checked && !log.disabled),
        height: narrow.matches ? 330 : figure.querySelector(".wide svg").viewBox.baseVal.height,
        width: narrow.matches ? 360 : 700,
      });
      title.textContent = drawn.title;
      note.textContent = "Bold: the mean over the runs that count; faint: each trial; dashed: still running.";
      const plot = document.createElement("div");
      plot.className = `plot over-time redrawn${narrow.matches ? "" : " whole"}`;
      plot.append(drawn.svg);
      figure.insertBefore(plot, figure.querySelector(".plot"));
      readable(plot);
    });
  }

  section.addEventListener("change", redraw);
  narrow.addEventListener("change", redraw);
  redraw();
}

const gapOf = (loss, other) => loss === null || other === null || other === undefined ? null : loss - other;

function drawing(section, trials, { metric, clock, log, width, height }) {
  const known = trials.map((one) => ({ ...one, points: one[clock].flatMap((x, at) => {
    const y = one[metric][at];
    return x > 0 && y !== null && y !== undefined && (!log || y > 0) ? [[x, y, one.updates[at]]] : [];
  }) })).filter((one) => one.points.length);
  const curves = [...new Set(known.map((one) => one.curve))].sort((one, other) => one - other);
  const means = curves.map((curve) => meanOf(known.filter((one) => one.curve === curve && one.kind === MEANT)));
  const word = section.dataset.loss;
  const what = { gap: `validation ${word} - training ${word}`, accuracy: "validation accuracy" }[metric] ||
    `${metric} ${word}`;
  const title = `${what[0].toUpperCase()}${what.slice(1)} while training, by ${clock}`;
  const svg = element("svg", {
    class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. Drawn from the table.`,
  });
  if (!known.length) {
    svg.append(element("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing to draw"));
    return { title, svg };
  }
  const leading = means.some((one) => one.length) ? means : known.map((one) => one.points);
  const xs = [...known.map((one) => one.points.at(-1)[0]), ...known.map((one) => one.points[0][0])];
  const low = Math.min(...leading.flat().map(([x]) => x));
  const x = scaleOf([low, Math.max(low * 1.5, ...xs)], LEFT, width - RIGHT, true, 0);
  const running = known.filter((one) => one.kind === RUNNING).flatMap((one) => one.points);
  const target = metric === "validation" && section.dataset.target ? Number(section.dataset.target) : null;
  const ys = [...leading.flat(), ...running].map(([, y]) => y);
  const y = scaleOf(target === null || (log && target <= 0) ? ys : [...ys, target], height - BOTTOM, TOP, log, 0.06);
  frameOf(svg, x, y, { width, height, what: `${what}${log ? " (log)" : ""}${
    target === null ? "" : ` (blue: target ${four(target)})`}`, clock: `${clock} (log)` });
  if (target !== null) {
    svg.append(element("line", { x1: x.start, x2: x.end, y1: y.at(target), y2: y.at(target), class: "target" }));
  }
  const place = ([one, other]) => [x.at(Math.min(Math.max(one, x.low), x.high)), y.at(Math.min(Math.max(other, y.low), y.high))];
  known.forEach((one) => {
    const points = one.points.filter(([at]) => at >= x.low).map(place);
    const look = one.kind === RUNNING ? "running" : one.kind === TRIED ? "run tried-run" : "run";
    if (points.length > 1) svg.append(line(points, `${look} s${one.colour}`, one.curve));
  });
  const lines = [];
  means.forEach((mean, number) => {
    if (mean.length < 2) return;
    const curve = curves[number], of = known.filter((one) => one.curve === curve && one.kind === MEANT);
    const points = mean.map(place);
    lines.push(points);
    const drawn = line(points, `line s${of[0].colour}`, curve);
    Object.assign(drawn.dataset, {
      unit: clock, runs: of.length, what, called: section.dataset.called,
      x: mean.map(([at]) => at).join(" "), y: mean.map(([, value]) => value).join(" "),
    });
    svg.append(drawn);
  });
  if (target !== null) lines.push([[x.start, y.at(target)], [x.end, y.at(target)]]);
  const ends = curves.map((curve, number) => {
    const furthest = known.filter((one) => one.curve === curve).map((one) => one.points.at(-1));
    return { curve, at: place((means[number].at(-1)) || furthest.sort((one, other) => other[0] - one[0])[0]) };
  });
  labels(svg, ends, lines, { left: x.start, top: TOP, right: width, bottom: height - BOTTOM - 2 });
  return { title, svg };
}

// The mean of the runs at the updates at which all of them were evaluated.
function meanOf(runs) {
  if (!runs.length) return [];
  const others = runs.slice(1).map((run) => new Map(run.points.map(([x, y, update]) => [update, [x, y]])));
  return runs[0].points.flatMap(([x, y, update]) => {
    const there = others.map((other) => other.get(update));
    if (there.some((point) => point === undefined)) return [];
    const sum = (place, first) => there.reduce((total, point) => total + point[place], first) / runs.length;
    return [[sum(0, x), sum(1, y)]];
  });
}

function line(points, look, curve) {
  const made = element("path", { d: `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`, class: look });
  made.dataset.batch = curve;
  return made;
}

function scaleOf(values, start, end, log, air) {
  const [to, from] = log ? [Math.log, Math.exp] : [(value) => value, (value) => value];
  let [low, high] = [to(Math.min(...values)), to(Math.max(...values))];
  const more = air * (high - low) || (high === low ? (log ? 0.4 : 0.05 * Math.abs(high) || 1) : 0);
  [low, high] = [low - more, high + more];
  return {
    start, end, low: from(low), high: from(high), log,
    at: (value) => start + (end - start) * (to(value) - low) / (high - low),
    ticks: (most) => log ? logTicks(from(low), from(high), most) : linearTicks(low, high, most),
  };
}

function linearTicks(low, high, most) {
  for (let exponent = Math.floor(Math.log10((high - low) / most)); exponent < 400; exponent += 1) {
    for (const step of [1, 2, 5]) {
      const size = step * 10 ** exponent;
      const [first, last] = [Math.ceil(low / size - 1e-9), Math.floor(high / size + 1e-9)];
      if (last - first < most) {
        return Array.from({ length: last - first + 1 }, (_, number) => Number(((first + number) * size).toFixed(12)));
      }
    }
  }
  return [];
}

function logTicks(low, high, most) {
  const decades = [];
  for (let one = Math.floor(Math.log10(low)); one <= Math.ceil(Math.log10(high)); one += 1) decades.push(one);
  let inside = [];
  for (const steps of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]]) {
    const found = decades.flatMap((decade) => steps.map((step) => Number((step * 10 ** decade).toPrecision(12))))
      .filter((value) => value >= low && value <= high);
    if (found.length > most) break;
    inside = found;
  }
  return inside.length > 1 ? inside : linearTicks(low, high, most);
}

const tickText = (value) => Math.abs(value) >= 1e4
  ? `${Number((value / (value >= 1e6 ? 1e6 : 1e3)).toPrecision(4))}${value >= 1e6 ? "M" : "k"}` : four(value);

function frameOf(svg, x, y, { width, height, what, clock }) {
  const floor = height - BOTTOM;
  svg.append(element("text", { x: 2, y: 13, class: "axis-title" }, what));
  svg.append(element("text", { x: x.end, y: height - 6, "text-anchor": "end", class: "axis-title" }, clock));
  y.ticks(5).forEach((value) => {
    svg.append(element("line", { x1: x.start, x2: x.end, y1: y.at(value), y2: y.at(value), class: "grid" }));
    svg.append(element("text", { x: x.start - 7, y: y.at(value) + 4, "text-anchor": "end", class: "tick" }, tickText(value)));
  });
  let last = -Infinity;
  x.ticks(6).forEach((value) => {
    const [at, text] = [x.at(value), tickText(value)];
    svg.append(element("line", { x1: at, x2: at, y1: floor, y2: floor + 4, class: "axis" }));
    if (at - 4 * text.length < last) return;
    last = at + 4 * text.length;
    svg.append(element("text", { x: at, y: floor + 17, "text-anchor": "middle", class: "tick" }, text));
  });
  svg.append(element("line", { x1: x.start, x2: x.end, y1: floor, y2: floor, class: "axis" }));
}

// As `labels.py` places them: beside the end of a line, on no other label and on no line.
function labels(svg, ends, lines, frame) {
  const ink = lines.flatMap((points) => points.flatMap(([x, y], number) => {
    const [a, b] = points[Math.max(0, number - 1)];
    const count = 1 + Math.floor(Math.max(Math.abs(x - a), Math.abs(y - b)) / 2);
    return Array.from({ length: count }, (_, at) => [a + (x - a) * at / count, b + (y - b) * at / count]);
  }));
  const taken = [];
  ends.sort((one, other) => other.at[1] - one.at[1]).forEach(({ curve, at: [x, y] }) => {
    const wide = 8.4 * String(curve).length;
    const shifts = [0, -7, 7, -14, 14, -21, 21, -28, 28];
    const places = [
      ...shifts.map((shift) => [x + 6, y + 4 + shift]),
      ...[-9, 18, -16, 25].map((shift) => [x - wide / 2, y + shift]),
      ...shifts.map((shift) => [x - wide - 6, y + 4 + shift]),
    ];
    const free = places.find(([left, base]) => {
      const box = [left, base - 11, left + wide, base + 3];
      const inside = box[0] >= frame.left && box[2] <= frame.right && box[1] >= frame.top && box[3] <= frame.bottom;
      return inside &&
        taken.every((other) => box[0] >= other[2] || other[0] >= box[2] || box[1] >= other[3] || other[1] >= box[3]) &&
        ink.every(([a, b]) => a <= box[0] - 2 || a >= box[2] + 2 || b <= box[1] - 2 || b >= box[3] + 2);
    });
    if (!free) return;
    taken.push([free[0], free[1] - 11, free[0] + wide, free[1] + 3]);
    const group = element("g", {});
    group.dataset.batch = curve;
    group.append(element("text", { x: free[0], y: free[1], class: "strong halo" }, String(curve)));
    svg.append(group);
  });
}
