"use strict";
const $ = (id) => document.getElementById(id);
const picked = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
const pick = (name, value) => { document.querySelector(`input[name="${name}"][value="${value}"]`).checked = true; };

const state = {
  clean: null, attacked: null, // answers about the images
  mask: null, height: 0, width: 0, // of the region, a byte a pixel
  rows: [], target: null, choices: null, sites: null, asking: false, again: false, cursor: null, seen: null, did: null, maps: {}, turn: 0,
  bands: {}, around: 0, past: [], at: -1, // effects of matched controls by class; the states so far, and the number of the one shown
  strokes: 0, since: null, // strokes so far, and when the first change was made that is not answered yet
};

/* ---- questions ---- */
async function ask(question, body) {
  const json = !(body instanceof Blob);
  const answer = await fetch(question, { method: "POST", body: json ? JSON.stringify(body ?? {}) : body }).catch(() => { throw new Error("the server does not answer. Is dovision-view still running?"); });
  const found = answer.headers.get("content-type")?.includes("json") ? await answer.json() : await answer.blob();
  if (!answer.ok) throw new Error(found.error ?? answer.statusText);
  return found;
}
function problem(text) { $("problem").hidden = !text; $("problem").textContent = text ?? ""; }
async function waiting(what, work) { // with the reason on the page, if it fails
  document.body.classList.add("waiting");
  if (what) { problem(""); $("opened").textContent = what; }
  try { const found = await work(); problem(""); return found; }
  catch (error) { $("opened").textContent = openedText(); problem(error.message); return null; }
  finally { document.body.classList.remove("waiting"); }
}

/* ---- what is open ---- */
const image = () => (picked("shown") === "attacked" && state.attacked ? state.attacked : state.clean);
const shown = (name) => state.choices.names[name] ?? name; // of a component, for people
function setOptions(select, names, chosen) {
  select.replaceChildren(...names.map((name) => new Option(shown(name), name, false, name === chosen)));
}
function settingsOf(place, known) { // number fields for the settings of a component
  place.className = "settings";
  place.replaceChildren(...Object.entries(known).map(([name, value]) => {
    const label = document.createElement("label"), field = document.createElement("input");
    Object.assign(field, { type: "number", step: "any", value }); field.dataset.key = name;
    label.append(name.replaceAll("_", " "), field); return label;
  }));
}
function chosen(select, place) {
  const fields = [...place.querySelectorAll("input")];
  return { name: select.value, settings: Object.fromEntries(fields.map((each) => [each.dataset.key, Number(each.value)])) };
}
const fill = () => chosen($("fill"), $("fill-settings"));
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
function button(text, pressed, then, picture) {
  const made = document.createElement("button");
  made.type = "button"; made.ariaPressed = String(pressed); made.onclick = then;
  if (picture) made.append(Object.assign(new Image(), { src: picture, alt: "" }));
  made.append(text); return made;
}

