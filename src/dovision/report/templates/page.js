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

  // A filter is of phrases joined by "and". Columns that a table lacks are those of the job in the list of jobs.
  const headOf = (cell) => (cell.dataset.head ?? cell.textContent).trim().toLowerCase();
  const cellsOf = (row) => Object.fromEntries([...row.closest("table").tHead.rows[0].cells].map((head, column) => [headOf(head), row.cells[column]]));
  const jobs = new Map([...document.querySelectorAll("#joblist tbody tr")].map((row) => [row.cells[0].textContent, cellsOf(row)]));
  const levels = new Set([...jobs.values()].flatMap((cells) => Object.entries(cells).map(([head, cell]) => `${head} is ${cell.textContent.toLowerCase()}`)));
  const states = new Set([...jobs.values()].map(({ state }) => state.textContent));
  const numberIn = (cell) => (cell && !empty(cell.textContent) ? Number.parseFloat(cell.dataset.order ?? cell.textContent) : NaN);
  const seconds = [...jobs.values()].map((cells) => numberIn(cells.seconds)).filter((value) => value >= 0).sort((a, b) => a - b);
  const median = (seconds[(seconds.length - 1) >> 1] + seconds[seconds.length >> 1]) / 2;

  function meets(phrase, cells, text) {
    if (states.has(phrase) && cells.state) return cells.state.textContent === phrase;
    const [, pace, times, of] = /^(slower|faster) than (?:(half|twice|[\d.]+ times) )?(?:the )?(median|[\d.]+)(?: s| seconds)?$/.exec(phrase) ?? [];
    if (pace) {
      const limit = ({ half: 0.5, twice: 2 }[times] ?? Number.parseFloat(times ?? 1)) * (of === "median" ? median : Number(of));
      return pace === "slower" ? numberIn(cells.seconds) > limit : numberIn(cells.seconds) < limit;
    }
    const [, head, relation, value] = /^(.+?) (is not|is|above|below) (.+)$/.exec(phrase) ?? [];
    if (!cells[head]) return phrase.split(/\s+/).every((word) => text.includes(word));
    if (relation === "above") return numberIn(cells[head]) > Number(value);
    if (relation === "below") return numberIn(cells[head]) < Number(value);
    const cell = cells[head].textContent.toLowerCase();
    const begins = !levels.has(`${head} is ${value}`) && cell.startsWith(value) && /^[\s,(]/.test(cell.slice(value.length));
    return (cell === value || begins) === (relation === "is");
  }

  // The phrases of a filter; a level such as "rotation and shift" is taken as a whole.
  function phrasesOf(text) {
    const phrases = [];
    for (const part of text.toLowerCase().split(/\s+and\s+/).map((phrase) => phrase.trim()).filter(Boolean)) {
      const longer = `${phrases.at(-1)} and ${part}`;
      const whole = levels.has(longer.replace(" is not ", " is "));
      phrases.splice(whole ? -1 : phrases.length, 1, whole ? longer : part);
    }
    return phrases;
  }

  function makeFilter(tools) {
    const table = byId(tools.dataset.table);
    const [search, state] = [tools.querySelector("input"), tools.querySelector("select")];
    const rows = [...table.tBodies[0].rows].map((row) => [row, { ...jobs.get(row.cells[0].textContent), ...cellsOf(row) }, row.textContent.toLowerCase()]);
    const filter = () => {
      const phrases = phrasesOf(search.value);
      let shown = 0;
      for (const [row, cells, text] of rows) {
        const wanted = phrases.every((phrase) => meets(phrase, cells, text)) && (!state?.value || row.cells[1].textContent === state.value);
        row.hidden = !wanted;
        shown += wanted;
      }
      tools.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
    };
    search.addEventListener("input", filter);
    state?.addEventListener("change", filter);
    addEventListener("pageshow", filter); // a page that loads itself again keeps what is typed
    filter();
  }

  // A number of a heat map filters the list of jobs; without a phrase it leads to the row of its job.
  for (const link of document.querySelectorAll("[data-phrase]:not([data-phrase=''])")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const search = document.querySelector('[data-table="joblist"] input');
      search.value = link.dataset.phrase;
      search.dispatchEvent(new Event("input"));
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
