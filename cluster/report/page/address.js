// What the reader has chosen, in the address: which evidence is open, which metric, scale and batch sizes, how a table is
// sorted. A link shows the same again. Only what differs from the beginning is named; unknown names are left alone.
function address() {
  const inputs = all("input[name]");
  const folds = named("details", "open"), tables = named("table.sortable", "sorted");
  const atFirst = new Map(folds.map(([key, fold]) => [key, fold.open]));

  function named(selector, kind) {
    const seen = {};
    return all(selector).map((one) => {
      const near = one.closest("[id]")?.id || kind;
      seen[near] = (seen[near] || 0) + 1;
      return [seen[near] > 1 ? `${near}.${seen[near]}` : near, one];
    });
  }

  function write() {
    const state = new URLSearchParams();
    inputs.forEach((input) => {
      if (input.type === "search" && input.value) state.append(input.name, input.value);
      if (input.type === "radio" && input.checked && !input.defaultChecked) state.append(input.name, input.value);
      if (input.type === "checkbox" && input.checked !== input.defaultChecked) {
        state.append(input.name, `${input.checked ? "" : "-"}${input.value}`);
      }
    });
    folds.forEach(([key, fold]) => {
      if (fold.open !== atFirst.get(key)) state.append("open", `${fold.open ? "" : "-"}${key}`);
    });
    tables.forEach(([key, table]) => {
      const head = all("th[aria-sort]", table)[0];
      if (!head) return;
      const column = all("thead th", table).indexOf(head);
      state.append("sort", `${key}:${head.getAttribute("aria-sort") === "descending" ? "-" : ""}${column}`);
    });
    const text = state.toString();
    if (text || location.hash.includes("=")) {
      history.replaceState(null, "", text ? `#${text}` : location.href.split("#")[0]);
    }
  }

  function read() {
    if (!location.hash.includes("=")) return;
    const state = new URLSearchParams(location.hash.slice(1));
    const bare = (value) => value.replace(/^-/, "");
    inputs.forEach((input) => {
      state.getAll(input.name).forEach((value) => {
        if (input.type === "search") input.value = value;
        else if (bare(value) === input.value) input.checked = !value.startsWith("-");
      });
    });
    state.getAll("open").forEach((value) => {
      const found = folds.find(([key]) => key === bare(value));
      if (found) found[1].open = !value.startsWith("-");
    });
    state.getAll("sort").forEach((value) => {
      const [key, column] = [value.slice(0, value.lastIndexOf(":")), value.slice(value.lastIndexOf(":") + 1)];
      const found = tables.find(([name]) => name === key);
      const head = found && all("thead th", found[1])[Number(bare(column))];
      if (head) sortBy(found[1], head, column.startsWith("-"));
    });
    inputs.forEach((input) => input.dispatchEvent(new Event("change", { bubbles: true })));
  }

  read();
  addEventListener("change", write);
  addEventListener("input", write);
  addEventListener("toggle", write, true);
  addEventListener("sorted", write);
  addEventListener("click", (event) => { if (event.target.closest("button[data-check]")) write(); });
  addEventListener("hashchange", () => { if (location.hash.includes("=")) read(); });
}