function showChoices(choices) {
  state.choices = choices; state.sites = null; state.target = null;
  setOptions($("fill"), Object.keys(choices.fills), $("fill").value || "blur");
  setOptions($("value"), Object.keys(choices.values), $("value").value || "zero");
  setOptions($("attack"), Object.keys(choices.attacks), $("attack").value || "fgsm");
  settingsOf($("fill-settings"), choices.fills[$("fill").value]);
  settingsOf($("attack-settings"), choices.attacks[$("attack").value]);
  const small = Math.min(choices.shape[1], choices.shape[2]);
  $("width").max = Math.max(2, Math.round(small / 2)); $("width").value = Math.max(1, Math.round(small / 6));
  for (const option of $("grid").options) option.disabled = Number(option.value) > small;
  $("samples").replaceChildren(...choices.samples.map(({ sample, name }) => {
    const button = document.createElement("button"), picture = new Image();
    Object.assign(button, { type: "button", title: name }); Object.assign(picture, { src: `thumbnail/${sample}?${choices.network}`, alt: name });
    button.append(picture); button.onclick = () => openSample(sample); return button;
  }));
  $("canvases").classList.toggle("small", small < 128);
  document.querySelectorAll(".pane").forEach((each) => each.classList.toggle("small", small < 128));
}
function openedText() {
  if (!state.clean) return "";
  const { name, width, height, whole, cropped } = state.clean;
  const from = whole ? ` ${cropped ? "of the middle " : ""}of ${whole[1]} × ${whole[0]}` : "";
  return `${name} · ${width} × ${height} pixels${from} · ${state.choices.classes.length.toLocaleString("en")} classes`;
}
async function openSample(sample) {
  const found = await waiting("opening…", () => ask("sample", { sample }));
  if (found) await showImage(found);
}
async function openFile(file) {
  if (!file) return;
  const found = await waiting(`opening ${file.name}…`, () => ask(`picture?name=${encodeURIComponent(file.name)}`, file));
  if (found) await showImage(found);
}
async function showImage(found) {
  attacks += 1; state.clean = found; state.attacked = null; state.target = null;
  $("attacked-choice").hidden = $("attacked-figure").hidden = true; pick("shown", "clean");
  $("eps").value = "0/255"; $("eps-slider").value = 0; $("attack-state").textContent = "";
  $("title").textContent = state.choices.network;
  $("opened").textContent = openedText();
  state.height = found.height; state.width = found.width; state.mask = new Uint8Array(found.height * found.width);
  for (const canvas of [$("image"), $("region")]) Object.assign(canvas, { width: found.width, height: found.height });
  $("canvases").style.aspectRatio = `${found.width} / ${found.height}`;
  document.querySelectorAll(".pane").forEach((each) => { each.style.aspectRatio = `${found.width} / ${found.height}`; });
  $("clean-picture").src = found.picture; $("clean-map").removeAttribute("src"); $("attacked-map").removeAttribute("src");
  $("regions").replaceChildren(...found.regions.map(({ name, mask }) => button(name, false, () => setRegion(fromRuns(mask)))));
  state.maps = {}; cleared(); beginMaps();
}
function cleared() {
  state.turn += 1; state.again = false; // what waits to be asked is gone
  state.mask?.fill(0); state.seen = state.did = null; draw(); showTexts(); forgetAround(); showRows(image().rows);
  $("sentence").textContent = image() === state.attacked ? attackSentence() : "Brush over the image: what does the network use?";
  remember("");
}

/* ---- drawing ---- */
const decoded = new Map();
function picture(link, then) {
  if (!decoded.has(link)) {
    if (decoded.size > 12) decoded.clear();
    const made = new Image(); made.src = link; decoded.set(link, made);
  }
  const found = decoded.get(link);
  if (found.complete && found.naturalWidth) then(found); else found.addEventListener("load", () => then(found), { once: true });
}
function draw() {
  const context = $("image").getContext("2d"), link = image().picture;
  $("treated").src = state.seen ?? link;
  picture(link, (made) => {
    const map = $("over").checked && state.maps[image().image]?.picture;
    context.filter = map ? getComputedStyle(document.documentElement).getPropertyValue("--underlay") : "none";
    context.drawImage(made, 0, 0);
    context.filter = "none";
    if (map) picture(map, (over) => context.drawImage(over, 0, 0));
  });
  drawRegion();
}
function drawRegion() {
  const canvas = $("region"), context = canvas.getContext("2d"), { width, height, mask } = state;
  const pixels = context.createImageData(width, height);
  if ($("outline").checked && picked("kind") === "region") {
    for (let y = 0, at = 0; y < height; y++) for (let x = 0; x < width; x++, at++) {
      if (!mask[at]) continue;
      const edge = !x || !y || x === width - 1 || y === height - 1 || !mask[at - 1] || !mask[at + 1] || !mask[at - width] || !mask[at + width];
      const shade = edge && (x + y) & 4 ? 0 : 254; // light and dark in turn, which is seen on any image
      pixels.data.set([shade, shade, shade, edge ? 255 : 50], at * 4);
    }
  }
  context.putImageData(pixels, 0, 0);
  if (state.rectangle) { const [x, y, w, h] = box(...state.rectangle); context.strokeStyle = "#fefefe"; context.strokeRect(x + .5, y + .5, w - 1, h - 1); }
  if (state.cursor && document.activeElement === canvas) {
    context.beginPath(); context.strokeStyle = "#ffffff"; context.lineWidth = Math.max(1, width / 224);
    context.arc(state.cursor[0] + .5, state.cursor[1] + .5, Number($("width").value) / 2, 0, 7); context.stroke();
    context.strokeStyle = "#000000"; context.setLineDash([3, 3]); context.stroke(); context.setLineDash([]);
  }
}

