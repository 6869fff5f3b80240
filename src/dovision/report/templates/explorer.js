
// The explorer: an image in two conditions, or of two jobs, side by side, with the effect of each unit on one class over
// it. Warm: evidence for the class, which do(unit) takes away, so that the effect is negative. One scale for all images
// and conditions of a job.
(() => {
  const byId = (id) => document.getElementById(id);
  const { pictures, entries, saturated, moved, opaque } = JSON.parse(byId("explorer-data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const RESOLUTION = 2 ** -24; // of a float32 probability near 1
  const NOTHING = "nothing";
  const SCALES = { probability: ["effects", "scale"], "log-odds": ["log_effects", "log_scale"] };
  const ADDRESS = "#explore?";
  const jobs = [...new Set(entries.map((entry) => entry.job))];
  const panes = ["left", "right"].map((side) => {
    const root = byId(side);
    const find = (selector) => root.querySelector(selector);
    return { side, root, find, entry: null, condition: 0, plot: find("svg") };
  });
  const [left, right] = panes;
  const chosen = { image: null, class: null, scale: null, order: "as measured", unit: null }; // scale: until one is picked, by saturation

  const largestOf = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const signed = (value) => signedText(Math.abs(value) < RESOLUTION ? 0 : value);
  const likeliest = (condition) => condition.control.indexOf(Math.max(...condition.control));
  const imagesOf = (job) => entries.filter((entry) => entry.job === job);
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  function effectsOf(entry, condition, name, scale) {
    const { largest, shares } = condition[SCALES[scale][0]];
    const [view, place, count] = [new DataView(bytesOf(shares).buffer), entry.classes.indexOf(name), entry.classes.length];
    return entry.units.map((_, unit) => place < 0 ? NaN : (view.getInt16(2 * (unit * count + place), true) / 32767) * largest);
  }

  function drawn(name, attributes) {
    const shape = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    return shape;
  }

  // Whether a pixel of a box, given by row and column, belongs to its mask; all do where there is none.
  function pixelsOf([, , width, height], mask) {
    const bytes = mask && bytesOf(mask);
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

  // The pixels of a mask, as one rectangle for each run of them in a row of its box; and their number.
  function maskPath(box, mask) {
    const [x, y, width, height] = box;
    const touched = pixelsOf(box, mask);
    const runs = [];
    let pixels = 0;
    for (let row = 0; row < height; row++) {
      for (let start = 0, end = 0; start < width; start = end + 1) {
        for (end = start; touched(row, end); end++);
        pixels += end - start;
        if (end > start) runs.push(`M${x + start} ${y + row}h${end - start}v1h${start - end}z`);
      }
    }
    return [runs.join(""), pixels];
  }

  // Outlines of known objects: those that speak for the class in one colour and the others in another.
  function outlines(entry) {
    return entry.objects.flatMap(({ name, label, box: [top, left, bottom, right], mask }) => ["below", label === chosen.class ? "for" : "other"].map((kind) => {
      const d = outlinePath([left, top, right - left, bottom - top], mask);
      return drawn("path", { class: `object ${kind}`, d, "data-object": name });
    }));
  }

  function scaleOf() {
    if (chosen.scale) return chosen.scale;
    const shown = panes.filter((pane) => pane.entry?.classes.includes(chosen.class));
    const largest = (scale) => Math.max(...shown.map(({ entry, condition }) => largestOf(effectsOf(entry, entry.conditions[condition], chosen.class, scale))));
    const [onP, onOdds] = Object.keys(SCALES).map(largest);
    return onP < saturated && onOdds >= moved ? "log-odds" : "probability";
  }

  function draw(pane, scale) {
    for (const part of [".stack", "figcaption"]) pane.find(part).hidden = !pane.entry;
    pane.find(".pick-condition").parentElement.hidden = !pane.entry;
    if (!pane.entry) return;
    const { entry, plot, find } = pane;
    const condition = entry.conditions[pane.condition];
    pane.values = effectsOf(entry, condition, chosen.class, scale);
    const deepest = entry[SCALES[scale][1]];
    const predicted = likeliest(condition);
    find("img").src = pictures[condition.picture];
    find("img").alt = `${entry.image}, ${condition.title}`;
    find(".seen").textContent = `${entry.image}, ${condition.title}: ${entry.label && `true: ${entry.label}, `}predicted: ${entry.classes[predicted]} (${numberText(condition.control[predicted])})${{ true: " \u2713", false: " \u2717" }[condition.correct] ?? ""}`;
    find(".low").textContent = `${signed(deepest)} against`; // of the effect: to the right it falls, as do(unit) takes evidence away
    find(".high").textContent = `${signed(-deepest)} for`;
    const [height, width] = entry.size;
    find(".stack").classList.toggle("bars", !entry.boxes);
    plot.setAttribute("viewBox", entry.boxes ? `0 0 ${width} ${height}` : `0 -1 ${entry.units.length} 2`);
    plot.setAttribute("preserveAspectRatio", entry.boxes ? "xMidYMid" : "none");
    const cells = entry.units.map((_, unit) => {
      const share = (pane.values[unit] || 0) / deepest; // none where no effect on the class is kept
      const [top, start, bottom, end] = entry.boxes?.[unit] ?? [Math.min(0, share), unit + 0.05, Math.max(0, share, 0.01), unit + 0.95];
      const place = { x: start, y: top, width: end - start, height: bottom - top };
      const mask = entry.masks[unit];
      const [d, pixels] = mask ? maskPath(Object.values(place), mask) : [null, place.width * place.height];
      const cell = drawn(mask ? "path" : "rect", { ...place, fill: `var(--${share < 0 ? "warm" : "cool"})`, "data-unit": unit, "data-pixels": pixels, ...(d && { d }) });
      if (entry.boxes) cell.style.fillOpacity = byId("pick-over").checked ? opaque * Math.min(1, Math.abs(share)) : 0;
      return cell;
    });
    if (entry.boxes) cells.sort((a, b) => b.dataset.pixels - a.dataset.pixels); // the smallest on top: it hides none
    plot.replaceChildren(...cells, ...(entry.boxes ? outlines(entry) : []), ...["chosen-below", "chosen"].map((name) => drawn("path", { class: name })));
  }

  // The unit of that name in both panes; the left one has one to begin with: that of the largest effect.
  function read(name) {
    chosen.unit = name;
    for (const pane of panes.filter((one) => one.entry)) {
      const { entry, plot, find } = pane;
      const unit = entry.units.indexOf(name);
      const cell = plot.querySelector(`[data-unit="${unit}"]`);
      const box = ["x", "y", "width", "height"].map((key) => Number(cell?.getAttribute(key)));
      for (const outline of plot.querySelectorAll(".chosen, .chosen-below")) outline.setAttribute("d", cell ? outlinePath(box, entry.masks[unit]) : "");
      const place = entry.classes.indexOf(chosen.class);
      if (!cell || place < 0) {
        find(".readout").textContent = cell ? `No effect on ${chosen.class} is kept here.` : `No unit ${name} here.`;
        continue;
      }
      const condition = entry.conditions[pane.condition];
      const before = condition.control[place];
      const change = effectsOf(entry, condition, chosen.class, "probability")[unit];
      const onOdds = pane.scale === "log-odds" ? ` on log-odds` : "";
      find(".readout").textContent = `do(${name}) on ${chosen.class}: ${signed(pane.values[unit])}${onOdds}, from P = ${numberText(before)} to ${numberText(Math.max(0, before + change))}`;
    }
  }

  // Replace the controls of a place, and leave the keyboard focus where it was.
  function replaced(place, controls, picked) {
    const focused = place.contains(document.activeElement);
    place.replaceChildren(...controls);
    if (focused) place.querySelector(picked)?.focus();
  }

  function chips(place, names, picked, pick) {
    replaced(place, names.map((name) => {
      const [label, input] = [document.createElement("label"), document.createElement("input")];
      Object.assign(input, { type: "radio", name: place.id, value: name, checked: name === picked });
      input.addEventListener("change", () => pick(name));
      label.append(input, name);
      label.title = name;
      return label;
    }), ":checked");
  }

  function options(place, names, picked) {
    place.replaceChildren(...names.map((name, number) => new Option(name, number, false, number === picked)));
  }

  // Orders of the images of a job: the numbers by which they are sorted, the largest first.
  const effectOf = (entry) => largestOf(effectsOf(entry, entry.conditions[0], entry.classes[likeliest(entry.conditions[0])], "probability"));
  const lost = (entry) => Math.max(0, ...entry.conditions.slice(1).map(({ success, control }) => (success === true) + entry.conditions[0].control[likeliest(entry.conditions[0])] - control[likeliest(entry.conditions[0])]));
  const ORDERS = {
    "as measured": [() => true, () => 0],
    "size of effect": [() => true, effectOf],
    "errors first": [(entry) => entry.conditions[0].correct !== null, (entry) => (entry.conditions[0].correct === false) - Math.max(...entry.conditions[0].control) / 2],
    "attack succeeded, then P lost to it": [(entry) => entry.conditions.length > 1, lost],
  };

  function thumbnails() {
    const sortable = Object.keys(ORDERS).filter((name) => imagesOf(left.entry.job).some(ORDERS[name][0]));
    options(byId("pick-order"), sortable, sortable.indexOf(chosen.order));
    const number = ORDERS[chosen.order][1];
    const sorted = imagesOf(left.entry.job).sort((a, b) => number(b) - number(a));
    replaced(byId("thumbnails"), sorted.map((entry) => {
      const [press, image, text] = ["button", "img", "span"].map((tag) => document.createElement(tag));
      const [clean, ...attacked] = entry.conditions;
      const turned = attacked.find((condition) => condition.success);
      text.textContent = entry.classes[likeliest(clean)] + (turned ? ` \u2192 ${entry.classes[likeliest(turned)]}` : "");
      text.className = clean.correct === false ? "wrong" : "";
      press.title = `${entry.image}: ${entry.label && `true: ${entry.label}, `}predicted: ${text.textContent}`;
      Object.assign(image, { src: pictures[clean.picture], alt: entry.image });
      press.type = "button";
      press.setAttribute("aria-pressed", entry === left.entry);
      press.append(image, text);
      press.addEventListener("click", () => { Object.assign(chosen, { image: entry.image, class: null, unit: null }); show(); });
      return press;
    }), "[aria-pressed=true]");
  }

  function show(silent) {
    const entry = imagesOf(left.job).find((one) => one.image === chosen.image) ?? imagesOf(left.job)[0];
    left.entry = entry;
    right.entry = right.job === NOTHING ? null : imagesOf(right.job).find((one) => one.image === entry.image) ?? imagesOf(right.job)[0];
    if (!entry.classes.includes(chosen.class)) chosen.class = entry.classes[likeliest(entry.conditions[left.condition] ?? entry.conditions[0])];
    options(left.find(".pick-job"), jobs, jobs.indexOf(left.job));
    options(right.find(".pick-job"), [...jobs, NOTHING], [...jobs, NOTHING].indexOf(right.job));
    for (const pane of panes.filter((one) => one.entry)) {
      const names = pane.entry.conditions.map((condition) => condition.title);
      pane.condition = Math.min(pane.condition, names.length - 1);
      options(pane.find(".pick-condition"), names, pane.condition);
    }
    const scale = scaleOf();
    for (const pane of panes) { pane.scale = scale; draw(pane, scale); }
    byId("saturated").hidden = Boolean(chosen.scale) || scale === "probability";
    byId("explorer").classList.toggle("without-objects", !byId("pick-objects").checked);
    chips(byId("pick-class"), entry.classes, chosen.class, (name) => { chosen.class = name; show(); });
    chips(byId("pick-scale"), Object.keys(SCALES), scale, (name) => { chosen.scale = name; show(); });
    thumbnails();
    const largest = left.values.map((_, unit) => unit).sort((a, b) => Math.abs(left.values[b]) - Math.abs(left.values[a])).slice(0, 5);
    byId("largest-of").textContent = left.entry.conditions[left.condition].title;
    byId("largest").replaceChildren(...largest.map((unit) => Object.assign(document.createElement("li"), { textContent: `do(${entry.units[unit]}): ${signed(left.values[unit])}` })));
    read(entry.units.includes(chosen.unit) ? chosen.unit : entry.units[largest[0]]);
    if (silent !== true) remember();
  }

  // What is shown, in the address of the page.
  function remember() {
    const state = { image: left.entry.image, class: chosen.class, order: chosen.order, ...(chosen.scale && { scale: chosen.scale }), ...(chosen.unit && { unit: chosen.unit }) };
    for (const pane of panes) {
      state[pane.side] = pane.job;
      if (pane.entry) state[`${pane.side}-condition`] = pane.entry.conditions[pane.condition].name;
    }
    history.replaceState(null, "", ADDRESS + new URLSearchParams(state));
  }

  function recall() {
    const state = new URLSearchParams(location.hash.startsWith(ADDRESS) ? location.hash.slice(ADDRESS.length) : "");
    const first = entries[0];
    const other = first.conditions.length > 1 ? first.job : jobs[1] ?? NOTHING;
    for (const [pane, job, condition] of [[left, first.job, 0], [right, other, other === first.job ? 1 : 0]]) {
      const wanted = state.get(pane.side);
      pane.job = jobs.includes(wanted) || (pane === right && wanted === NOTHING) ? wanted : job;
      const known = (imagesOf(pane.job)[0]?.conditions ?? []).findIndex(({ name }) => name === state.get(`${pane.side}-condition`));
      pane.condition = known < 0 ? condition : known;
    }
    for (const key of ["image", "class", "unit"]) chosen[key] = state.get(key);
    chosen.image ??= imagesOf(left.job).reduce((most, entry) => (effectOf(entry) > effectOf(most) ? entry : most)).image;
    if (Object.hasOwn(SCALES, state.get("scale"))) chosen.scale = state.get("scale");
    if (Object.hasOwn(ORDERS, state.get("order"))) chosen.order = state.get("order");
    show(true);
    if ([...state].length) byId("explorer").scrollIntoView();
  }

  byId("pick-order").addEventListener("change", (event) => { chosen.order = event.target.selectedOptions[0].text; show(); });
  for (const id of ["pick-over", "pick-objects"]) byId(id).addEventListener("change", () => show());
  for (const pane of panes) {
    pane.find(".pick-job").addEventListener("change", (event) => { pane.job = event.target.selectedOptions[0].text; show(); });
    pane.find(".pick-condition").addEventListener("change", (event) => { pane.condition = Number(event.target.value); show(); });
    pane.plot.addEventListener("pointerover", (event) => event.target.dataset.unit && read(pane.entry.units[event.target.dataset.unit]));
    pane.plot.addEventListener("pointerleave", remember);
    pane.plot.addEventListener("keydown", (event) => {
      const { boxes, units } = pane.entry;
      const at = Math.max(0, units.indexOf(chosen.unit));
      const rows = boxes?.filter((box) => box[1] === boxes[at][1]).length ?? 1;
      const down = rows > 1 ? Math.round(units.length / rows) : 1;
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: down, ArrowUp: -down }[event.key];
      if (!step) return;
      event.preventDefault();
      read(units[Math.max(0, Math.min(units.length - 1, at + step))]);
      remember();
    });
  }
  addEventListener("hashchange", recall);
  recall();
})();
