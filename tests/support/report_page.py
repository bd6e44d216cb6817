"""A small comparison with sound: clicks at known times, the same in every system, and a page made of it."""

import numpy as np
import soundfile
from support.scores import BLOCKS, BOUNDS, VARIANTS, all_scores

RATE, SECONDS, EVERY = 24000, 6.0, 0.5
NAMES = ("first", "second_piece")
LEVELS = {name: 0.5 for name in BOUNDS}


def clicks(seed, seconds=SECONDS):
    """Bursts of noise of 10 ms, one every half second from a quarter of a second on; softer ones in between."""
    random = np.random.default_rng(seed)
    signal = np.zeros(round(seconds * RATE), "f4")
    burst = random.standard_normal(240).astype("f4") * np.hanning(240).astype("f4")
    for place in np.arange(0.25, seconds, EVERY):
        start = round(place * RATE)
        signal[start : start + 240] += 0.3 * burst[: len(signal) - start]
    return signal


def write_sound(folder):
    """`aligned` and `renders` below a folder: the recording, and every system twice as soft."""
    for seed, name in enumerate(NAMES):
        sound = clicks(seed)
        (folder / "aligned").mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "aligned" / f"{name}.flac", sound, RATE)
        places = [f"{block}/{model}" for model, block in VARIANTS]
        for place in [*places, *(f"bounds/{name_}" for name_ in BOUNDS if name_ != "recording")]:
            out = folder / "renders" / place
            out.mkdir(parents=True, exist_ok=True)
            soundfile.write(out / f"{name}.wav", sound / 2, RATE)


def segments(seed, per_performance=8):
    """Metrics of segments of one system, around its values."""
    random = np.random.default_rng(seed)
    return {
        name: {key: (0.5 + 0.1 * random.standard_normal(per_performance)).tolist() for key in all_scores()[0].values}
        for name in NAMES
    }


__all__ = ["BLOCKS", "NAMES", "RATE", "SECONDS", "clicks", "segments", "write_sound"]