/* ---- brushing ---- */
function box(x0, y0, x1, y1) {
  const left = Math.max(0, Math.min(x0, x1)), top = Math.max(0, Math.min(y0, y1));
  return [left, top, Math.min(state.width, Math.max(x0, x1) + 1) - left, Math.min(state.height, Math.max(y0, y1) + 1) - top];
}
function stamp(x, y) {
  const radius = Number($("width").value) / 2, on = picked("tool") === "erase" ? 0 : 1;
  for (let row = Math.max(0, Math.floor(y - radius)); row <= Math.min(state.height - 1, y + radius); row++)
    for (let column = Math.max(0, Math.floor(x - radius)); column <= Math.min(state.width - 1, x + radius); column++)
      if ((row - y) ** 2 + (column - x) ** 2 <= radius ** 2) state.mask[row * state.width + column] = on;
  if (radius < 1) state.mask[y * state.width + x] = on;
}
function line(from, to) {
  const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1])));
  for (let step = 0; step <= steps; step++)
    stamp(Math.round(from[0] + (to[0] - from[0]) * step / steps), Math.round(from[1] + (to[1] - from[1]) * step / steps));
}
function place(event) {
  const frame = $("region").getBoundingClientRect();
  const at = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
  return [at((event.clientX - frame.left) / frame.width, state.width), at((event.clientY - frame.top) / frame.height, state.height)];
}
function rectangle(x0, y0, x1, y1) {
  const [left, top, width, height] = box(x0, y0, x1, y1);
  for (let row = top; row < top + height; row++) state.mask.fill(1, row * state.width + left, row * state.width + left + width);
}
let last = null;
$("region").addEventListener("pointerdown", (event) => {
  if (!state.clean) return;
  if (picked("tool") === "pick") { pickAt(...place(event)); return; }
  $("region").setPointerCapture(event.pointerId); last = place(event); pick("kind", "region"); showKind();
  if (picked("tool") === "rectangle") state.rectangle = [...last, ...last]; else { line(last, last); brushed(); }
});
$("region").addEventListener("pointermove", (event) => {
  if (!last) return;
  const now = place(event);
  if (state.rectangle) { state.rectangle.splice(2, 2, ...now); drawRegion(); return; }
  line(last, now); last = now; brushed();
});
for (const end of ["pointerup", "pointercancel"]) $("region").addEventListener(end, () => {
  if (state.rectangle) { rectangle(...state.rectangle); state.rectangle = null; brushed(); }
  if (last && !state.asking && state.did) { last = null; settled(); }
  last = null;
});
$("region").addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 1 : Math.max(1, Math.round(Number($("width").value) / 4));
  const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  state.cursor ??= [state.width >> 1, state.height >> 1];
  if (move) state.cursor = [Math.min(state.width - 1, Math.max(0, state.cursor[0] + move[0])), Math.min(state.height - 1, Math.max(0, state.cursor[1] + move[1]))];
  else if (event.key === " " || event.key === "Enter") { if (picked("tool") === "pick") pickAt(...state.cursor); else { stamp(...state.cursor); brushed(); } }
  else if (event.key === "Escape") cleared();
  else return;
  event.preventDefault(); drawRegion();
});
function setRegion(mask) { state.mask.set(mask); pick("kind", "region"); showKind(); brushed(); }
function setCell(row, column, side) { // of a grid of so many cells a side
  const edge = (cell, length) => Math.floor(cell * length / side), { width, height } = state;
  state.mask.fill(0);
  rectangle(edge(column, width), edge(row, height), edge(column + 1, width) - 1, edge(row + 1, height) - 1); setRegion(state.mask);
}
function cellAt(at, length, side) { return Math.min(side - 1, Math.floor((at + .5) / length * side)); }
function pickAt(x, y) { // the smallest object there, or the cell
  const masks = state.clean.regions.map(({ mask }) => fromRuns(mask)).filter((mask) => mask[y * state.width + x]);
  const size = (mask) => mask.reduce((sum, on) => sum + on, 0), side = Number($("grid").value);
  if (masks.length) setRegion(masks.reduce((least, mask) => (size(mask) < size(least) ? mask : least)));
  else setCell(cellAt(y, state.height, side), cellAt(x, state.width, side), side);
}
function runs(mask = state.mask) { // lengths of pixels outside, inside, outside, ...
  const lengths = [0]; let inside = 0;
  for (const on of mask) { if (on !== inside) { lengths.push(0); inside = on; } lengths[lengths.length - 1] += 1; }
  return lengths.join(" ");
}
function fromRuns(text) {
  let at = 0; const mask = new Uint8Array(state.mask.length);
  text.split(" ").map(Number).forEach((length, number) => { if (number % 2) mask.fill(1, at, at + length); at += length; });
  return mask;
}
function asked() { // what is done, as the server is asked
  const own = { image: image().image, target: state.target, fill: fill() };
  if (picked("kind") === "region") return { ...own, mask: runs() };
  return { ...own, unit: { site: $("site").value, kind: $("unit-kind").value, number: Number($("unit-number").value), value: { name: $("value").value } } };
}
function brushed() { state.strokes += 1; drawRegion(); measure(); }
async function measure() { // one question at a time; the newest state of the brush next
  if (!state.clean) return;
  if (picked("kind") === "region" && !state.mask.some(Boolean)) { cleared(); return; }
  state.since ??= performance.now();
  if (state.asking) { state.again = true; return; }
  state.asking = true;
  do {
    state.again = false;
    const { since, strokes, turn } = state;
    state.since = null;
    try {
      const question = asked(), did = doing(); // the inputs may change before the answer comes
      const found = await ask("effect", question);
      if (turn !== state.turn) continue; // cleared since, or another image
      state.seen = found.seen; state.did = did; draw(); forgetAround(); showRows(found.rows); sentence(found.rows); problem("");
      $("time").textContent = `${Math.round(performance.now() - since)} ms`;
      $("time").dataset.strokes = strokes; // whose effect is shown
    } catch (error) { problem(error.message); }
  } while (state.again);
  state.asking = false; showTexts();
  if (!last && state.did) settled();
}

