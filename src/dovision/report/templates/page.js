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

  // Tables: a click on a head sorts, by the number that a cell begins with, or by text.
  const order = new Intl.Collator("en", { numeric: true });
  const empty = (key) => key === "" || key === "-";
  const numberIn = (key) => Number.parseFloat(key.replace(/,(?=\d{3})/g, ""));

  function sort(table, column, direction) {
    const keyed = [...table.tBodies[0].rows].map((row) => [row.cells[column].textContent.trim(), row]);
    const numbers = keyed.every(([key]) => empty(key) || Number.isFinite(numberIn(key)));
    const compare = (a, b) => (numbers && numberIn(a) - numberIn(b)) || order.compare(a, b);
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

  // The filter lists the rows in which all of its words occur; a number of a heat map those at its levels.
  function makeFilter(tools) {
    const search = tools.querySelector("input");
    const table = byId(tools.dataset.table), rows = [...table.tBodies[0].rows];
    const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
    const filter = (levels) => {
      const words = search.value.toLowerCase().split(/\s+/);
      for (const row of rows) {
        const cells = [...row.cells].map((cell) => cell.textContent.trim()), text = cells.join(" ").toLowerCase();
        row.hidden = !words.every((word) => text.includes(word)) || heads.some((head, column) => head in levels && cells[column] !== levels[head]);
      }
      tools.querySelector("output").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
    };
    search.addEventListener("input", () => filter({}));
    search.addEventListener("levels", (event) => filter(event.detail));
    addEventListener("pageshow", () => filter({})); // a page that is loaded again keeps what is typed
    filter({});
  }

  // Its levels are those of its row and column that jobs have; without one it leads to the row of its job.
  for (const link of document.querySelectorAll("td.heat a")) {
    link.addEventListener("click", (event) => {
      const text = (cell) => cell.textContent.trim();
      const cell = link.closest("td"), table = link.closest("table"), head = [...table.tHead.rows[0].cells].map(text);
      const stated = [...cell.parentElement.querySelectorAll("th")].map((level, column) => [head[column], text(level)]);
      const jobs = byId("joblist"), heads = jobs ? [...jobs.tHead.rows[0].cells].map(text) : [];
      const levels = [...stated, [table.dataset.across, head[cell.cellIndex]]].filter(([name, level]) =>
        heads.includes(name) && [...jobs.tBodies[0].rows].some((row) => text(row.cells[heads.indexOf(name)]) === level));
      if (!levels.length) return;
      event.preventDefault();
      const search = document.querySelector('[data-table="joblist"] input');
      search.value = "";
      search.dispatchEvent(new CustomEvent("levels", { detail: Object.fromEntries(levels) }));
      location.hash = "jobs";
    });
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
