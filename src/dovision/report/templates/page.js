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

  // Print shows what is folded.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
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

  // The explorer: one image in one condition, and the effect of each unit on one class. Warm: evidence for the class,
  // which do(unit) takes away, so that the effect is negative. One scale for all images and conditions of a job.
  const data = byId("explorer-data");
  if (!data) return;
  const entries = JSON.parse(data.textContent);
  const [image, over, plot, readout] = [byId("seen"), byId("outlines"), byId("units"), byId("readout")];
  const SVG = "http://www.w3.org/2000/svg";
  const COLOURS = [[5, 48, 97], [67, 147, 195], [247, 247, 247], [214, 96, 77], [103, 0, 31]];
  const chosen = { entry: entries[0], condition: 0, class: null, unit: null };

  function decode(condition, classes) {
    const bytes = Uint8Array.from(atob(condition.effects), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return (unit, place) => (view.getInt16(2 * (unit * classes + place), true) / 32767) * condition.largest;
  }

  function colour(share) {
    const at = ((Math.max(-1, Math.min(1, share)) + 1) / 2) * (COLOURS.length - 1);
    const [low, part] = [Math.min(Math.floor(at), COLOURS.length - 2), at % 1 || (at >= COLOURS.length - 1 ? 1 : 0)];
    return `rgb(${COLOURS[low].map((value, i) => Math.round(value + part * (COLOURS[low + 1][i] - value))).join(",")})`;
  }

  const RESOLUTION = 2 ** -24; // of a float32 probability near 1
  const resolved = (value) => Math.abs(value) < RESOLUTION ? 0 : value;
  const signed = (value) => (value < 0 ? "\u2212" : "+") + Math.abs(resolved(value)).toPrecision(3);

  function choices(place, names, picked, pick) {
    place.replaceChildren(...names.map((name, number) => {
      const [label, input] = [document.createElement("label"), document.createElement("input")];
      input.type = "radio";
      input.name = place.id;
      input.checked = number === picked;
      input.addEventListener("change", () => pick(number));
      label.append(input, name);
      label.title = name;
      return label;
    }));
  }

  function options(place, names, picked) {
    place.replaceChildren(...names.map((name, number) => new Option(name, number, false, number === picked)));
  }

  function shapes(entry) {
    if (entry.boxes) return entry.boxes.map(([top, left, bottom, right]) => [left, top, right - left, bottom - top]);
    return entry.units.map((_, unit) => [unit, 0, 1, 1]);
  }

  // Whether a pixel of a box, given by row and column, belongs to its mask; all do where there is none.
  function pixelsOf([, , width, height], mask) {
    const bytes = mask && Uint8Array.from(atob(mask), (letter) => letter.charCodeAt(0));
    const set = (pixel) => !bytes || (bytes[pixel >> 3] >> (7 - (pixel & 7))) & 1;
    return (row, column) => row >= 0 && column >= 0 && row < height && column < width && Boolean(set(row * width + column));
  }

  // The border of a mask, or of a box without one, along the edges of pixels.
  function outlinePath(box, mask) {
    const [x, y, width, height] = box;
    if (!mask) return `M${x} ${y}h${width}v${height}h${-width}z`;
    const touched = pixelsOf(box, mask);
    const edges = [];
    for (let row = 0; row <= height; row++) {
      for (let column = 0; column <= width; column++) {
        const here = touched(row, column);
        if (here !== touched(row - 1, column)) edges.push(`M${x + column} ${y + row}h1`);
        if (here !== touched(row, column - 1)) edges.push(`M${x + column} ${y + row}v1`);
      }
    }
    return edges.join("");
  }

  function pixelCount(box, mask) {
    const [, , width, height] = box;
    if (!mask) return width * height;
    const touched = pixelsOf(box, mask);
    let count = 0;
    for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) count += touched(row, column);
    return count;
  }

  // Outlines of known objects: those that speak for the class in one colour and the others in another.
  function outlines(entry, label) {
    return entry.objects.flatMap(({ name, label: own, box: [top, left, bottom, right], mask }) => ["below", own === label ? "for" : "other"].map((kind) => {
      const line = document.createElementNS(SVG, "path");
      line.setAttribute("d", outlinePath([left, top, right - left, bottom - top], mask));
      line.setAttribute("class", `object ${kind}`);
      line.dataset.object = name;
      return line;
    }));
  }

  // The pixels of a mask, as one rectangle for each run of them in a row of the unit's box.
  function maskPath(box, mask) {
    const [x, y, width, height] = box;
    const touched = pixelsOf(box, mask);
    const runs = [];
    for (let row = 0; row < height; row++) {
      for (let start = 0, end = 0; start < width; start = end + 1) {
        for (end = start; touched(row, end); end++);
        if (end > start) runs.push(`M${x + start} ${y + row}h${end - start}v1h${start - end}z`);
      }
    }
    return runs.join("");
  }

  function read(unit) {
    const { entry } = chosen;
    chosen.unit = unit;
    const [cell, outline] = [plot.querySelector(`[data-unit="${unit}"]`), plot.querySelector(".chosen")];
    const box = ["x", "y", "width", "height"].map((name) => Number(cell.getAttribute(name)));
    outline.setAttribute("d", outlinePath(box, entry.masks[unit]));
    const condition = entry.conditions[chosen.condition];
    const effect = decode(condition, entry.classes.length)(unit, chosen.class);
    const before = condition.control[chosen.class];
    readout.textContent = `do(${entry.units[unit]}) on ${entry.classes[chosen.class]}: ${signed(effect)}, from P = ${before.toFixed(3)} to ${(before + effect).toFixed(3)}`;
  }

  function draw() {
    const { entry } = chosen;
    const condition = entry.conditions[chosen.condition];
    const effects = decode(condition, entry.classes.length);
    const values = entry.units.map((_, unit) => effects(unit, chosen.class));
    const { scale } = entry;
    const likeliest = condition.control.indexOf(Math.max(...condition.control));
    image.src = condition.picture;
    image.alt = `${entry.image}, ${condition.name}`;
    byId("seen-caption").textContent = `${entry.image}, ${condition.name}: ${entry.label && `true: ${entry.label}, `}${entry.word}: ${entry.classes[likeliest]} (${condition.control[likeliest].toFixed(3)})`;
    byId("low").textContent = `${signed(scale)} against`;
    byId("high").textContent = `${signed(-scale)} for`;
    const boxes = shapes(entry);
    const [height, width] = entry.size;
    plot.setAttribute("viewBox", entry.boxes ? `0 0 ${width} ${height}` : `0 -1 ${boxes.length} 2`);
    plot.setAttribute("preserveAspectRatio", entry.boxes ? "xMidYMid" : "none");
    plot.style.aspectRatio = `${width} / ${height}`;
    const cells = boxes.map(([x, y, w, h], unit) => {
      const mask = entry.masks[unit];
      const cell = document.createElementNS(SVG, mask ? "path" : "rect");
      if (mask) cell.setAttribute("d", maskPath([x, y, w, h], mask));
      const share = values[unit] / scale;
      const bar = entry.boxes ? { x, y, width: w, height: h } : { x: x + 0.05, y: Math.min(0, -share), width: 0.9, height: Math.max(Math.abs(share), 0.01) };
      for (const [name, value] of Object.entries(bar)) cell.setAttribute(name, value);
      cell.setAttribute("fill", colour(-share));
      cell.dataset.unit = unit;
      return cell;
    });
    const outline = document.createElementNS(SVG, "path");
    outline.setAttribute("class", "chosen");
    const areas = boxes.map((box, unit) => pixelCount(box, entry.masks[unit]));
    if (entry.boxes) cells.sort((a, b) => areas[b.dataset.unit] - areas[a.dataset.unit]); // the smallest on top: it hides none
    plot.replaceChildren(...cells, ...(entry.boxes ? outlines(entry, entry.classes[chosen.class]) : []), outline);
    over.setAttribute("viewBox", `0 0 ${width} ${height}`);
    over.replaceChildren(...outlines(entry, entry.classes[chosen.class]));
    const largest = values.map((_, unit) => unit).sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, 5);
    byId("largest").replaceChildren(...largest.map((unit) => {
      const item = document.createElement("li");
      item.textContent = `do(${entry.units[unit]}): ${signed(values[unit])}`;
      return item;
    }));
    read(chosen.unit ?? largest[0]);
  }

  function pickCondition(number) {
    chosen.condition = number;
    draw();
  }

  function pickClass(number) {
    chosen.class = number;
    draw();
  }

  function pickEntry(entry) {
    const control = entry.conditions[0].control;
    Object.assign(chosen, { entry, condition: 0, class: control.indexOf(Math.max(...control)), unit: null });
    choices(byId("pick-condition"), entry.conditions.map((condition) => condition.name), 0, pickCondition);
    choices(byId("pick-class"), entry.classes, chosen.class, pickClass);
    draw();
  }

  const jobs = [...new Set(entries.map((entry) => entry.job))];
  const imagesOf = (job) => entries.filter((entry) => entry.job === job);
  const [pickJob, pickImage] = [byId("pick-job"), byId("pick-image")];
  const showJob = () => {
    const found = imagesOf(jobs[pickJob.value]);
    options(pickImage, found.map((entry) => entry.image), 0);
    pickEntry(found[0]);
  };
  options(pickJob, jobs, 0);
  pickJob.addEventListener("change", showJob);
  pickImage.addEventListener("change", () => pickEntry(imagesOf(jobs[pickJob.value])[pickImage.value]));
  showJob();

  plot.addEventListener("pointerover", (event) => event.target.dataset.unit && read(Number(event.target.dataset.unit)));
  plot.addEventListener("keydown", (event) => {
    const { boxes, units } = chosen.entry;
    const rows = boxes?.filter((box) => box[1] === boxes[chosen.unit][1]).length ?? 1;
    const down = rows > 1 ? Math.round(units.length / rows) : 1;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: down, ArrowUp: -down }[event.key];
    if (!step) return;
    event.preventDefault();
    read(Math.max(0, Math.min(units.length - 1, chosen.unit + step)));
  });
})();
