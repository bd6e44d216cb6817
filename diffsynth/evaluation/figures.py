"""Spectrogram pictures, a target above its prediction on one colour scale."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from diffsynth.evaluation.compiled import librosa
from diffsynth.evaluation.metrics import Array
from diffsynth.runs.files import atomic_path

LOWEST = 27.5  # Hz, of the lowest key of a piano
WINDOW, FFT = 4096, 8192  # samples; the longer FFT interpolates where rows lie closer than bins
ROWS, COLUMNS = 480, 1200
RANGE = 80.0  # dB between the brightest and the darkest colour
QUIETEST = -60.0  # dB of full scale, the least that the brightest colour stands for
SECONDS = 20.0
HEADLINE = {
    "onset_f1": "onset F1",
    "pitch_accuracy": "pitch",
    "polyphony_accuracy": "polyphony",
    "spectral_convergence": "SC",
    "log_spectral_distance": "LSD",
    "log_mel_db": "log-mel",
    "quiet_floor_db": "quiet",
    "jumps_per_minute": "jumps",
}


def spectrogram_figure(
    target: Array,
    prediction: Array,
    rate: int,
    title: str,
    scores: Mapping[str, float],
    seconds: float = SECONDS,
) -> Figure:
    """Picture of the first `seconds` of both, frequency on a log axis, colour in dB of full scale.

    Args:
        target: samples at `rate` Hz, [time].
        prediction: likewise; shown at its own level, so that errors of level are seen.
        rate: sample rate in Hz.
        title: names the piece, and the model and block that played it.
        scores: metrics; those of `HEADLINE` are written above the prediction.
        seconds: length of the excerpt, or of the signals if they are shorter.
    """
    length = min(round(seconds * rate), max(len(target), len(prediction)))
    pictures = [log_spectrogram(signal[:length], rate, length) for signal in (target, prediction)]
    top = max(QUIETEST, *(float(picture.max()) for picture in pictures))
    figure = Figure(figsize=(11, 7), layout="constrained")
    figure.suptitle(title, fontsize=13, fontweight="bold", parse_math=False)
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    headline = ["prediction"] + [f"{HEADLINE[k]} {scores[k]:.2f}" for k in HEADLINE if k in scores]
    for axis, picture, text in zip(axes, pictures, ("target", "   ".join(headline)), strict=True):
        image = _show(axis, picture, length / rate, rate, top)
        axis.set_title(text, loc="left", fontsize=10)
    axes[1].set_xlabel("time (s)")
    figure.colorbar(image, ax=axes, label="level (dB of full scale)", pad=0.01, aspect=40)
    return figure


def log_spectrogram(signal: Array, rate: int, length: int) -> Array:
    """Levels in dB of full scale, [ROWS, columns], rows spaced evenly in log frequency.

    A row is the strongest of the bins that it spans, so that no partial falls between two rows.

    Args:
        signal: samples at `rate` Hz, [time].
        rate: sample rate in Hz.
        length: samples to show; what `signal` lacks of them is silence.
    """
    signal = np.pad(signal, (0, max(length, FFT) - len(signal)))
    hop = max(1, length // COLUMNS)
    spectrum = librosa.stft(signal, n_fft=FFT, win_length=WINDOW, hop_length=hop)[:, : length // hop + 1]
    edges = np.geomspace(LOWEST, rate / 2, ROWS, endpoint=False)
    bins = np.rint(edges * FFT / rate).astype(int)
    strongest = np.maximum.reduceat(np.abs(spectrum), bins, axis=0) * (4.0 / WINDOW)
    return 20.0 * np.log10(np.maximum(strongest, 1e-9))


def save_figure(path: str | Path, figure: Figure) -> None:
    """Write a PNG, atomically; its bytes depend on the picture and on matplotlib alone."""
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # Names may be in scripts that the font lacks; it shows a box for each letter.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(temporary, dpi=100, metadata={"Software": None})


def _show(axis: Axes, picture: Array, seconds: float, rate: int, top: float) -> AxesImage:
    """Draw one spectrogram; its rows are even in log frequency, so the axis counts log2 of Hz."""
    low, high = np.log2(LOWEST), np.log2(rate / 2)
    image = axis.imshow(
        picture,
        origin="lower",
        aspect="auto",
        extent=(0.0, seconds, low, high),
        cmap="magma",
        vmin=top - RANGE,
        vmax=top,
    )
    octaves = LOWEST * 2.0 ** np.arange(1, int(high - low) + 1)
    axis.set_yticks(np.log2(octaves), [f"{hertz:g}" for hertz in octaves])
    axis.set_ylabel("frequency (Hz)")
    return image