/* ---- controls, other fills and values, units in order of their effects ---- */
function settled() { remember($("sentence").textContent); around(); }
function forgetAround() { state.around += 1; state.bands = {}; $("null").textContent = ""; $("others").replaceChildren(); }
async function repeat(question, body, isCurrent, show) { // until all of it is measured, or something else is asked
  try {
    for (let found = {}; !found.done; await sleep(found.done ? 0 : 100)) {
      found = await ask(question, body);
      if (!isCurrent()) return;
      show(found);
    }
  } catch (error) { if (isCurrent()) problem(error.message); }
}
function around() {
  forgetAround();
  const turn = state.around, select = $(picked("kind") === "unit" ? "value" : "fill");
  repeat("around", { ...asked(), scale: picked("scale"), classes: state.rows.map((row) => row.number).slice(0, 16) }, () => turn === state.around, (found) => {
    state.bands = found.bands; showRows(state.rows); showNull(found);
    $("others").replaceChildren(...found.others.map(({ name, effect, problem }) => {
      const made = button(`${shown(name)} ${effect === null ? (problem ? "–" : "…") : signedText(Math.abs(effect) < NOTHING ? 0 : effect)}`, name === select.value, () => { select.value = name; select.dispatchEvent(new Event("input")); select.dispatchEvent(new Event("change")); });
      made.title = problem; return made;
    }));
  });
}
function showNull({ controls, done, bands }) { // in words, beside the sentence
  const row = targetRow(state.rows), band = bands[row.number], unit = picked("kind") === "unit";
  if (!band) { $("null").textContent = done ? `No control: ${unit ? "the site has no other unit that changes" : "this region has no room elsewhere"}.` : "Measuring controls…"; return; }
  const change = picked("scale") === "log_odds" ? row.log_odds_effect : row.effect;
  const what = `${controls} random draws of ${unit ? "another unit, changed by as much" : "another place for this region"}`;
  const beyond = change < band[0] || change > band[1] ? "the effect is beyond all of them." : "the effect is within these.";
  $("null").textContent = `${what}: ${signedText(band[0])} to ${signedText(band[1])}; ${done ? beyond : "measuring…"}`;
}
let ranks = 0;
function rank() {
  const turn = ++ranks;
  $("ranked-box").hidden = picked("kind") !== "unit";
  if (picked("kind") !== "unit" || !state.units) return;
  const { image: number, target, unit } = asked(), kind = unit.kind;
  repeat("ranking", { image: number, target, unit: { ...unit, number: 0 }, scale: picked("scale") }, () => turn === ranks, (found) => {
    const row = targetRow(image().rows), most = Math.abs(found.ranked[0]?.effect ?? 1) || 1;
    $("ranked-head").textContent = found.problem || `${kind}s by effect on ${row.name}${found.done ? "" : `, ${found.measured.toLocaleString("en")} of ${state.units[kind].toLocaleString("en")} measured`}`;
    $("ranked").replaceChildren(...found.ranked.map(({ number: at, effect }) => {
      const item = document.createElement("li"), made = button(`${at}`, String(at) === $("unit-number").value, () => { $("unit-number").value = at; measure(); rank(); });
      made.append(bar(effect, most), signedText(Math.abs(effect) < NOTHING ? 0 : effect)); item.append(made); return item;
    }));
  });
}

