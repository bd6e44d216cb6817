"""What is kept of a validation by ear: the excerpt as it was recorded and as it is played, and a picture."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.figure import Figure
from numpy.typing import NDArray

from diffsynth.runs.files import atomic_path

FFT, HOP = 2048, 256  # samples
RANGE = 80.0  # dB below the loudest that are shown
HIGHEST = 8000.0  # Hz


def write_comparison(
    folder: Path, recording: NDArray[np.float32], prediction: NDArray[np.float32], rate: int
) -> Path:
    """Write `recording.flac`, `prediction.flac` and `spectrogram.png` of samples at `rate` Hz to a folder."""
    for name, samples in (("recording", recording), ("prediction", prediction)):
        with atomic_path(folder / f"{name}.flac") as path:
            soundfile.write(path, np.clip(samples, -1.0, 1.0), rate, subtype="PCM_24")
    with atomic_path(folder / "spectrogram.png") as path:
        sounds = {"recording": recording, "prediction": prediction}
        spectrograms(sounds, rate).savefig(path, dpi=100, metadata={"Software": None})
    return folder


def spectrograms(sounds: Mapping[str, NDArray[np.float32]], rate: int, highest: float = HIGHEST) -> Figure:
    """Spectrograms above one another, on one scale of levels, of sounds by their names.

    Args:
        sounds: samples, [time] or [time, c], of which the mean is shown.
        rate: of all, Hz.
        highest: Hz that is shown.
    """
    levels = {name: _levels(samples) for name, samples in sounds.items()}
    top = max(float(each.max()) for each in levels.values())
    figure = Figure(figsize=(8, 3 * len(levels)), layout="constrained")
    axes = figure.subplots(len(levels), 1, sharex=True, sharey=True)
    for axis, (name, each) in zip(axes, levels.items(), strict=True):
        extent = (0.0, len(sounds[name]) / rate, 0.0, rate / 2000)
        limits = {"vmin": top - RANGE, "vmax": top}
        image = axis.imshow(each, origin="lower", aspect="auto", extent=extent, cmap="magma", **limits)
        axis.set(title=name, ylabel="frequency (kHz)", ylim=(0.0, min(highest, rate / 2) / 1000))
    axes[-1].set_xlabel("time (s)")
    figure.colorbar(image, ax=axes, label="level (dB of full scale)")
    return figure


def _levels(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Levels in dB of full scale, [bins, frames]; of several channels the mean."""
    padded = np.pad(np.atleast_2d(samples.T), ((0, 0), (FFT // 2, FFT // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT, axis=1)[:, ::HOP]
    power = (np.abs(np.fft.rfft(frames * np.hanning(FFT))) * (4 / FFT)) ** 2
    return 10 * np.log10(np.maximum(power.mean(axis=0), 1e-10)).T
