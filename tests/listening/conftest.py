"""What tests of listening share: short sounds by several systems, in folders as `infer` writes them."""

import numpy as np
import pytest

from diffsynth.audio.files import write_audio

RATE = 8000
CLIPS = ("alpha", "bravo", "carol", "delta")
SYSTEMS = ("recording", "excitation", "lstm-512", "s6-512", "s6-2048")


def sound(clip, system, seconds=0.6):
    """Noise of its own for every clip and system, at levels that differ."""
    rng = np.random.default_rng([CLIPS.index(clip), SYSTEMS.index(system)])
    level = 0.02 * (1 + SYSTEMS.index(system))
    return np.clip(level * rng.standard_normal(round(seconds * RATE)), -1, 1).astype(np.float32)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """Folders `aligned` and `renders` with four performances by four systems."""
    root = tmp_path_factory.mktemp("sounds")
    places = {
        "recording": root / "aligned",
        "excitation": root / "renders" / "bounds" / "excitation",
        "lstm-512": root / "renders" / "512" / "lstm",
        "s6-512": root / "renders" / "512" / "s6",
        "s6-2048": root / "renders" / "2048" / "s6",
    }
    for system, place in places.items():
        for clip in CLIPS:
            write_audio(place / f"{clip}.wav", sound(clip, system), RATE)
    return root
