"""Gains as data of about unit variance, and what is measured to make them so."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_GAIN = 2.3  # nepers (20 dB): further than that, excitation and recording do not belong together
UNIT = 0.35  # nepers (3 dB): how far gains are from 1, about, before any were measured
MIN_SCALE = 0.05  # nepers: bands that never move must not turn rounding noise into large inputs


@dataclass(frozen=True)
class Normaliser:
    """Mean and scale of log gains in each band, [k], in nepers."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @staticmethod
    def around_unity(values: int) -> "Normaliser":
        """For so many gains that no levels ask for: data of 0 are gains of 1."""
        return Normaliser(np.zeros(values, np.float32), np.full(values, UNIT, np.float32))

    def forward(self, gains: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gains in nepers to data of about unit variance."""
        return (gains - self.mean) / self.scale

    def inverse(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Data back to gains in nepers, limited to what gains may be."""
        return np.clip(x * self.scale + self.mean, -MAX_GAIN, MAX_GAIN)


@dataclass(frozen=True)
class Moments:
    """Weighted sums over frames, [k] each, that add up: what a normaliser is measured by.

    Attributes:
        weight: of all values.
        gains: of the gains, in nepers.
        squares: of their squares.
        distance: of the absolute values.
    """

    weight: NDArray[np.float64]
    gains: NDArray[np.float64]
    squares: NDArray[np.float64]
    distance: NDArray[np.float64]

    @staticmethod
    def of(gains: NDArray[np.floating], weight: NDArray[np.floating]) -> "Moments":
        """Of `gains` and their weights, [..., k]."""
        axes = tuple(range(gains.ndim - 1))
        x, w = gains.astype(np.float64), weight.astype(np.float64)
        return Moments(*(part.sum(axis=axes) for part in (w, w * x, w * x * x, w * np.abs(x))))

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def mean_db(self) -> float:
        """Mean absolute gain in dB."""
        return 20 / math.log(10) * float(self.distance.sum() / self.weight.sum())

    def normaliser(self) -> Normaliser:
        """Mean and standard deviation; the scale never falls below a floor."""
        total = self.weight + 1e-3
        mean = self.gains / total
        variance = (self.squares - 2 * mean * self.gains + mean**2 * self.weight) / total
        scale = np.sqrt(variance.clip(0)).clip(MIN_SCALE)
        return Normaliser(mean.astype(np.float32), scale.astype(np.float32))
