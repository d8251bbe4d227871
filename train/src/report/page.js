for (const head of document.querySelectorAll(".sortable thead th")) {
  head.firstElementChild.addEventListener("click", () => {
    const down = head.ariaSort !== "descending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const key = (row) => {
      const text = row.cells[column].textContent, number = parseFloat(text);
      return isNaN(number) ? (text === "-" ? -Infinity : text) : number;
    };
    const compare = (a, b) => (typeof a === "string" ? String(a).localeCompare(String(b)) : a - b);
    const rows = [...body.rows].sort((a, b) => compare(key(a), key(b)) * (down ? -1 : 1));
    body.append(...rows);
  });
}
