"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  for (const part of document.querySelectorAll(".scripted, .tools")) part.hidden = false;

  // Light and dark: what the system prefers, until the reader chooses.
  const root = document.documentElement;
  const button = byId("theme");
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
  const nameTheme = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
  prefersDark.addEventListener("change", nameTheme);
  nameTheme();

  // Print shows what is folded, but for the jobs that the reader has not unfolded.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open]):not(.job)")];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of opened) one.open = false; });

  // Tables: a click on a head sorts, words and a state filter.
  const order = new Intl.Collator("en", { numeric: true });
  const keyOf = (row, column) => row.cells[column].dataset.order ?? row.cells[column].textContent;
  const empty = (key) => key === "" || key === "-";

  function sort(table, column, direction) {
    const keyed = [...table.tBodies[0].rows].map((row) => [keyOf(row, column), row]);
    const numbers = keyed.every(([key]) => empty(key) || Number.isFinite(Number(key)));
    const compare = numbers ? (a, b) => Number(a) - Number(b) : order.compare;
    keyed.sort(([a], [b]) => empty(a) - empty(b) || (empty(a) ? 0 : direction * compare(a, b)));
    table.tBodies[0].append(...keyed.map(([, row]) => row));
  }

  function makeSortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const press = document.createElement("button");
      press.type = "button";
      press.textContent = head.textContent;
      head.dataset.head = press.textContent; // for print, which leaves buttons out of heads on further pages
      head.replaceChildren(press);
      press.addEventListener("click", () => {
        const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
        sort(table, column, direction);
      });
    });
  }

  function makeFilter(tools) {
    const table = byId(tools.dataset.table);
    const [search, state] = [tools.querySelector("input"), tools.querySelector("select")];
    const rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const [row, text] of rows) {
        const wanted = words.every((word) => text.includes(word)) && (!state?.value || row.cells[1].textContent === state.value);
        row.hidden = !wanted;
        shown += wanted;
      }
      tools.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
    };
    search.addEventListener("input", filter);
    state?.addEventListener("change", filter);
    filter();
  }

  // A button copies a table, as cells for a spreadsheet; what is selected is left as it was.
  function makeCopyable(table) {
    const press = document.createElement("button");
    press.type = "button";
    press.className = "copy";
    press.textContent = "Copy table";
    press.addEventListener("click", () => {
      getSelection().selectAllChildren(table);
      document.execCommand("copy");
      getSelection().removeAllRanges();
      press.textContent = "Copied";
    });
    table.parentElement.after(press);
  }

  // Of the tables by factors one is shown.
  const pickPivot = byId("pick-pivot");
  if (pickPivot) {
    const show = () => { for (const one of document.querySelectorAll(".pivot")) one.hidden = one.dataset.metric !== pickPivot.value; };
    pickPivot.addEventListener("change", show);
    show();
  }

  document.querySelectorAll("table.listing").forEach(makeSortable);
  document.querySelectorAll("table.listing").forEach(makeCopyable);
  document.querySelectorAll(".tools").forEach(makeFilter);
})();
