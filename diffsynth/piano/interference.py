"""How a strike meets what still rings of its key, when nobody knows its moment to a millisecond.

MIDI takes a millisecond for a note, FluidSynth hears events every 1.3 ms, a hammer comes when it comes: a
whole period at 1 kHz. How a partial of a strike interferes with what older strikes have left of it is then
chance, and the exact sum is as wrong as any. What can be expected is a power: of two sounds A and B of
frequency f, whose moments scatter normally with standard deviation s,

    |A|^2 + |B|^2 + 2 c Re(A conj(B)),    c = exp(-(2 pi f s)^2),

the exact sum in the bass, and the sum of powers above some hundred Hz. So with every strike the older
sound of each partial is turned and scaled to where both together have that power, in the phase of their
exact sum. That changes its sum by sqrt(2) times the softer of both at most, so that nothing clicks.

The power is right when both meet, a frame after the strike. Where modes of a partial beat or decay apart it
is lower later, by some tenths of a dB mostly, for a loud strike takes from older sound that may outlast it.
Two strikes at the very same moment count as two by chance, too. What a damper has fallen on goes on
as it is.

Fitting and training keep the exact sum: there labels say when strikes sound, and a network would learn
chance.
"""

import numpy as np
from numpy.typing import NDArray

from diffsynth.piano.piano import Piano

BESIDE = 4.0  # Hz, the widest gap between neighbouring modes of one partial, which are turned together
NOTHING = 1e-9  # amplitude (-180 dB) below which there is nothing to meet
Complex = NDArray[np.complex128]


class Interference:
    """The partials of one key, and what chance makes of their older sound.

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
        """What to add to the older sound, so that each partial gets the power to be expected.

        Args:
            older: [modes of the key] what rings, full scale 1.
            strike: [modes of the key] what is struck, at the same moment.

        Returns:
            [modes of the key] change of `older` at that moment: it times one factor for each partial.
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
