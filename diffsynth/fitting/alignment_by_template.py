"""Aligning sounds that are alike but for their moment: a template that is slid along each of them.

The template is the mean of the sounds where they fit it best, and so on in turn (Woody, "Characterization of
an adaptive filter for the analysis of variable latency neuroelectric signals", 1967). Several sounds are
tried as the first template, for one that is hidden by others leads nowhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REACH = 0.03  # s that a strike may be early or late
BEFORE = 0.025  # s of a template before the labels
LENGTH = 0.175  # s of a template
USUAL = 0.01  # s, standard deviation of the scatter as it is expected
INDEPENDENT = 60.0  # samples of a whitened strike that tell anything new
SEEDS = 16  # strikes tried as the first template
CROWD = 64  # strikes that a first template is tried on, the clearest
FEWEST = 4  # strikes of a key that can be told apart from chance
SEED_ROUNDS, ROUNDS = 3, 6
COUNTS = 0.2  # correlation from which on a strike counts in the template
EDGE = 0.003  # s at both ends of a template in which it does not begin
EARLY = 0.001  # s that a strike begins before its template does
Real = NDArray[np.float64]


@dataclass(frozen=True)
class Aligned:
    """Strikes of one key, aligned to each other.

    Attributes:
        lag: [n] samples into its segment at which the template fits each strike.
        likeness: [n] its correlation with the template there.
        gain: [n] factor of the template that explains most of it.
        template: [length] of the key.
    """

    lag: NDArray[np.int64]
    likeness: Real
    gain: Real
    template: Real


class Slide:
    """Strikes of a key and how a template fits them at every lag.

    Args:
        segments: [n, samples] whitened, as `diffsynth.fitting.strike_times` cuts them.
        rate: samples per second.
    """

    def __init__(self, segments: NDArray[np.float32], rate: int) -> None:
        self.segments, self.length = segments, round(LENGTH * rate)
        self.lags = segments.shape[1] - self.length + 1
        self._size = 1 << (segments.shape[1] + self.length - 1).bit_length()
        self._spectra = np.fft.rfft(segments, self._size)
        squares = np.pad(np.cumsum(segments.astype(np.float64) ** 2, axis=1), ((0, 0), (1, 0)))
        self._energy = np.maximum(squares[:, self.length :] - squares[:, : -self.length], 1e-12)
        self._total = np.maximum(squares[:, -1:], 1e-12)
        scatter = (np.arange(self.lags) - self.lags // 2) / (USUAL * rate)
        self._prior = -0.5 * scatter**2

    def fit(self, template: Real, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Real]:
        """[m] lag at which the template explains most of each of some strikes, and the correlation there."""
        other = np.fft.rfft(template, self._size).conj() / max(float(np.linalg.norm(template)), 1e-30)
        match = np.fft.irfft(self._spectra[rows] * other, self._size)[:, : self.lags]
        left = 1 - np.maximum(match, 0.0) ** 2 / self._total[rows]
        # Log likelihood of noise whose power is what the template leaves, and of the lag.
        lag = np.argmax(-0.5 * INDEPENDENT * np.log(np.maximum(left, 1e-9)) + self._prior, axis=1)
        at = np.arange(len(rows)), lag
        return lag, match[at] / np.sqrt(self._energy[rows, lag])

    def refine(self, template: Real, rows: NDArray[np.int64], rounds: int) -> Real:
        """[length] the template as mean of the strikes where they fit it, again and again."""
        for _ in range(rounds):
            lags, likeness = self.fit(template, rows)
            weight = np.where(likeness > COUNTS, likeness, 0.0) / np.sqrt(self._energy[rows, lags])
            if not weight.any():
                break
            template = sum(
                w * self.cut(row, lag)
                for row, lag, w in zip(rows.tolist(), lags.tolist(), weight.tolist(), strict=True)
                if w
            )
        return template

    def aligned(self, template: Real) -> Aligned:
        """All strikes where the template fits them."""
        rows = np.arange(len(self.segments))
        lag, likeness = self.fit(template, rows)
        gain = likeness * np.sqrt(self._energy[rows, lag]) / max(float(np.linalg.norm(template)), 1e-30)
        return Aligned(lag, likeness, gain, template)

    def cut(self, row: int, lag: int) -> Real:
        """[length] a strike from a lag on."""
        return self.segments[row, lag : lag + self.length].astype(np.float64)


def align(segments: NDArray[np.float32], free: NDArray[np.int64], rate: int) -> Aligned:
    """Align the strikes of one key to each other and to where they begin to sound.

    Args:
        segments: [n, samples] whitened, as `diffsynth.fitting.strike_times` cuts them.
        free: [n] samples until the damper falls.
        rate: samples per second.
    """
    slide = Slide(segments, rate)
    order = _clearest(segments, free, rate)
    crowd, middle = order[: max(FEWEST, min(CROWD, len(order) // 2))], slide.lags // 2
    trials = [slide.refine(slide.cut(seed, middle), crowd, SEED_ROUNDS) for seed in order[:SEEDS].tolist()]
    # The half of the crowd that is most like a template says how good it is.
    worth = [np.mean(np.sort(slide.fit(trial, crowd)[1])[len(crowd) // 2 :] ** 2) for trial in trials]
    template = slide.refine(trials[int(np.argmax(worth))], order, ROUNDS)
    return slide.aligned(template)


def _clearest(segments: NDArray[np.float32], free: NDArray[np.int64], rate: int) -> NDArray[np.int64]:
    """[n] strikes, those first that are loudest against what sounds before them, and last long."""
    reach, before, length = (round(seconds * rate) for seconds in (REACH, BEFORE, LENGTH))
    power = segments.astype(np.float64) ** 2
    later = power[:, reach + before :][:, : length // 3].mean(axis=1)
    rise = later / (power[:, :reach].mean(axis=1) + 1e-9)
    return np.argsort(-rise * np.sqrt(np.minimum(free, length) / length), kind="stable")


def beginning(template: Real, rate: int) -> int:
    """Samples from `BEFORE` on, perhaps negative, after which a template begins to sound.

    Where two powers, one before and one after, make it most likely as noise.
    """
    before = round(BEFORE * rate)
    part = template[: 3 * before]
    edge, squares = round(EDGE * rate), np.cumsum(part**2) + 1e-30
    border = np.arange(edge, len(part) - edge)
    first, second = squares[border - 1], squares[-1] - squares[border - 1] + 1e-30
    unlikely = border * np.log(first / border) + (len(part) - border) * np.log(second / (len(part) - border))
    return int(border[np.argmin(unlikely)]) - before - round(EARLY * rate)
