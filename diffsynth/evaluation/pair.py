"""A target and a prediction of it, and the spectra of both, each computed once for all metrics."""

from functools import cached_property

import numpy as np

from diffsynth.errors import UserError
from diffsynth.evaluation.config import Evaluate
from diffsynth.evaluation.metrics import (
    FFT,
    HOP,
    ONSET_HOP,
    Array,
    magnitudes,
    match_level,
    onset_scores,
    onset_times,
)
from diffsynth.evaluation.notes import Matched


class Pair:
    """What a metric is a function of.

    Both signals are cut to their common length; the prediction has the RMS of the target, but for `raw`.

    Args:
        target: samples, [time], or [time, c].
        prediction: likewise; what one signal has beyond the other's end is left out.
        rate: sample rate of both, Hz.
        settings: FFT sizes (samples), onset tolerance (s), pitch tolerance (cents).

    Attributes:
        raw: the prediction at its own level.
        notes: which notes of the prediction are those that were played; None unless someone has found out.

    Raises:
        UserError: one of the two holds no samples.
    """

    def __init__(self, target: Array, prediction: Array, rate: int, settings: Evaluate) -> None:
        length = min(len(target), len(prediction))
        if not length:
            raise UserError("nothing to evaluate: the target or the prediction holds no samples")
        self.target, self.raw = target[:length], prediction[:length]
        self.prediction = match_level(self.target, self.raw)
        self.rate, self.settings = rate, settings
        self.notes: Matched | None = None

    def part(self, begin: int, end: int) -> "Pair":
        """Samples `begin` to `end`, the prediction at the level that it has beside the whole target."""
        part = Pair(self.target[begin:end], self.raw[begin:end], self.rate, self.settings)
        part.prediction = self.prediction[begin:end]
        part.notes = self.notes and self.notes.part(begin, end)
        return part

    @cached_property
    def channels(self) -> list["Pair"]:
        """A pair for each channel, at the level that the prediction has in all: its image is heard, too."""
        if self.target.ndim == 1:
            return [self]
        pairs = []
        for channel in range(self.target.shape[1]):
            one = Pair(self.target[:, channel], self.raw[:, channel], self.rate, self.settings)
            one.prediction, one.notes = self.prediction[:, channel], self.notes
            pairs.append(one)
        return pairs

    @cached_property
    def difference(self) -> Array:
        """Target minus prediction, [time], in double precision; this and what follows of one channel."""
        return np.subtract(self.target, self.prediction, dtype=np.float64)

    def spectra(self, size: int, hop: int | None = None) -> tuple[Array, Array]:
        """Magnitudes of both, [bins, frames], at a hop of a quarter of `size` if none is given."""
        hop = hop or size // 4
        if (size, hop) == (FFT, HOP):
            return self.frames
        target, prediction = self._padded
        return magnitudes(target, size, hop), magnitudes(prediction, size, hop)

    @cached_property
    def frames(self) -> tuple[Array, Array]:
        """Magnitudes of both, [bins, frames], at the FFT and hop that pitch, chroma and others share."""
        step = HOP // ONSET_HOP
        target, prediction = (fine[:, ::step].copy() for fine in self._fine)
        return target, prediction

    @cached_property
    def onsets(self) -> tuple[float, float, float]:
        """Precision, recall and F1 of the onsets."""
        target, prediction = (onset_times(fine, self.rate) for fine in self._fine)
        return onset_scores(target, prediction, self.settings.onset_tolerance)

    @cached_property
    def _fine(self) -> tuple[Array, Array]:
        target, prediction = (magnitudes(signal, FFT, ONSET_HOP) for signal in self._padded)
        return target, prediction

    @cached_property
    def _padded(self) -> tuple[Array, Array]:
        """Both, as long as the longest FFT at least."""
        padding = (0, max(0, max(FFT, *self.settings.fft_sizes) - len(self.target)))
        return np.pad(self.target, padding), np.pad(self.prediction, padding)
