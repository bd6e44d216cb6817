// The page of a listening test. What is played and in which order is known to the server alone.

import { Player } from "/player.js";

const $ = (id) => document.getElementById(id);
const player = new Player(show);
let welcome; // words of the scale, name of the sound that sets the volume
let page = null; // as the server describes it
let busy = false;

async function call(name, fields) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, keepalive: true,
    body: JSON.stringify(fields) };
  const answer = await fetch(`/api/${name}`, fields ? options : {});
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error);
  return value;
}

// Whatever fails is said on the page; the answers given so far are on the server.
async function guarded(action) {
  try {
    $("error").hidden = true;
    await action();
  } catch (error) {
    const lost = error instanceof TypeError ? "The test is not running any more. Reload the page once it is." : "";
    $("error").textContent = lost || error.message;
    $("error").hidden = false;
  }
}

const participant = () => decodeURIComponent(location.hash.slice(1));

// Pages

function only(id) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
}

async function open(next) {
  page = next;
  player.clear();
  $("top").hidden = false;
  $("who").textContent = page.participant;
  $("progress").max = page.total;
  $("progress").value = page.finished ? page.total : page.number - 1;
  $("count").textContent = page.finished ? `${page.total} of ${page.total}` : `${page.number} of ${page.total}`;
  if (page.finished) {
    only("end");
    $("end-title").focus();
    return;
  }
  if (page.kind === "mos") buildMos();
  else buildMushra();
  only(page.kind);
  $(`${page.kind}-title`).focus();
  show();
  $("status").textContent = `Page ${page.number} of ${page.total}`;
  await player.load(page.reference ? [page.reference, ...page.sounds] : page.sounds);
  player.loop = page.kind === "mushra" && $("mushra-loop").checked;
  show();
}

function buildMos() {
  $("mos-scale").querySelectorAll("label").forEach((label) => label.remove());
  const given = page.ratings[page.sounds[0]];
  for (const { value, word } of welcome.words) {
    const label = document.createElement("label");
    label.className = "grade";
    label.innerHTML = `<input type="radio" name="grade"><b></b><span></span>`;
    const input = label.querySelector("input");
    Object.assign(input, { value, checked: value === given });
    input.addEventListener("change", () => rate(page.sounds[0], value));
    label.querySelector("b").textContent = value;
    label.querySelector("span").textContent = word;
    $("mos-scale").append(label);
  }
  if (given !== undefined) player.heard.add(page.sounds[0]); // heard before the page was reloaded
}

function buildMushra() {
  $("mushra-words").replaceChildren(
    ...welcome.words.map(({ word }) => Object.assign(document.createElement("span"), { textContent: word })),
  );
  $("mushra-rows").replaceChildren(...page.sounds.map(row));
}

function row(sound, index) {
  const line = document.createElement("li");
  line.className = "line";
  line.innerHTML = `<button type="button" class="quiet pick"></button>
    <div class="track"><input type="range"></div><output></output>`;
  const [button, slider] = line.querySelectorAll("button, input");
  const given = page.ratings[sound];
  button.textContent = index + 1;
  button.setAttribute("aria-label", `Play sound ${index + 1}`);
  button.addEventListener("click", () => choose(sound));
  Object.assign(slider, { min: page.low, max: page.high, step: 1, value: given ?? 50 });
  slider.setAttribute("aria-label", `Rating of sound ${index + 1}`);
  slider.addEventListener("input", () => shown(line, slider.value));
  slider.addEventListener("change", () => rate(sound, Number(slider.value)));
  line.dataset.sound = sound;
  shown(line, given);
  if (given !== undefined) player.heard.add(sound);
  return line;
}

function shown(line, value) {
  line.classList.toggle("rated", value !== undefined);
  line.querySelector("output").textContent = value ?? "–";
  const words = welcome.words;
  const word = value === undefined ? "not rated" : words[Math.min(Math.floor(value / 20), 4)].word.toLowerCase();
  line.querySelector("input").setAttribute("aria-valuetext", value === undefined ? word : `${value}, ${word}`);
}

// What a participant does

async function choose(sound) {
  if (!player.buffers.has(sound)) return; // still loading
  player.select(sound);
  await player.play();
}

// Ratings are sent one at a time, and of every sound only the latest: a slider gives many.
const unsent = new Map();
let sending = Promise.resolve();

function rate(sound, value) {
  unsent.set(sound, { participant: page.participant, page: page.page, sound, value });
  sending = sending.then(() => guarded(send));
}

async function send() {
  for (const [sound, fields] of unsent) {
    unsent.delete(sound);
    const answer = await call("rate", fields);
    if (page.page === answer.page) page.ratings = answer.ratings;
    show();
  }
}

