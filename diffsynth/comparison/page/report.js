"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/* The theme: what the reader's system prefers, until the button says otherwise. */

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  drawCharts();
  if (data.clips.length) player.draw();
}

function chartConfig() {
  const soft = style("--soft"), line = style("--line");
  return {
    background: null, font: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    view: { stroke: null }, range: { category: ["--c0", "--c1", "--c2", "--c3"].map(style) },
    axis: { labelColor: soft, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 11 },
    line: { strokeWidth: 2 }, rule: { color: style("--bound") },
  };
}

function drawCharts() {
  for (const { key, spec } of data.charts) {
    const options = { actions: false, renderer: "svg", config: chartConfig(), ast: true };
    vegaEmbed($(`chart-${key}`), structuredClone(spec), options).then(({ view }) => {
      view.container().querySelector("svg")?.setAttribute("aria-hidden", "true");
    });
  }
}

/* Sound: every system is a buffer of the same clip, and what is heard is one of them. A change starts the
   other at the same place of the clip on the clock of the audio device, and fades one into the other. */

class Player {
  constructor() {
    this.clip = 0;
    this.system = "recording";
    this.other = data.systems.find(({ id }) => id !== "recording")?.id ?? "recording";
    this.offset = 0; // s in the clip, while nothing plays
    this.source = null;
    this.buffers = new Map();
    this.shades = new Map();
    this.change = 0;
  }

  get seconds() { return data.clips[this.clip].seconds; }
  get playing() { return this.source !== null; }
  get position() {
    return this.playing ? Math.min(this.seconds, this.context.currentTime - this.source.zero) : this.offset;
  }

  bytes(kind, system) {
    return Uint8Array.from(atob($(`${kind}-${this.clip}-${system}`).textContent), (c) => c.charCodeAt(0));
  }

  buffer(system) {
    const key = `${this.clip}/${system}`;
    if (!this.buffers.has(key)) {
      this.buffers.set(key, this.context.decodeAudioData(this.bytes("mp3", system).buffer));
    }
    return this.buffers.get(key);
  }

  /* Starts a system at a place of the clip (s), or where the sound is now. */
  async start(place = null) {
    const mine = ++this.change;
    this.context ??= new AudioContext();
    await this.context.resume();
    const buffer = await this.buffer(this.system);
    if (mine !== this.change) return;
    const when = this.context.currentTime + 0.02, fade = 0.01;
    const from = place ?? (this.playing ? when - this.source.zero : this.offset);
    if (from >= this.seconds) { this.stop(0); return; }
    const node = new AudioBufferSourceNode(this.context, { buffer });
    const gain = new GainNode(this.context, { gain: 0 });
    node.connect(gain).connect(this.context.destination);
    gain.gain.setValueAtTime(0, when);
    gain.gain.linearRampToValueAtTime(1, when + fade);
    node.start(when, from);
    this.silence(when, fade);
    const source = { node, gain, zero: when - from };
    node.onended = () => { if (this.source === source) this.stop(0); };
    this.source = source;
    this.show();
    this.prepare();
  }

  silence(when, fade) {
    if (!this.source) return;
    const { node, gain } = this.source;
    gain.gain.setValueAtTime(1, when);
    gain.gain.linearRampToValueAtTime(0, when + fade);
    node.stop(when + fade);
    this.source = null;
  }

  stop(place) {
    this.change++;
    this.offset = place ?? this.position;
    if (this.context) this.silence(this.context.currentTime, 0.01);
    this.show();
  }

  toggle() { return this.playing ? this.stop() : this.start(); }

  seek(place) {
    const inside = Math.max(0, Math.min(this.seconds - 0.01, place));
    if (this.playing) return this.start(inside);
    this.offset = inside;
    return this.show();
  }

  choose(system) {
    if (system !== "recording") this.other = system;
    this.system = system;
    document.querySelector(`input[name=system][value="${system}"]`).checked = true;
    this.draw();
    if (this.playing) this.start();
    $("status").textContent = `${label(system)}`;
  }

  open(clip) {
    this.stop(0);
    this.clip = clip;
    this.buffers.clear();
    document.querySelector(`input[name=clip][value="${clip}"]`).checked = true;
    this.draw();
  }

  /* Decodes the other systems while one plays, so that a change waits for nothing. */
  async prepare() {
    const clip = this.clip;
    for (const { id } of data.systems) {
      if (this.clip !== clip) return;
      if ($(`mp3-${clip}-${id}`)) await this.buffer(id);
    }
  }

  show() {
    const at = this.position;
    $("play").textContent = this.playing ? "❚❚" : "▶";
    $("play").setAttribute("aria-label", this.playing ? "Pause" : "Play");
    $("position").max = this.seconds;
    $("position").value = at;
    $("position").setAttribute("aria-valuetext", `${at.toFixed(1)} of ${this.seconds.toFixed(1)} seconds`);
    $("time").textContent = `${at.toFixed(1)} / ${this.seconds.toFixed(1)} s`;
    const canvas = $("target"), box = canvas.getBoundingClientRect();
    const left = box.left - $("pictures").getBoundingClientRect().left;
    $("head").style.left = `${left + (box.width * at) / this.seconds}px`;
    if (this.playing) requestAnimationFrame(() => this.playing && this.show());
  }

