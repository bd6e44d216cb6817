"""Short sounds by several systems, in folders as `infer` writes them."""

import numpy as np

from diffsynth.audio.files import write_audio

RATE = 8000
CLIPS = ("alpha", "bravo", "carol", "delta")
SYSTEMS = ("recording", "excitation", "lstm-512", "s6-512", "s6-2048")


def sound(clip, system, seconds=0.6):
    """Noise of its own for every clip and system, at levels that differ."""
    rng = np.random.default_rng([CLIPS.index(clip), SYSTEMS.index(system)])
    level = 0.02 * (1 + SYSTEMS.index(system))
    return np.clip(level * rng.standard_normal(round(seconds * RATE)), -1, 1).astype(np.float32)


# Where `infer` and `bounds` write, and the recordings lie.
PLACES = {
    "recording": lambda root: root / "aligned",
    "excitation": lambda root: root / "renders" / "bounds" / "excitation",
    "lstm-512": lambda root: root / "renders" / "512" / "lstm",
    "s6-512": lambda root: root / "renders" / "512" / "s6",
    "s6-2048": lambda root: root / "renders" / "2048" / "s6",
}


def write_sounds(root):
    """Write four performances by all systems."""
    for system, place in PLACES.items():
        for clip in CLIPS:
            write_audio(place(root) / f"{clip}.wav", sound(clip, system), RATE)
