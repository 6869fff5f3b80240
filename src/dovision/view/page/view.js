"use strict";
const $ = (id) => document.getElementById(id);
const picked = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
const pick = (name, value) => { document.querySelector(`input[name="${name}"][value="${value}"]`).checked = true; };

const state = {
  clean: null, attacked: null, // answers about the two images
  mask: null, height: 0, width: 0, // of the region, a byte a pixel
  rows: [], target: null, choices: null, sites: null, asking: false, again: false, cursor: null, seen: null, did: null, maps: {}, turn: 0,
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
async function openNetwork(event) {
  event.preventDefault();
  const size = $("size").value ? Number($("size").value) : null;
  const asked = { model: $("model").value, name: $("name").value, path: $("path").value, size };
  const found = await waiting("opening the network; weights that are not here yet are downloaded…", () => ask("network", asked));
  if (found) { showChoices(found); await openSample(0); }
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
  state.maps = {}; cleared(); beginMap(found);
}
function cleared() {
  state.turn += 1;
  state.mask?.fill(0); state.seen = state.did = null; draw(); showTexts(); showRows(image().rows);
  $("sentence").textContent = image() === state.attacked ? attackSentence() : "Brush over the image: what does the network use?";
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
  const context = $("image").getContext("2d"), link = state.seen ?? image().picture;
  picture(link, (made) => {
    context.drawImage(made, 0, 0);
    const map = state.maps[image().image]?.picture;
    if ($("over").checked && map) picture(map, (over) => context.drawImage(over, 0, 0));
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
      pixels.data.set([230, 159, 0, edge ? 255 : 40], at * 4);
    }
  }
  context.putImageData(pixels, 0, 0);
  if (state.rectangle) { const [x, y, w, h] = box(...state.rectangle); context.strokeStyle = "#E69F00"; context.strokeRect(x + .5, y + .5, w - 1, h - 1); }
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
  last = null;
});
$("region").addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 1 : Math.max(1, Math.round(Number($("width").value) / 4));
  const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  state.cursor ??= [state.width >> 1, state.height >> 1];
  if (move) state.cursor = [Math.min(state.width - 1, Math.max(0, state.cursor[0] + move[0])), Math.min(state.height - 1, Math.max(0, state.cursor[1] + move[1]))];
  else if (event.key === " " || event.key === "Enter") { stamp(...state.cursor); brushed(); }
  else if (event.key === "Escape") cleared();
  else return;
  event.preventDefault(); drawRegion();
});
function packed() {
  const bytes = new Uint8Array(Math.ceil(state.mask.length / 8));
  state.mask.forEach((on, at) => { if (on) bytes[at >> 3] |= 128 >> (at & 7); });
  let text = ""; for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
function asked() { // what is done, as the server is asked
  const own = { image: image().image, target: state.target, fill: fill() };
  if (picked("kind") === "region") return { ...own, mask: packed() };
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
      state.seen = found.seen; state.did = did; draw(); showRows(found.rows); sentence(found.rows); problem("");
      $("time").textContent = `${Math.round(performance.now() - since)} ms`;
      $("time").dataset.strokes = strokes; // whose effect is shown
    } catch (error) { problem(error.message); }
  } while (state.again);
  state.asking = false; showTexts();
}

