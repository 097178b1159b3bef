// The list of studies: what is filtered and how it is sorted is in the address, and up to four are compared.
document.documentElement.classList.add("js");
const MOST_COMPARED = 4;
all("table.sortable").forEach(sortable);
const filter = document.querySelector("input[name=filter]");
const compared = document.querySelector("a.compare");
const told = document.querySelector(".told");

function filtered() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  all(".studies tbody tr").forEach((row) => {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  });
}

function picked() {
  const names = all("input[name=of]:checked").map((input) => input.value);
  all("input[name=of]").forEach((input) => { input.disabled = !input.checked && names.length >= MOST_COMPARED; });
  compared.hidden = names.length < 2;
  compared.href = `/compare?${new URLSearchParams(names.map((name) => ["of", name]))}`;
  told.textContent = names.length === 1 ? "choose another to compare" : "";
}

if (filter) {
  filter.addEventListener("input", filtered);
  addEventListener("change", () => { filtered(); picked(); });
  filtered();
  picked();
}
address();
follow(Number(document.body.dataset.refresh), "batchscope list of studies");