  /* Levels of a system as shades 0 to 255, row by row. */
  async levels(system) {
    const key = `${this.clip}/${system}`;
    if (!this.shades.has(key)) {
      const image = await createImageBitmap(new Blob([this.bytes("png", system)], { type: "image/png" }),
        { colorSpaceConversion: "none" });
      const canvas = new OffscreenCanvas(image.width, image.height);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      const { data: rgba, width, height } = context.getImageData(0, 0, image.width, image.height);
      this.shades.set(key, { width, height, shades: rgba.filter((_, i) => i % 4 === 0) });
    }
    return this.shades.get(key);
  }

  async draw() {
    const clip = this.clip, system = this.system;
    const [target, other] = await Promise.all([this.levels("recording"), this.levels(system)]);
    if (clip !== this.clip || system !== this.system) return;
    const map = document.documentElement.dataset.theme === "dark" ? "difference_dark" : "difference_light";
    const scale = (127.5 * data.range) / (255 * data.spread);
    paint("target", target, "levels", (i) => target.shades[i]);
    paint("prediction", other, "levels", (i) => other.shades[i]);
    paint("difference", other, map, (i) => 127.5 + scale * (other.shades[i] - target.shades[i]));
    $("cap-prediction").textContent = label(system);
    $("cap-difference").textContent = `${label(system)}, less the recording`;
    document.querySelector(".ramp.levels").style.background = ramp("levels");
    document.querySelector(".ramp.difference").style.background = ramp(map);
    this.list();
    this.show();
  }

  list() {
    const moments = data.clips[this.clip].moments[this.system];
    $("moments-of").textContent = this.system === "recording" ? "" : `of ${label(this.system)}`;
    $("moments").replaceChildren(...moments.map((moment) => {
      const button = document.createElement("button"), time = document.createElement("b");
      button.type = "button";
      time.textContent = `${moment.time.toFixed(1)} s`;
      button.append(time, moment.text);
      button.onclick = () => this.visit(moment);
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
    if (!moments.length) {
      const item = document.createElement("li");
      item.textContent = "The recording itself: choose a system.";
      $("moments").append(item);
    }
  }

  visit(moment) {
    const place = Math.max(0, moment.time - 0.75);
    this.offset = place;
    return this.start(place);
  }
}

function label(id) {
  return data.systems.find((each) => each.id === id).name;
}

function paint(id, { width, height }, map, shade) {
  const canvas = $(id), colours = data.maps[map];
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const at = 6 * Math.max(0, Math.min(255, Math.round(shade(i))));
    const colour = parseInt(colours.slice(at, at + 6), 16);
    image.data.set([colour >> 16, (colour >> 8) & 255, colour & 255, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

function ramp(map) {
  const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255];
  return `linear-gradient(90deg, ${stops.map((i) => "#" + data.maps[map].slice(6 * i, 6 * i + 6)).join(", ")})`;
}

function step(by) {
  const ids = data.systems.map(({ id }) => id);
  player.choose(ids[(ids.indexOf(player.system) + by + ids.length) % ids.length]);
}

const keys = {
  " ": () => player.toggle(),
  x: () => player.choose(player.system === "recording" ? player.other : "recording"),
  "[": () => step(-1),
  "]": () => step(1),
  ",": () => player.seek(player.position - 1),
  ".": () => player.seek(player.position + 1),
  n: () => player.open((player.clip + 1) % data.clips.length),
  w: () => {
    const moments = data.clips[player.clip].moments[player.system];
    const next = moments.find(({ time }) => time > player.position + 0.8) ?? moments[0];
    if (next) player.visit(next);
  },
};
for (const { id, key } of data.systems) if (key) keys[key] = () => player.choose(id);

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const act = keys[event.key.toLowerCase()];
  if (!act || (event.key === " " && event.target.closest("button, summary, a"))) return;
  event.preventDefault();
  act();
}

const player = new Player();
if (data.clips.length) {
  $("keys").open = matchMedia("(hover: hover)").matches; // where there is a mouse, there is a keyboard
  $("play").onclick = () => player.toggle();
  $("ab").onclick = keys.x;
  $("position").oninput = (event) => player.seek(Number(event.target.value));
  $("pictures").onclick = (event) => {
    const box = $("target").getBoundingClientRect();
    player.seek(((event.clientX - box.left) / box.width) * player.seconds);
  };
  for (const input of document.querySelectorAll("input[name=system]")) {
    input.onchange = () => player.choose(input.value);
  }
  for (const input of document.querySelectorAll("input[name=clip]")) {
    input.onchange = () => player.open(Number(input.value));
  }
  addEventListener("keydown", onKey);
  addEventListener("resize", () => player.show());
}
$("theme").onclick = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
setTheme(dark.matches ? "dark" : "light");
