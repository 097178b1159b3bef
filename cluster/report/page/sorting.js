// Sorting: by whole values, what has none last.
function sortable(table) {
  all("thead th", table).forEach((head) => {
    if (head.classList.contains("unsorted")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      sortBy(table, head, head.getAttribute("aria-sort") === "ascending");
      dispatchEvent(new Event("sorted"));
    });
  });
}

function sortBy(table, head, down) {
  const column = all("thead th", table).indexOf(head);
  all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = all("tbody tr", table).map((row) => [valueOf(row.cells[column]), row]);
  rows.sort(([one], [other]) => compare(one, other, down ? -1 : 1));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function valueOf(cell) {
  if (cell.classList.contains("none")) return null;
  const value = cell.dataset.value;
  return value === undefined || !cell.classList.contains("number") ? cell.textContent : Number(value);
}

function compare(one, other, sign) {
  if (one === null || other === null) return (one === null) - (other === null);
  return sign * (typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true }));
}
