"use strict";
const $ = (id) => document.getElementById(id);
const state = { pair: null, films: [], chosen: null, since: 0, sending: false };

async function ask(question, body) {
  const answer = await fetch(question, { method: "POST", body: JSON.stringify(body ?? {}) }).catch(() => { throw new Error("the server does not answer. Is dovision-view still running?"); });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}
async function send(question, body, failure) { // what fails stays on the page, to be sent again
  if (state.sending) return;
  state.sending = true;
  try { const found = await ask(question, body); $("problem").hidden = true; await show(found); }
  catch (error) { $("problem").hidden = false; $("problem").textContent = `${failure}: ${error.message}`; }
  state.sending = false;
}
const loaded = (link) => new Promise((resolve) => { if (!link) { resolve(null); return; } const picture = new Image(); picture.onload = () => resolve(picture); picture.src = link; });
async function show(pair) {
  const films = await Promise.all((pair.sides ?? []).map(async ({ grey, picture, over }) => ({
    grey: grey && new Uint16Array(Uint8Array.from(atob(grey), (letter) => letter.charCodeAt(0)).buffer), picture: await loaded(picture), over: await loaded(over),
  })));
  Object.assign(state, { pair, films, chosen: null, since: performance.now() });
  $("question").textContent = pair.sides ? pair.question : "All pairs have an answer. Thank you.";
  $("progress").textContent = `${pair.done} of ${pair.pairs} answered`;
  document.querySelectorAll("main, .tools").forEach((each) => { each.hidden = !pair.sides; });
  draw(); showAnswers();
}
function draw() {
  const { height, width } = state.pair, [range, level] = ["window", "level"].map((id) => Number($(id).value) * 65535);
  state.films.forEach(({ grey, picture, over }, side) => {
    const canvas = $(["left", "right"][side]), context = canvas.getContext("2d");
    Object.assign(canvas, { width, height });
    if (grey) {
      const pixels = context.createImageData(width, height);
      grey.forEach((value, at) => { const shown = 255 * ((value - level) / range + .5); pixels.data.set([shown, shown, shown, 255], 4 * at); });
      context.putImageData(pixels, 0, 0);
    } else context.drawImage(picture, 0, 0);
    if (over) context.drawImage(over, 0, 0);
  });
}
function showAnswers() {
  $("answers").replaceChildren(...state.pair.answers.map((text, number) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: `${number + 1}: ${text}`, ariaPressed: String(number === state.chosen), onclick: () => choose(number) });
    return button;
  }));
  $("confirm").disabled = state.chosen === null;
}
function choose(number) { if (number < state.pair.answers.length && !state.sending) { state.chosen = number; showAnswers(); $("confirm").focus(); } }
function confirm() {
  if (state.chosen === null) return;
  const seconds = Math.round((performance.now() - state.since) / 10) / 100, [range, level] = ["window", "level"].map((id) => Number($(id).value));
  send("answer", { item: state.pair.item, answer: state.chosen, seconds, window: range, level }, "This answer may not be saved; press Enter to send it again");
}
function windowed(range, level) { $("window").value = range; $("level").value = level; if (state.pair) draw(); }
$("confirm").onclick = confirm; $("reset").onclick = () => windowed(1, .5);
for (const id of ["window", "level"]) $(id).oninput = draw;
for (const side of ["left", "right"]) {
  $(side).onpointerdown = (event) => $(side).setPointerCapture(event.pointerId);
  $(side).onpointermove = (event) => { if (event.buttons) windowed(Number($("window").value) + event.movementX / 300, Number($("level").value) + event.movementY / 300); };
}
document.addEventListener("keydown", (event) => {
  if (!state.pair?.sides || event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^[1-9]$/.test(event.key)) choose(Number(event.key) - 1);
  else if (event.key === "Enter" && event.target.tagName !== "BUTTON") confirm();
  else if (event.key === "r") windowed(1, .5);
});
send("pair", {}, "The study cannot be shown");
