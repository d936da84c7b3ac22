// Filters, search and keys of the page. Without scripts everything is shown.
const form = document.querySelector("form");
const rows = [...document.querySelectorAll("article")];
const fields = ["dataset", "outcome", "role"];

const valuesOf = (row, field) =>
  field === "role" ? [...row.querySelectorAll("pre")].map((chunk) => chunk.dataset.role) : [row.dataset[field]];

for (const field of fields) {
  const values = [...new Set(rows.flatMap((row) => valuesOf(row, field)))].filter(Boolean).sort();
  const select = form.elements[field];
  select.append(...values.map((value) => new Option(value, value)));
  select.hidden = values.length < 2;
}

function apply() {
  const text = form.elements.search.value.toLowerCase();
  const role = form.elements.role.value;
  let shown = 0;
  for (const row of rows) {
    const fits = ["dataset", "outcome"].every((field) => {
      const wanted = form.elements[field].value;
      return !wanted || row.dataset[field] === wanted;
    });
    const chunks = [...row.querySelectorAll("pre")];
    for (const chunk of chunks) chunk.hidden = role !== "" && chunk.dataset.role !== role;
    row.hidden = !fits || !row.textContent.toLowerCase().includes(text) || (role !== "" && chunks.every((chunk) => chunk.hidden));
    shown += !row.hidden;
  }
  form.elements.count.value = `${shown} of ${rows.length}`;
}

function go(step) {
  const seen = rows.filter((row) => !row.hidden);
  const next = seen[Math.min(Math.max(seen.indexOf(document.activeElement) + step, 0), seen.length - 1)];
  next?.focus();
  next?.scrollIntoView();
}

function describe(token) {
  const chunk = token.parentElement;
  const place = [...chunk.children].indexOf(token);
  const trains = place < Number(chunk.dataset.trained) ? "trains" : "context";
  let heading = chunk;
  while (heading && heading.tagName !== "H3") heading = heading.previousElementSibling;
  const name = `${chunk.closest("article").querySelector("h2").textContent}, ${heading?.textContent ?? ""}`;
  const piece = JSON.stringify(token.textContent);
  return `id ${token.dataset.id}, ${piece}, position ${Number(chunk.dataset.start) + place}, ${trains}\n${name}`;
}

form.hidden = false;
document.addEventListener("mouseover", (event) => {
  if (event.target.tagName === "B") event.target.title ||= describe(event.target);
});
form.addEventListener("input", apply);
form.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "j") go(1);
  if (event.key === "k") go(-1);
  if (event.key === "/") {
    event.preventDefault();
    form.elements.search.focus();
  }
});
apply();
