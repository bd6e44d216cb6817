"""How a strike adds to the older sound of its key, when its moment is not known to a millisecond.

A MIDI file gives the moment of a strike to about a millisecond, FluidSynth rounds it to 1.3 ms: a whole
period at 1 kHz. Whether a partial of the strike adds to the older sound of that partial or cancels it is
then random. Its expected power is known. For two sounds A and B of frequency f, whose moments scatter
normally with standard deviation s, it is

    |A|^2 + |B|^2 + 2 c Re(A conj(B)),    c = exp(-(2 pi f s)^2),

which is that of the exact sum in the bass, and the sum of both powers above some hundred Hz. So at every
strike the older sound of each partial is turned and scaled such that both together have this power, and the
phase of their exact sum. This changes the sum by at most sqrt(2) times the softer of both, so nothing clicks.

The power is right a frame after the strike. Later it is lower where modes of a partial beat or decay at
different rates, mostly by some tenths of a dB: a loud strike reduces older sound that may last longer.
Two strikes at the very same moment are treated in the same way. Sound that is damped already is not changed.

Fitting and training use the exact sum: there the labels say when strikes sound, and with the expected power
a network would learn what is random.
"""

import numpy as np
from numpy.typing import NDArray

from diffsynth.piano.piano import Piano

BESIDE = 4.0  # Hz, the widest gap between neighbouring modes of one partial, which are turned together
NOTHING = 1e-9  # amplitude (-180 dB) below which a sound counts as silent
Complex = NDArray[np.complex128]


class Interference:
    """The partials of one key, and how a strike changes their older sound.

    Args:
        piano: with its `jitter`.
        modes: of the key.
    """

    def __init__(self, piano: Piano, modes: slice) -> None:
        frequency = piano.frequency[modes]
        order = np.argsort(frequency, kind="stable")
        self._partial = np.empty(len(frequency), dtype=np.int64)
        self._partial[order] = np.cumsum(np.diff(frequency[order], prepend=-np.inf) > BESIDE) - 1
        self._partials = int(self._partial.max(initial=-1)) + 1
        mean = np.bincount(self._partial, frequency) / np.bincount(self._partial)
        self._coherence = np.exp(-((2 * np.pi * mean * piano.jitter) ** 2))

    def change(self, older: NDArray[np.complex64], strike: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """What to add to the older sound, so that each partial gets its expected power.

        Args:
            older: [modes of the key] amplitudes of what rings, full scale 1.
            strike: [modes of the key] amplitudes of the new strike, at the same moment.

        Returns:
            [modes of the key] change at that moment: `older` times one factor for each partial.
        """
        a, b = self._sums(older), self._sums(strike)
        together = a + b
        size, cross = np.abs(together), (a * b.conj()).real
        # |A + B|^2 with 2 c Re(A conj(B)) for 2 Re(A conj(B)).
        power = np.maximum(size**2 - 2 * (1 - self._coherence) * cross, 0.0)
        meets = (np.minimum(np.abs(a), np.abs(b)) > NOTHING) & (size > NOTHING)
        factor = np.zeros(self._partials, dtype=np.complex128)
        scale = np.sqrt(power[meets]) / size[meets] - 1
        factor[meets] = scale * together[meets] / a[meets]
        return (factor[self._partial] * older).astype(np.complex64)

    def _sums(self, amplitude: NDArray[np.complex64]) -> Complex:
        """Amplitudes of the partials."""
        real, imaginary = (np.bincount(self._partial, part) for part in (amplitude.real, amplitude.imag))
        return real + 1j * imaginary