/* ---- states: undo, redo, a link ---- */
function stated() {
  const { unit } = picked("kind") === "unit" && state.units ? asked() : {}, { name, sample } = state.clean, { network } = state.choices;
  const attack = state.attacked && { ...chosen($("attack"), $("attack-settings")), eps: $("eps").value };
  const region = state.mask.some(Boolean) ? runs() : null, target = state.target, scale = picked("scale");
  const given = { network, name, sample, region, fill: fill(), unit, attack, shown: picked("shown"), target, scale, rows: Number($("grid").value) };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null && value !== undefined));
}
function remember(text) {
  const spec = stated(), now = JSON.stringify(spec);
  history.replaceState(null, "", `#${encodeURIComponent(now)}`);
  $("link").textContent = location.href;
  if (state.past[state.at]?.now !== now) {
    const entry = { now, text };
    state.past.splice(state.at + 1, Infinity, entry);
    state.past = state.past.slice(-30); state.at = state.past.length - 1;
    picture(state.seen ?? image().picture, (made) => { entry.picture = small(made); showPast(); });
  }
  showPast();
}
function small(made) { // what is shown, as a thumbnail
  const canvas = document.createElement("canvas"), side = canvas.width = canvas.height = 48;
  for (const drawn of [made, $("region")]) canvas.getContext("2d").drawImage(drawn, 0, 0, side, side);
  return canvas.toDataURL();
}
function showPast() {
  $("undo").disabled = state.at <= 0; $("redo").disabled = state.at >= state.past.length - 1;
  $("past").replaceChildren(...state.past.map(({ text, picture: link }, at) => {
    const item = document.createElement("li"), made = button("", at === state.at, () => goTo(at), link);
    made.title = made.ariaLabel = text || "nothing set"; item.append(made); return item;
  }));
  $("past").lastElementChild?.scrollIntoView({ block: "nearest", inline: "nearest" });
}
function goTo(at) { if (state.past[at]) { state.at = at; restore(JSON.parse(state.past[at].now)); } }
const restore = (spec) => waiting("", () => restored(spec)); // with the reason on the page, if it fails
async function restored(spec) {
  if (spec.network !== state.choices.network) throw new Error(`This state is of the network ${spec.network}, but ${state.choices.network} is open. Open the other one first.`);
  if (spec.name !== state.clean.name) {
    if (spec.sample === undefined) throw new Error(`This state is of the picture ${spec.name}. Drop that picture on the page first.`);
    await openSample(spec.sample, false);
    if (spec.name !== state.clean.name) throw new Error(`This state is of the image ${spec.name}, which is not number ${spec.sample} of the images here. Open those that it is of.`);
  }
  const set = (group, given) => { $(group).value = given.name; settingsOf($(`${group}-settings`), { ...state.choices[`${group}s`][given.name], ...given.settings }); };
  state.target = spec.target ?? null; pick("scale", spec.scale ?? "probability"); $("grid").value = spec.rows ?? 7; set("fill", spec.fill);
  const { attack: before } = stated();
  if (JSON.stringify(before) !== JSON.stringify(spec.attack)) {
    if (spec.attack) set("attack", spec.attack);
    $("eps").value = spec.attack?.eps ?? "0/255"; $("eps-slider").value = Math.round(255 * fraction($("eps").value)) || 0;
    await attack();
  }
  pick("shown", state.attacked && spec.shown ? spec.shown : "clean"); pick("kind", spec.unit ? "unit" : "region");
  await showKind();
  if (spec.unit && ($("site").value !== spec.unit.site || $("unit-kind").value !== spec.unit.kind)) { $("site").value = spec.unit.site; await showUnits(spec.unit.kind); }
  if (spec.unit) { $("unit-number").value = spec.unit.number; $("value").value = spec.unit.value.name; }
  state.mask.fill(0);
  if (spec.region) state.mask.set(fromRuns(spec.region));
  draw(); rank();
  if (spec.region || spec.unit) measure(); else cleared();
}
function linked() {
  try { return location.hash.length > 1 ? JSON.parse(decodeURIComponent(location.hash.slice(1))) : null; }
  catch { problem("The address does not name a state of this page. Copy the whole link."); return null; }
}

