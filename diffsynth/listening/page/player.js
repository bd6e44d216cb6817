// Sounds that begin together and of which one is heard, so that a change keeps the position to the sample.

const FADE = 0.008; // s, of a change from one sound to another

export class Player {
  // `onChange` is called when playing begins or ends, or another sound is chosen.
  constructor(onChange) {
    this.context = null;
    this.onChange = onChange;
    this.buffers = new Map();
    this.clear();
  }

  clear() {
    this.stop();
    this.buffers.clear();
    this.selected = null;
    this.offset = 0;
    this.loop = false;
    this.heard = new Set();
  }

  async load(names) {
    // A context may be made before the first click; it runs only after one.
    this.context ??= new AudioContext();
    const load = async (name) => {
      const answer = await fetch(`/audio/${name}`);
      if (!answer.ok) throw new Error("A sound cannot be loaded.");
      return [name, await this.context.decodeAudioData(await answer.arrayBuffer())];
    };
    for (const [name, buffer] of await Promise.all(names.map(load))) this.buffers.set(name, buffer);
    this.selected ??= names[0];
  }

  get playing() { return Boolean(this.voices); }

  get duration() { return this.buffers.get(this.selected)?.duration ?? 0; }

  // In s from the beginning.
  get position() {
    if (!this.playing) return this.offset;
    const at = this.offset + this.context.currentTime - this.begun;
    return this.loop ? at % this.duration : Math.min(at, this.duration);
  }

  async play() {
    if (this.playing || !this.buffers.has(this.selected)) return;
    await this.context.resume();
    if (this.playing) return;
    if (this.offset >= this.duration) this.offset = 0;
    this.begun = this.context.currentTime + 0.02;
    this.voices = new Map();
    for (const [name, buffer] of this.buffers) {
      const source = new AudioBufferSourceNode(this.context, { buffer, loop: this.loop });
      const gain = new GainNode(this.context, { gain: name === this.selected ? 1 : 0 });
      source.connect(gain).connect(this.context.destination);
      source.start(this.begun, this.offset);
      this.voices.set(name, { source, gain });
    }
    const voices = this.voices;
    voices.get(this.selected).source.onended = () => {
      if (this.voices !== voices) return; // stopped by hand, or playing again
      this.stop();
      this.offset = 0;
      this.onChange();
    };
    this.heard.add(this.selected);
    this.onChange();
  }

  stop() {
    if (!this.playing) return;
    this.offset = this.position;
    const voices = this.voices;
    this.voices = null;
    for (const { source } of voices.values()) source.stop();
    this.onChange();
  }

  toggle() { return this.playing ? this.stop() : this.play(); }

  select(name) {
    if (this.playing && name !== this.selected) {
      const now = this.context.currentTime;
      for (const [other, { gain }] of this.voices) {
        gain.gain.setTargetAtTime(other === name ? 1 : 0, now, FADE / 3);
      }
      this.heard.add(name);
    }
    this.selected = name;
    this.onChange();
  }

  setLoop(loop) {
    this.offset = this.position;
    if (this.playing) this.begun = this.context.currentTime;
    this.loop = loop;
    for (const { source } of this.voices?.values() ?? []) source.loop = loop;
  }
}