window.addEventListener("pagehide", send); // requests outlive the page

async function next() {
  if (busy || $(`${page.kind}-next`).disabled) return;
  busy = true;
  await sending;
  await guarded(async () => open(await call("finish", { participant: page.participant, page: page.page })));
  busy = false;
}

// What the page shows of the player and of the ratings

function show() {
  $("volume").setAttribute("aria-pressed", String(player.playing && !page));
  if (!page || page.finished) return;
  const ready = player.buffers.size > 0;
  const button = $(`${page.kind}-play`);
  button.setAttribute("aria-pressed", String(player.playing));
  button.setAttribute("aria-label", player.playing ? "Stop" : "Play");
  button.disabled = !ready;
  const unheard = page.sounds.filter((sound) => !player.heard.has(sound)).length;
  const unrated = page.sounds.filter((sound) => !(sound in page.ratings)).length;
  $(`${page.kind}-next`).disabled = unheard + unrated > 0;
  if (page.kind === "mos") {
    $("mos-scale").disabled = unheard > 0;
    $("mos-hint").textContent = unheard ? (ready ? "Listen first." : "Loading …") : "";
    return;
  }
  for (const line of $("mushra-rows").children) {
    const play = line.querySelector("button");
    play.classList.toggle("on", line.dataset.sound === player.selected);
    play.disabled = !ready;
    const slider = line.querySelector("input");
    slider.disabled = !player.heard.has(line.dataset.sound);
    line.classList.toggle("kept", page.ratings[line.dataset.sound] === Number(slider.value));
  }
  $("mushra-reference").disabled = !ready;
  $("mushra-reference").classList.toggle("on", player.selected === page.reference);
  const left = [unheard && `${unheard} to hear`, unrated && `${unrated} to rate`].filter(Boolean).join(", ");
  $("mushra-hint").textContent = ready ? left : "Loading …";
}

function draw() {
  if (page && !page.finished) {
    const share = player.duration ? Math.min(player.position / player.duration, 1) : 0;
    $(`${page.kind}-ring`).style.strokeDasharray = `${share} 1`;
  }
  requestAnimationFrame(draw);
}

// Keys

function mosKey(event) {
  const value = Number(event.key);
  if (!(value >= page.low && value <= page.high)) return false;
  const input = $("mos-scale").querySelector(`input[value="${value}"]`);
  if (!$("mos-scale").disabled) input.click();
  return true;
}

function mushraKey(event) {
  const all = [page.reference, ...page.sounds];
  const place = all.indexOf(player.selected);
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const key = event.key.toLowerCase();
  if (key === "l") $("mushra-loop").click();
  else if (key === "r") choose(page.reference);
  else if (step) focusOn(all[Math.max(0, Math.min(place + step, all.length - 1))]);
  else if (key >= "1" && key <= "9" && all[Number(key)]) focusOn(all[Number(key)]);
  else return false;
  return true;
}

async function focusOn(sound) {
  await choose(sound);
  const line = [...$("mushra-rows").children].find((each) => each.dataset.sound === sound);
  (line?.querySelector("input") ?? $("mushra-reference")).focus();
}

document.addEventListener("keydown", (event) => {
  if (!page || page.finished || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.repeat && !event.key.startsWith("Arrow")) return;
  const onButton = event.target.closest("button, [type=checkbox]"); // these have keys of their own
  let taken = false;
  if (event.key === " " && !onButton) { player.toggle(); taken = true; }
  else if (event.key === "Enter" && (!onButton || onButton.type === "checkbox")) { next(); taken = true; }
  else if (event.key.length === 1 || event.key.startsWith("Arrow")) {
    taken = page.kind === "mos" ? mosKey(event) : mushraKey(event);
  }
  if (taken) event.preventDefault();
});

for (const kind of ["mos", "mushra"]) {
  $(`${kind}-play`).addEventListener("click", () => player.toggle());
  $(`${kind}-next`).addEventListener("click", next);
}
$("mushra-reference").addEventListener("click", () => choose(page.reference));
$("mushra-loop").addEventListener("change", (event) => player.setLoop(event.target.checked));
$("volume").addEventListener("click", () => guarded(async () => {
  if (!player.buffers.size) await player.load([welcome.volume]);
  await player.toggle();
}));
$("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(async () => {
    const first = await call("state", { participant: $("name").value });
    history.replaceState(null, "", `#${encodeURIComponent(first.participant)}`); // a reload goes on
    await open(first);
  });
});

guarded(async () => {
  welcome = await call("welcome");
  draw();
  if (participant()) return open(await call("state", { participant: participant() }));
  only("welcome");
  $("name").focus();
});