/* ---- numbers ---- */
const NOTHING = 1e-6; // a change that is less is rounding
function showRows(rows) {
  state.rows = rows;
  const odds = picked("scale") === "log_odds";
  const [control, treated, effect] = odds ? ["control_log_odds", "treated_log_odds", "log_odds_effect"] : ["control", "treated", "effect"];
  const what = image() === state.attacked && !state.seen ? "attack" : "do, x";
  $("head-before").textContent = odds ? "log-odds" : "P(y | x)"; $("head-after").textContent = odds ? "after" : `P(y | ${what})`;
  const most = Math.max(odds ? 1 : .05, ...rows.map((row) => Math.abs(row[effect])));
  $("rows").tBodies[0].replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr"), head = document.createElement("th"), label = document.createElement("label"), radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: "target", checked: row.number === (state.target ?? state.clean.predicted) });
    radio.onchange = () => { state.target = row.number; if (state.did) sentence(state.rows); beginMaps(); };
    label.append(radio, row.name); head.scope = "row"; head.append(label);
    const cells = [numberText(row[control]), numberText(row[treated]), signedText(row[effect])].map((text) => { const cell = document.createElement("td"); cell.className = "number"; cell.textContent = text; return cell; });
    const graph = document.createElement("td"), bar = document.createElement("span"), part = document.createElement("i");
    graph.className = "graph"; bar.className = "effect-bar"; part.className = row[effect] < 0 ? "less" : "more"; part.style.width = `${50 * Math.abs(row[effect]) / most}%`;
    bar.append(part); graph.append(bar); line.append(head, ...cells, graph); return line;
  }));
}
function doing() { // in words, what is asked for
  const share = (100 * state.mask.reduce((sum, on) => sum + on, 0) / state.mask.length).toFixed(1);
  return picked("kind") === "region" ? `Painting ${share}% of the image (${shown($("fill").value)})` : `Setting ${$("unit-kind").value} ${$("unit-number").value} of ${$("site").value} (${shown($("value").value)})`;
}
function sentence(rows) {
  const row = rows.find((each) => each.number === (state.target ?? state.clean.predicted)) ?? rows[0];
  const odds = picked("scale") === "log_odds", change = odds ? row.log_odds_effect : row.effect, what = odds ? "the log-odds of" : "P";
  const moved = Math.abs(change) < NOTHING ? `changes nothing of ${what}` : change < 0 ? `takes ${numberText(-change)} off ${what}` : `adds ${numberText(change)} to ${what}`;
  const [before, after] = (odds ? [row.control_log_odds, row.treated_log_odds] : [row.control, row.treated]).map(numberText);
  const more = !odds && before === after && Math.abs(row.log_odds_effect) >= .05 ? ` Its log-odds move by ${signedText(row.log_odds_effect)}.` : "";
  $("sentence").textContent = `${state.did} ${moved}${odds ? " " : "("}${row.name}${odds ? "" : ")"}: ${before} to ${after}.${more}`;
}