/* ---- numbers ---- */
const NOTHING = 1e-6; // a change that is less is rounding
function showRows(rows) {
  state.rows = rows;
  const odds = picked("scale") === "log_odds";
  const [control, treated, effect] = odds ? ["control_log_odds", "treated_log_odds", "log_odds_effect"] : ["control", "treated", "effect"];
  const what = image() === state.attacked && !state.seen ? "attack" : "do, x";
  $("head-before").textContent = odds ? "log-odds" : "P(y | x)"; $("head-after").textContent = odds ? "after" : `P(y | ${what})`;
  const most = Math.max(odds ? 1 : .05, ...rows.map((row) => Math.abs(row[effect])), ...rows.flatMap((row) => (state.bands[row.number] ?? []).map(Math.abs)));
  $("rows").tBodies[0].replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr"), head = document.createElement("th"), label = document.createElement("label"), radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: "target", checked: row.number === (state.target ?? state.clean.predicted) });
    radio.onchange = () => { state.target = row.number; if (state.did) { sentence(state.rows); settled(); } beginMaps(); rank(); };
    label.append(radio, row.name); head.scope = "row"; head.append(label);
    const cells = [numberText(row[control]), numberText(row[treated]), signedText(row[effect])].map((text) => { const cell = document.createElement("td"); cell.className = "number"; cell.textContent = text; return cell; });
    const graph = document.createElement("td");
    graph.className = "graph"; graph.append(bar(row[effect], most, state.bands[row.number])); line.append(head, ...cells, graph);
    line.onclick = (event) => { if (event.target !== radio && !label.contains(event.target)) radio.click(); };
    return line;
  }));
}
function bar(effect, most, band) { // from the middle; behind it the band of the controls
  const made = document.createElement("span"), part = document.createElement("i");
  made.className = "effect-bar"; part.className = effect < 0 ? "less" : "more"; part.style.width = `${50 * Math.abs(effect) / most}%`;
  if (band) { const behind = document.createElement("b"); behind.style.left = `${50 + 50 * band[0] / most}%`; behind.style.width = `${50 * (band[1] - band[0]) / most}%`; made.append(behind); }
  made.append(part); return made;
}
const targetRow = (rows) => rows.find((row) => row.number === (state.target ?? state.clean.predicted)) ?? rows[0];
function doing() { // in words, what is asked for
  const share = (100 * state.mask.reduce((sum, on) => sum + on, 0) / state.mask.length).toFixed(1);
  return picked("kind") === "region" ? `Painting ${share}% of the image (${shown($("fill").value)})` : `Setting ${$("unit-kind").value} ${$("unit-number").value} of ${$("site").value} (${shown($("value").value)})`;
}
function sentence(rows) { $("sentence").textContent = inWords(targetRow(rows), `${state.did}${where()}`); }
const where = () => (image() === state.attacked ? ` on the attacked image (${shown($("attack").value)}, ε = ${$("eps").value})` : "");
function inWords(row, did) {
  const odds = picked("scale") === "log_odds", change = odds ? row.log_odds_effect : row.effect, what = odds ? "the log-odds of" : "P";
  const moved = Math.abs(change) < NOTHING ? `changes nothing of ${what}` : change < 0 ? `takes ${numberText(-change)} off ${what}` : `adds ${numberText(change)} to ${what}`;
  const [before, after] = (odds ? [row.control_log_odds, row.treated_log_odds] : [row.control, row.treated]).map(numberText);
  const more = !odds && before === after && Math.abs(row.log_odds_effect) >= .05 ? ` Its log-odds move by ${signedText(row.log_odds_effect)}.` : "";
  return `${did} ${moved}${odds ? " " : "("}${row.name}${odds ? "" : ")"}: ${before} to ${after}.${more}`;
}

