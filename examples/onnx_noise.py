"""The noise of a piano, as a host plays it: a part of `onnx_host.py`.

Names: f frames in a block, b bands of noise, i memories (docs/method.md, section 1).
"""

import base64

import numpy as np

LOWEST, KEYS = 21, 88


class Noise:
    """What sounds between the partials: loops of noise for each band and channel; levels follow events."""

    def __init__(self, host, arrays):
        self.__dict__.update({name[6:]: value for name, value in arrays.items() if name.startswith("noise_")})
        ends = np.cumsum(self.length)
        self.loops = [self.loop[end - size : end] for end, size in zip(ends, self.length, strict=True)]
        self.frames, self.frame, self.seconds = host.frames, host.frame, host.frame / host.sample_rate
        self.hardness = host.hardness
        self.keep = np.exp(-2 * self.seconds / self.decay)[:, None]  # [i] per frame
        self.fall = float(np.exp(-2 * self.seconds / self.pedal_decay[0]))
        self.triangles = np.zeros((host.noise_bands or host.bands, len(self.floor)))
        bands = np.arange(len(self.floor))
        self.triangles[self.band, bands] = 1 - self.share
        self.triangles[self.band + 1, bands] += self.share
        self.reset()

    def reset(self):
        """As if nothing had been played."""
        self.memory = np.zeros((len(self.decay), len(self.floor)))
        self.last, self.pedal, self.position = self.floor, 0.0, 0

    def levels(self, keys, down):
        """Levels at the frame borders, [f + 1, b], from (frame, number, velocity) and the pedal, [f]."""
        counts = np.zeros((self.frames, 3, len(self.floor)))  # of strikes, keys let go, pedals
        for f, number, velocity in keys:
            if velocity == 0:
                counts[f, 1] += 1
            elif 0 <= number - LOWEST < KEYS:
                counts[f, 0] += self.hardness(velocity) ** self.exponent[number - LOWEST]
        levels = [self.last]
        for f in range(self.frames):
            counts[f, 2] = down[f] and self.pedal != 1
            self.pedal = 1.0 if down[f] else self.fall * self.pedal
            self.memory = self.keep * self.memory + (1 - self.keep) * counts[f, self.drive] / self.seconds
            weight = self.weight[0] + self.weight[1] * self.pedal
            levels.append(self.floor + (weight * self.memory).sum(axis=0))
        self.last = levels[-1]
        return np.array(levels)

    def sound(self, levels, gains):
        """Audio of a block in c channels, [c, f, frame], with gains [f + 1, b]."""
        amplitude = np.sqrt(levels) * gains * self.image[:, None]  # [c, f + 1, b]
        at = self.position + np.arange(self.frames * self.frame)
        loops = np.array([loop[at % len(loop)] for loop in self.loops], dtype=np.float32)
        loops = loops.reshape(len(self.image), len(self.floor), self.frames, self.frame)
        ramp = np.arange(self.frame) / self.frame
        self.position += len(at)
        borders = amplitude[:, :-1], amplitude[:, 1:]
        sides = [np.einsum("cfb,cbfs->cfs", border, loops) for border in borders]
        return sides[0] * (1 - ramp) + sides[1] * ramp


def decode(value):
    """An array of the metadata."""
    return np.frombuffer(base64.b64decode(value["base64"]), value["dtype"]).reshape(value["shape"])
