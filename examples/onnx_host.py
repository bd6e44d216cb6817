"""Plays a voice exported by `diffsynth export`, with NumPy and ONNX Runtime and nothing else.

    python examples/onnx_host.py VOICE.onnx OUT.wav

writes a short phrase. It is the reference for hosts in other languages: what `Host` does around the
network is all that has to be written again. Names: p modes, f frames in a block, h hops (gains, one after
another) in a block, k gains, 88 keys.
"""

import json
import os
import sys
import wave

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the products are small: threads would only wait

import numpy as np
import onnxruntime
from onnx_noise import Noise, decode

NOTE_OFF, CONTROL, NOTE_ON = 0, 1, 2
SUSTAIN, SOSTENUTO, UNA_CORDA = PEDALS = 64, 66, 67
LOWEST, KEYS = 21, 88
FORMAT = "diffsynth network 9"
PEDAL_FALLS, PEDAL_RISES = SOURCES = 88, 89  # what sounds beside the keys, if there are modes of it


class Host:
    """One voice; `process` turns the events of a block into its audio."""

    def __init__(self, path, seed=0, threads=1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        about = json.loads(self.session.get_modelmeta().custom_metadata_map["diffsynth"])
        if about["format"] != FORMAT:
            sys.exit(f"{path} is of another format, {about['format']}: export it again")
        if "frame" not in about:
            sys.exit(f"{path} holds {about['model']}, which needs a host of its own")
        arrays = {name: decode(value) for name, value in about.pop("arrays").items()}
        self.__dict__.update(about, **arrays)
        self.seed, self.frames = seed, self.block // self.frame
        self.pole = (2j * np.pi * self.frequency - self.decay) / self.sample_rate  # [p] per sample
        self.amplitude = self.amplitude_real + 1j * self.amplitude_imaginary
        self.image = (self.image_real + 1j * self.image_imaginary) * np.ones(len(self.key))  # [c, p]
        self.table = np.exp(self.pole[:, None] * np.arange(self.frame)).astype(np.complex64)  # [p, frame]
        self.turn = np.exp(self.pole * self.frame)  # [p] per frame
        self.release = np.append(self.release, np.zeros(2))
        self.damping = np.exp(-self.release[self.key] * self.frame / self.sample_rate)  # [p] per frame
        self.triangles = np.zeros((self.bands, len(self.key)), dtype=np.float32)  # [k, p]
        modes = np.arange(len(self.key))
        self.triangles[self.band, modes] = 1 - self.share
        self.triangles[self.band + 1, modes] += self.share
        of_key = self.key == np.arange(KEYS)[:, None]
        self.levels = np.concatenate([self.triangles, of_key]).astype(np.float32).T  # [p, k + 88]
        self.partials = [self._partials_of(key) for key in range(KEYS + len(SOURCES))]
        self.noise = Noise(self, arrays)
        self.reset()

    def reset(self):
        """Silence, all keys and pedals up."""
        # Held by a finger, a pedal, or no damper; of that, what the last strike of each key is; released.
        self.held, self.last, self.released = np.zeros((3, len(self.key)), dtype=np.complex128)
        self.finger, self.caught, self.ringing = np.zeros((3, KEYS), dtype=bool)
        self.voices = np.zeros(KEYS + len(SOURCES), dtype=int)  # strikes that are held
        self.pedals = dict.fromkeys(PEDALS, 0)
        self.struck = np.full(KEYS + len(SOURCES), -1e12)  # last strikes, samples from the block's start
        self.mode_values = len(self.ages) * self.bands
        self.last_gains = np.zeros((1, self.mode_values + self.noise_bands), dtype=np.float32)
        self.memory = {k: np.zeros(v, np.float32) for k, v in self.inputs.items() if "memory" in k}
        self.index, self.young = 0, []
        self.noise.reset()

    def process(self, events):
        """The next block, [block] or [block, c], from its events in order: (sample, kind, number, value)."""
        events = [(min(max(int(at), 0), self.block - 1), *rest) for at, *rest in events]
        start, late, end = np.empty((3, self.frames, len(self.key)), dtype=np.complex128)
        velocities = np.zeros((self.frames // self.hop, KEYS), dtype=np.float32)
        keys = [
            (at // self.frame, number, value * (kind == NOTE_ON))
            for at, kind, number, value in events
            if kind != CONTROL
        ]
        pedals = np.empty((self.frames, len(PEDALS)), dtype=np.float32)
        strikes, struck = [], [self.struck.copy()]
        for f in range(self.frames):
            part = [event for event in events if event[0] // self.frame == f]
            self._frame(f, part, start, late, end, velocities, strikes)
            pedals[f] = list(self.pedals.values())
            struck.append(self.struck.copy())
        self.struck -= self.block
        for modes in (self.held, self.last, self.released):
            modes[np.abs(modes) < self.silence] = 0
        noise = self.noise.levels(keys, pedals[:, 0] >= 64)  # [f + 1, b]
        logs = self._gains(end, velocities, pedals, noise)  # [h + 1, k] at the borders of hops
        gains = self._mode_gains(logs, np.array(struck))  # [f + 1, p]
        of_noise = logs[:, self.mode_values :] if self.noise_bands else logs
        noise_gains = self._between(np.exp(of_noise @ self.noise.triangles))  # [f + 1, b]
        ramp = np.arange(self.frame) / self.frame
        sides = np.array([start * gains[:-1], late * gains[1:]])
        sums = ((self.image[:, None, None] * sides) @ self.table).real  # of frames, [c, 2, f, frame]
        audio = sums[:, 0] * (1 - ramp) + sums[:, 1] * ramp
        for f, offset, modes, amplitude in strikes:
            self._add(audio, gains, f, offset, modes, amplitude, 1)
        self._rise(audio, gains, strikes)
        audio += self.noise.sound(noise, noise_gains)  # [c, f, frame]
        channels = audio.reshape(len(audio), -1).astype(np.float32)
        return channels[0] if len(channels) == 1 else channels.T

    def _add(self, audio, gains, f, offset, modes, amplitude, factor):
        """Add modes to the rest of a frame."""
        rest = np.arange(offset, self.frame) / self.frame
        for gain, side in ((gains[f, modes], 1 - rest), (gains[f + 1, modes], rest)):
            own = self.image[:, modes] * (gain * amplitude)
            audio[:, f, offset:] += (own @ self.table[modes, : len(rest)]).real * side * factor

    def _rise(self, audio, gains, strikes):
        """Take away what strikes lack until they have risen: modes that decay faster."""
        if not self.rise:
            return
        loss = self.rise / self.sample_rate
        longest = round(self.rises_for / loss)
        self.young += [(f * self.frame + offset, modes, amplitude) for f, offset, modes, amplitude in strikes]
        for at, modes, amplitude in self.young:
            for f in range(self.frames):
                begin = max(f * self.frame, at)
                offset = begin - f * self.frame
                if offset < self.frame and begin - at < longest:
                    missing = amplitude * np.exp((self.pole[modes] - loss) * (begin - at))
                    fade = -np.exp(-loss * np.arange(self.frame - offset))
                    self._add(audio, gains, f, offset, modes, missing, fade)
        self.young = [(at - self.block, *rest) for at, *rest in self.young if at + longest > self.block]

    def hardness(self, velocity):
        """How hard a strike is; raised to its exponent it is the gain of a mode."""
        return max(velocity, self.softest_velocity) / self.reference_velocity

    def _frame(self, f, events, start, late, end, velocities, strikes):
        """Modes and dampers over one frame. A damper falls at the nearest frame border."""
        fresh, fresh_released = np.zeros((2, len(self.key)), dtype=np.complex128)
        fallen, renewed = set(), set()
        for at, kind, number, value in events:
            offset = at - f * self.frame
            for what, key in self._move(kind, number, value):
                modes = self.key == key
                if what == "strike":
                    amplitude = self.hardness(value) ** self.exponent[modes] * self.amplitude[modes]
                    if key < KEYS:
                        velocities[f // self.hop, key] = value / 127
                    turn = np.exp(self.pole[modes] * (self.frame - offset))
                    left, change = amplitude * turn, 0
                    if self.jitter and self.voices[key]:
                        older = 0 if key in fallen else self.held[modes] * self.turn[modes]
                        on = np.exp(self.pole[modes] * offset)  # to a whole frame after the strike
                        change = self._meet(key, (older + fresh[modes]) * on, left * on) / on
                    strikes.append((f, offset, modes, amplitude + change / turn))
                    fresh[modes] += left + change
                    # Turned with all others at the end of the frame.
                    self.last[modes] = amplitude * np.exp(-self.pole[modes] * offset)
                    self.voices[key] += 1
                    self.struck[key] = at
                elif what == "renew":
                    renewed.add(key)
                else:
                    if offset < self.frame // 2:
                        release(modes, self.held, self.released)
                    else:
                        fallen.add(key)
                    release(modes, fresh, fresh_released)
                    renewed.discard(key)
                    self.voices[key] = 0
        start[f] = self.held + self.released
        self.released *= self.damping
        late[f] = self.held + self.released
        self.held, self.released = self.held * self.turn, self.released * self.turn
        self.last *= self.turn
        for key in fallen:
            release(self.key == key, self.held, self.released)
        self.held += fresh
        self.released += fresh_released
        for key in renewed:
            if self.voices[key] > 1:
                modes = self.key == key
                self.released[modes] += self.held[modes] - self.last[modes]
                self.held[modes], self.voices[key] = self.last[modes], 1
        end[f] = self.held + self.released

    def _partials_of(self, key):
        """Which partial each mode of a key belongs to, and how far two strikes of a partial interfere."""
        frequency = self.frequency[self.key == key]
        order = np.argsort(frequency)
        partial = np.empty(len(frequency), dtype=int)
        partial[order] = np.cumsum(np.diff(frequency[order], prepend=-np.inf) > self.beside) - 1
        mean = np.bincount(partial, frequency) / np.bincount(partial)
        return partial, np.exp(-((2 * np.pi * mean * self.jitter) ** 2))

    def _meet(self, key, older, strike):
        """What chance adds to the older sound of a key: both get the power to be expected of them."""
        partial, coherence = self.partials[key]
        a, b = (np.bincount(partial, x.real) + 1j * np.bincount(partial, x.imag) for x in (older, strike))
        size, cross = np.abs(a + b), (a * b.conj()).real
        power = np.maximum(size**2 - 2 * (1 - coherence) * cross, 0)
        meets = (np.minimum(np.abs(a), np.abs(b)) > self.nothing) & (size > self.nothing)
        factor = np.zeros(len(a), dtype=complex)
        factor[meets] = (np.sqrt(power[meets]) / size[meets] - 1) * (a + b)[meets] / a[meets]
        return factor[partial] * older

    def _move(self, kind, number, value):
        """What one event does: keys that are struck, whose dampers fall, that hold their last strike only."""
        if kind != CONTROL:
            key = number - LOWEST
            if not 0 <= key < KEYS:
                return []
            again = self.finger[key]
            self.finger[key] = kind == NOTE_ON and value > 0
            if not self.finger[key]:
                return self._let_go([key])
            self.ringing[key] = True
            return [("strike", key), *(self._let_go([key]) if again else [])]
        if number not in self.pedals:
            return []
        before, self.pedals[number] = self.pedals[number] >= 64, value
        now = value >= 64
        if number == UNA_CORDA or now == before:
            return []
        if number == SOSTENUTO:
            self.caught = self.ringing & now
        knock = [("strike", PEDAL_FALLS if now else PEDAL_RISES)] if number == SUSTAIN else []
        return knock if now else knock + self._let_go(range(KEYS))

    def _let_go(self, keys):
        """What becomes of those of the keys that no pedal holds; a sampler's pedal holds each strike."""
        free = [key for key in keys if self.ringing[key] and not self.caught[key]]
        if self.pedals[SUSTAIN] >= 64:
            return []
        fallen = [("damp", key) for key in free if not self.finger[key]]
        renewed = [("renew", key) for key in free if self.finger[key] and self.sampled]
        self.ringing[[key for _, key in fallen]] = False
        return fallen + renewed

    def _gains(self, end, velocities, pedals, noise):
        """Log gains in bands at the borders of hops, [h + 1, k], from the network."""
        hop = self.hop
        levels = (0.5 * np.abs(end[hop - 1 :: hop]) ** 2).astype(np.float32) @ self.levels
        modes, keys = levels[:, : self.bands], levels[:, self.bands :]
        of_noise = noise[hop::hop] @ self.noise.triangles.T
        levels = [modes, of_noise, keys] if self.noise_bands else [modes + of_noise, keys]
        above = np.log10(np.hstack(levels) / 10 ** (self.floor_db / 10) + 1) / self.audible_decades
        condition = np.concatenate([above, velocities, pedals[hop - 1 :: hop] / 127], axis=1)
        normal = np.random.default_rng([self.seed, self.index]).standard_normal(self.outputs["x"], np.float32)
        self.index += 1
        feeds = {"condition": condition.astype(np.float32), "noise": normal, **self.memory}
        x, *memory = self.session.run(None, feeds)
        self.memory = dict(zip(self.memory, memory, strict=True))
        gains = np.clip(x * self.scale + self.mean, -self.max_gain, self.max_gain)
        gains = np.concatenate([self.last_gains, gains])
        self.last_gains = gains[-1:]
        return gains

    def _mode_gains(self, logs, struck):
        """Linear gains of modes, [f + 1, p]: those of several ages are mixed by that of the last strike."""
        age = (np.arange(self.frames + 1)[:, None] * self.frame - struck) / self.sample_rate
        place = np.interp(np.log(np.maximum(age, 1e-3)), np.log(self.ages), np.arange(len(self.ages)))
        share = np.maximum(0, 1 - np.abs(place[:, None, self.key] - np.arange(len(self.ages))[:, None]))
        by_age = logs[:, : self.mode_values].reshape(len(logs), -1, self.bands)
        return (share * self._between(np.exp(by_age @ self.triangles))).sum(1)

    def _between(self, gains):
        """Gains at the borders of frames, [f + 1, ..]: straight lines between those of hops, [h + 1, ..]."""
        place = np.arange(self.frames + 1) / self.hop
        first = np.minimum(place.astype(int), len(gains) - 2)
        rest = (place - first).reshape(-1, *[1] * (gains.ndim - 1))
        return gains[first] * (1 - rest) + gains[first + 1] * rest


def release(modes, held, released):
    """Count what is held of some modes among what is released."""
    released[modes] += held[modes]
    held[modes] = 0


def main():
    """Play a phrase into a WAV file."""
    host = Host(sys.argv[1])
    notes = [(0.3 * i, key) for i, key in enumerate((48, 55, 60, 64, 67, 72, 76, 79))]
    events = [(0.1, CONTROL, SUSTAIN, 127), *((at, NOTE_ON, key, 70) for at, key in notes)]
    events = [(round(at * host.sample_rate), *rest) for at, *rest in events]
    audio = []
    for begin in range(0, 5 * host.sample_rate, host.block):
        inside = [(at - begin, *rest) for at, *rest in events if begin <= at < begin + host.block]
        audio.append(host.process(inside))
    samples = (np.clip(np.concatenate(audio), -1, 1) * 32767).astype("<i2")
    with wave.open(sys.argv[2], "wb") as file:
        file.setparams((len(host.image), 2, host.sample_rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    print(f"{sys.argv[2]}: {len(samples) / host.sample_rate:.1f} s")


if __name__ == "__main__":
    main()