/* ---- maps and attack ---- */
let maps = 0;
const shownImages = () => ["clean", "attacked"].filter((name) => state[name]);
function beginMaps() {
  const turn = ++maps, images = shownImages().map((name) => state[name].image);
  showTexts();
  repeat("maps", { images, rows: Number($("grid").value), fill: fill(), target: state.target, scale: picked("scale") }, () => turn === maps, showMaps);
}
function showMaps(found) {
  state.maps = found.maps;
  for (const name of shownImages()) {
    const own = state[name], map = found.maps[own.image];
    if (!map) continue;
    $(`${name}-map`).src = map.picture;
    const row = own.rows.find((each) => each.name === map.target), done = map.values.filter((value) => value !== null).length, left = done < map.values.length;
    const caption = $(`${name}-caption`), bar = document.createElement("progress");
    caption.textContent = map.problem || `${{ clean: "Clean", attacked: `Attacked, ε = ${$("eps").value}` }[name]}: effect on ${map.target}${row ? `, P = ${numberText(row.treated)}` : ""}`;
    const sizes = map.values.map((value) => Math.abs(value ?? 0));
    if (!left && picked("scale") === "probability" && Math.max(...sizes) < 5e-4) caption.append(": no cell moves it by 0.001; log-odds show more.");
    if (left && !map.problem) { Object.assign(bar, { value: done, max: map.values.length }); bar.setAttribute("aria-label", "cells measured"); caption.append(bar); }
    caption.dataset.done = String(!left);
  }
  $("low").textContent = `${signedText(found.limit)} against`; $("high").textContent = `${signedText(-found.limit)} for`;
  if ($("over").checked) draw();
}
function readCell(name, event) { // the effect of the cell under the pointer
  const map = state.maps[state[name]?.image], frame = event.currentTarget.getBoundingClientRect();
  if (!map) return;
  const side = Math.round(Math.sqrt(map.values.length)), at = (share, count) => cellAt(Math.floor(share * count), count, side);
  const row = at((event.clientY - frame.top) / frame.height, state.height), column = at((event.clientX - frame.left) / frame.width, state.width);
  if (event.type === "click") { if (state[name] !== image()) { pick("shown", name); shownAnother(); } setCell(row, column, side); return; }
  const value = map.values[row * side + column];
  $("cell-value").textContent = `r${row}c${column}, ${name}: ${value === null ? "not measured yet" : signedText(value)}`;
}
function fraction(text) { const [above, below] = text.split("/").map(Number); return below ? above / below : above; }
let attacks = 0;
async function attack() { // the last one that was asked for counts; the server ends those before it
  if (!state.clean) return;
  const turn = ++attacks, eps = $("eps").value.trim() || "0";
  $("attack-state").textContent = "attacking…";
  try {
    const found = await ask("attack", { image: state.clean.image, target: state.target, attack: { ...chosen($("attack"), $("attack-settings")), eps } });
    if (turn !== attacks) return;
    const before = image();
    problem(""); $("attack-state").textContent = "";
    state.attacked = found.image === state.clean.image ? null : found;
    $("attacked-choice").hidden = $("attacked-figure").hidden = !state.attacked; pick("shown", state.attacked ? "attacked" : "clean");
    if (!state.attacked) { if (image() !== before) shownAnother(); return; }
    $("attacked-picture").src = found.picture; $("attacked-map").removeAttribute("src");
    shownAnother(); beginMaps();
  } catch (error) { if (turn === attacks) { $("attack-state").textContent = ""; problem(error.message); } }
}
function shownAnother() { // the other of the two images, with what is brushed meanwhile
  if (state.mask.some(Boolean)) { state.seen = state.did = null; draw(); measure(); } else cleared();
  rank();
}
function attackSentence() {
  const rows = state.attacked.rows, before = rows.find((each) => each.number === state.clean.predicted) ?? rows[0];
  const now = rows.find((each) => each.number === state.attacked.predicted) ?? rows[0];
  const moved = `P(${before.name}) goes from ${numberText(before.control)} to ${numberText(before.treated)}`;
  return now.number === before.number ? `Under attack ${moved}.` : `Under attack ${moved}; predicted: ${now.name} (${numberText(now.treated)}).`;
}

/* ---- units inside ---- */
async function showKind() {
  const unit = picked("kind") === "unit";
  $("unit-tools").hidden = !unit; $("region-tools").hidden = unit; rank();
  if (!unit || state.sites) return;
  const found = await waiting("", () => ask("sites"));
  if (!found) return;
  state.sites = found;
  const names = Object.keys(found), last = names.filter((name) => found[name].length === 3 && found[name][1] * found[name][2] > 1).at(-1);
  setOptions($("site"), names, "code" in found ? "code" : last ?? names.at(-1));
  for (const option of $("site").options) option.text = `${option.value} (${found[option.value].join(" × ")})`;
  await showUnits();
}
async function showUnits(kind = $("unit-kind").value) { // of the chosen site
  const found = await waiting("", () => ask("units", { site: $("site").value }));
  if (!found) return;
  state.units = found; setOptions($("unit-kind"), Object.keys(found), kind); limitUnit(); rank();
}
function limitUnit() {
  const most = state.units[$("unit-kind").value] - 1;
  $("unit-number").max = most; $("unit-number").value = Math.min(Number($("unit-number").value), most); $("unit-most").textContent = `of ${most + 1}`;
}