/* ---- maps and attack ---- */
let polling = null;
async function beginMap(one) {
  try { await ask("map", { image: one.image, rows: Number($("grid").value), fill: fill(), target: state.target ?? state.clean.predicted }); }
  catch (error) { problem(error.message); return; }
  if (!polling) poll();
}
async function beginMaps() { showTexts(); await beginMap(state.clean); if (state.attacked) await beginMap(state.attacked); }
async function poll() {
  polling = true;
  for (;;) {
    const images = [state.clean, state.attacked].filter(Boolean).map((each) => each.image);
    let found;
    try { found = await ask("maps", { images, scale: picked("scale") }); } catch (error) { problem(error.message); break; }
    showMaps(found);
    const all = Object.values(found.maps);
    if (all.length === images.length && all.every((each) => each.done === each.units || each.problem)) break;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  polling = null;
}
function showMaps(found) {
  state.maps = found.maps;
  for (const [name, own] of [["clean", state.clean], ["attacked", state.attacked]]) {
    const map = own && found.maps[own.image];
    if (!map) continue;
    $(`${name}-map`).src = map.picture;
    const row = own.rows.find((each) => each.name === map.target), left = map.done < map.units;
    const caption = $(`${name}-caption`), bar = document.createElement("progress");
    caption.textContent = map.problem || `${name === "clean" ? "Clean" : `Attacked, ε = ${$("eps").value}`}: effect on ${map.target}${row ? `, P = ${numberText(row.treated)}` : ""}`;
    const sizes = map.values.map((value) => Math.abs(value ?? 0));
    if (!left && picked("scale") === "probability" && Math.max(...sizes) < 5e-4) caption.append(": no cell moves it by 0.001; log-odds show more.");
    if (left && !map.problem) { Object.assign(bar, { value: map.done, max: map.units }); bar.setAttribute("aria-label", "cells measured"); caption.append(bar); }
    caption.dataset.done = String(!left);
  }
  $("low").textContent = numberText(-found.limit); $("high").textContent = signedText(found.limit);
  if ($("over").checked) draw();
}
function readCell(name, event) { // the effect of the cell under the pointer
  const map = state.maps[state[name]?.image], frame = event.currentTarget.getBoundingClientRect();
  if (!map) return;
  const side = Math.round(Math.sqrt(map.units)), at = (share, count) => Math.min(side - 1, Math.floor((Math.floor(share * count) + .5) / count * side));
  const row = at((event.clientY - frame.top) / frame.height, state.height), column = at((event.clientX - frame.left) / frame.width, state.width);
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
    shownAnother(); await beginMap(found);
  } catch (error) { if (turn === attacks) { $("attack-state").textContent = ""; problem(error.message); } }
}
function shownAnother() { // the other of the two images, with what is brushed meanwhile
  if (state.mask.some(Boolean)) { state.seen = state.did = null; draw(); measure(); } else cleared();
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
  $("unit-tools").hidden = !unit; $("region-tools").hidden = unit;
  if (!unit || state.sites) return;
  const found = await waiting("", () => ask("sites"));
  if (!found) return;
  state.sites = found;
  const names = Object.keys(found), last = names.filter((name) => found[name].length === 3 && found[name][1] * found[name][2] > 1).at(-1);
  setOptions($("site"), names, "code" in found ? "code" : last ?? names.at(-1));
  for (const option of $("site").options) option.text = `${option.value} (${found[option.value].join(" × ")})`;
  await showUnits();
}
async function showUnits() { // of the chosen site
  const found = await waiting("", () => ask("units", { site: $("site").value }));
  if (!found) return;
  state.units = found; setOptions($("unit-kind"), Object.keys(found), $("unit-kind").value); limitUnit();
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
    if (turn === textsAsked) for (const name of ["command", "cell"]) $(name).textContent = found[name];
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
$("network-form").onsubmit = openNetwork;
$("model").onchange = () => {
  const kind = $("model").value, path = kind === "checkpoint" || kind === "run";
  $("path-label").hidden = !path; $("name-label").hidden = path || kind === "efficientnet_lite0"; $("size-label").hidden = kind === "run";
  $("name").value = { torchvision_model: "resnet50", timm_model: "resnet50", xrv_model: "densenet121-res224-all" }[kind] ?? $("name").value;
};
for (const name of ["clean", "attacked"]) $(`${name}-figure`).querySelector(".pane").onpointermove = (event) => readCell(name, event);
$("clear").onclick = cleared;
$("fill").onchange = () => { settingsOf($("fill-settings"), state.choices.fills[$("fill").value]); if (state.mask.some(Boolean)) measure(); beginMaps(); };
$("fill-settings").onchange = () => { if (state.mask.some(Boolean)) measure(); beginMaps(); };
$("grid").onchange = beginMaps;
$("attack").onchange = () => { settingsOf($("attack-settings"), state.choices.attacks[$("attack").value]); attack(); };
$("attack-settings").onchange = attack;
let soon;
$("eps-slider").oninput = () => { $("eps").value = `${$("eps-slider").value}/255`; clearTimeout(soon); soon = setTimeout(attack, 150); };
$("eps").onchange = () => { $("eps-slider").value = Math.round(255 * fraction($("eps").value)) || 0; attack(); };
for (const each of document.getElementsByName("scale")) each.onchange = () => { showRows(state.rows); if (state.did) sentence(state.rows); if (!polling) poll(); };
for (const each of document.getElementsByName("shown")) each.onchange = shownAnother;
for (const each of document.getElementsByName("kind")) each.onchange = async () => { await showKind(); if (picked("kind") === "unit") { state.seen = state.did = null; draw(); measure(); } else if (state.mask.some(Boolean)) measure(); else cleared(); };
$("site").onchange = async () => { await showUnits(); measure(); };
for (const id of ["unit-kind", "unit-number", "value"]) $(id).oninput = () => { if (id === "unit-kind") limitUnit(); measure(); };
for (const id of ["outline", "over"]) $(id).onchange = draw;
for (const kind of ["focus", "blur"]) $("region").addEventListener(kind, drawRegion);
$("width").oninput = drawRegion;
$("keep").ontoggle = showTexts; $("save").onclick = save;
for (const each of document.getElementsByName("kept")) each.onchange = showTexts;
document.querySelectorAll(".copy").forEach((button) => { button.onclick = () => copied(button); });
(async () => {
  const found = await waiting("", () => ask("choices"));
  if (found) { showChoices(found); await openSample(0); }
})();
