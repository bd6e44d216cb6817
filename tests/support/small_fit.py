"""A small piano is fitted to a few seconds of another: `python -m support.small_fit OUT.npz` saves it.

Run with another kernel of OpenBLAS (`OPENBLAS_CORETYPE`), its products differ in their last bits, as on
another processor.
"""

import sys

import numpy as np

from diffsynth.fitting.config import Fit
from diffsynth.fitting.fit import fit_piano
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events, to_samples
from diffsynth.midi.pitches import equal_tempered, string_partials
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole

RATE = 8000
SECONDS = 10
KEYS = (27, 34, 39)
CONFIG = Fit(minutes=1.0, partials=6, max_frequency=3500.0, passes=2, jitter=0.0)


def true_piano() -> Piano:
    """Four keys of five partials; the lowest partial of each beats."""
    rows = []
    for key in KEYS:
        partials = string_partials(equal_tempered(key), 2e-4, 5)
        rows += [(key, f, 1.0 + 0.4 * k, 0.05 / (k + 1) * np.exp(0.7j * k)) for k, f in enumerate(partials)]
        rows.append((key, partials[0] + 0.9, 0.6, 0.02j))
    key, frequency, decay, amplitude = (np.array(column) for column in zip(*rows, strict=True))
    return Piano(key, frequency, decay, amplitude, np.full(88, 24.0), np.full(88, 1.4))


def recording() -> Take:
    """Notes alone, then chords under the pedal, with the noise of a quiet room."""
    rows, random = [], np.random.default_rng(4)
    for i, key in enumerate(KEYS):
        rows += [(0.1 + 1.2 * i, NOTE_ON, key + 21, 60 + 12 * i), (1.1 + 1.2 * i, NOTE_OFF, key + 21, 0)]
    for i in range(8):
        start, length = 3.8 + 0.7 * i, 0.3 + 0.05 * i
        for key in random.choice(KEYS, size=2, replace=False).tolist():
            velocity = int(random.integers(30, 120))
            rows += [(start, NOTE_ON, key + 21, velocity), (start + length, NOTE_OFF, key + 21, 0)]
    rows += [(6.0, CONTROL, SUSTAIN, 127), (7.7, CONTROL, SUSTAIN, 0)]
    events = to_samples(make_events(rows), RATE)
    audio = play_whole(true_piano(), events, RATE, 128, SECONDS * RATE)
    noise = random.standard_normal(len(audio)).astype(np.float32)
    return Take(audio + np.float32(1e-4) * noise, events, RATE)


def fitted(take: Take) -> dict[str, np.ndarray]:
    """The fitted piano as arrays."""
    return fit_piano([take], CONFIG).tensors()


if __name__ == "__main__":
    np.savez(sys.argv[1], **fitted(recording()))