/* ---- keeping ---- */
function askedToKeep() {
  const anything = picked("kind") === "unit" || state.mask.some(Boolean);
  if (picked("kept") === "done" && anything) return { ...asked(), scale: picked("scale") };
  return { image: image().image, target: state.target, fill: fill(), rows: Number($("grid").value), scale: picked("scale") };
}
let textsAsked = 0;
async function showTexts() {
  if (!$("keep").open || !state.clean) return;
  const turn = ++textsAsked;
  try {
    const found = await ask("texts", askedToKeep());
    if (turn === textsAsked) $("command").textContent = found.command;
  } catch (error) { problem(error.message); }
}
async function save() {
  const body = askedToKeep(), found = await waiting("", () => ask("save", body.rows ? body : { ...body, rows: undefined }));
  if (!found) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(found); link.download = `dovision-view-${state.clean.name.replace(/\W+/g, "-")}.zip`; link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
async function copied(button) {
  try { await navigator.clipboard.writeText($(button.dataset.of).textContent); }
  catch { getSelection().selectAllChildren($(button.dataset.of)); document.execCommand("copy"); }
  button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

/* ---- wiring ---- */
$("picture-form").onsubmit = (event) => event.preventDefault();
$("file").onchange = () => openFile($("file").files[0]);
for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, (event) => {
  event.preventDefault(); for (const each of [$("drop"), $("canvases")]) each.classList.toggle("dragged", kind === "dragover");
  if (kind === "drop") openFile(event.dataTransfer.files[0]);
});
for (const name of ["clean", "attacked"]) { const pane = $(`${name}-figure`).querySelector(".pane"); pane.onpointermove = pane.onclick = (event) => readCell(name, event); }
$("clear").onclick = cleared;
$("fill").onchange = () => { settingsOf($("fill-settings"), state.choices.fills[$("fill").value]); if (state.mask.some(Boolean)) measure(); beginMaps(); };
$("fill-settings").onchange = () => { if (state.mask.some(Boolean)) measure(); beginMaps(); };
$("grid").onchange = beginMaps;
$("attack").onchange = () => { settingsOf($("attack-settings"), state.choices.attacks[$("attack").value]); attack(); };
$("attack-settings").onchange = attack;
let soon;
$("eps-slider").oninput = () => { $("eps").value = `${$("eps-slider").value}/255`; clearTimeout(soon); soon = setTimeout(attack, 150); };
$("eps").onchange = () => { $("eps-slider").value = Math.round(255 * fraction($("eps").value)) || 0; attack(); };
for (const each of document.getElementsByName("scale")) each.onchange = () => { forgetAround(); showRows(state.rows); if (state.did) { sentence(state.rows); settled(); } rank(); beginMaps(); };
for (const each of document.getElementsByName("shown")) each.onchange = shownAnother;
for (const each of document.getElementsByName("kind")) each.onchange = async () => { await showKind(); if (picked("kind") === "unit") { state.seen = state.did = null; draw(); measure(); } else if (state.mask.some(Boolean)) measure(); else cleared(); };
$("undo").onclick = () => goTo(state.at - 1); $("redo").onclick = () => goTo(state.at + 1);
document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase(), steps = { z: event.shiftKey ? 1 : -1, y: 1 }[key];
  if (steps && (event.ctrlKey || event.metaKey) && !event.target.matches?.("input:not([type=radio],[type=checkbox],[type=range])")) { event.preventDefault(); goTo(state.at + steps); }
});
addEventListener("hashchange", () => { const spec = linked(); if (spec) restore(spec); });
$("site").onchange = async () => { await showUnits(); measure(); };
for (const id of ["unit-kind", "unit-number", "value"]) $(id).oninput = () => { if (id === "unit-kind") limitUnit(); measure(); rank(); };
for (const id of ["outline", "over"]) $(id).onchange = draw;
for (const kind of ["focus", "blur"]) $("region").addEventListener(kind, drawRegion);
$("width").oninput = drawRegion;
$("keep").ontoggle = showTexts; $("save").onclick = save;
for (const each of document.getElementsByName("kept")) each.onchange = showTexts;
document.querySelectorAll(".copy").forEach((button) => { button.onclick = () => copied(button); });
(async () => {
  const found = await waiting("", () => ask("choices"));
  if (!found) return;
  const spec = linked();
  showChoices(found); await openSample(spec?.network === found.network ? spec.sample ?? 0 : 0);
  if (spec) await restore(spec);
})();
