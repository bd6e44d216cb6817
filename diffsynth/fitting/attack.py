"""The attack: modes of the knock of hammer and soundboard, at any frequency.

Partials do not explain the beginning of a note. What they leave of it is averaged over the strikes of a key,
for as long as they stand alone, and split into damped sinusoids by the matrix pencil method (Hua and Sarkar,
1990). These are modes like all others, played by the same bank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.key_modes import remainder
from diffsynth.fitting.matrix_pencil import RANK
from diffsynth.fitting.strokes import find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.midi.events import KEYS
from diffsynth.midi.strikes import soundings
from diffsynth.piano.piano import QUIETEST, Piano

SHORTEST, LONGEST = 0.06, 0.2  # s of an attack; the knock itself, and what it leaves in the soundboard
ALONE = 0.03  # s before a strike in which no other key may be struck
SHARE = 0.2  # of all strikes, by weight, that must still stand alone where an attack ends
MODES = 160  # per second of an attack, at most
PENCIL = 0.2  # share of the attack in a row of the matrix pencil
SLOWEST, FASTEST = 5.0, 1500.0  # 1/s; slower ones belong to partials
LOUDER = 4.0  # times the largest sample: highest amplitude of one mode at the onset
UNEXPLAINED = 0.7  # share of an attack's energy: modes that leave more than that have fitted noise
RIDGE = 1e-3  # keeps modes that nearly cancel each other from growing
PolesAndAmplitudes = tuple[NDArray[np.complex128], NDArray[np.complex128]]


def add_attacks(piano: Piano, recordings: Sequence[Take], max_frequency: float) -> Piano:
    """The same piano with the modes of its attacks, where enough strikes stand alone.

    Args:
        piano: the modes of its partials.
        recordings: that it was fitted to.
        max_frequency: Hz, above which there are no modes.
    """
    rate = recordings[0].rate
    sums, weight = np.zeros((2, KEYS, round(LONGEST * rate)))
    left = remainder(piano, recordings, find_strokes(recordings, piano))
    for recording, rest in zip(recordings, left, strict=True):
        _collect(recording, rest, piano, sums, weight)
    found = [
        attack_modes(_mean(sums[key], weight[key]), piano.gain(key, 127), rate, max_frequency)
        for key in range(KEYS)
    ]
    return with_modes(piano, {key: modes for key, modes in enumerate(found) if modes is not None})


def with_modes(piano: Piano, found: Mapping[int, PolesAndAmplitudes]) -> Piano:
    """The piano with more modes: of some keys, poles (1/s) and amplitudes."""
    heard = [(key, *modes) for key, modes in found.items()]
    if not heard:
        return piano
    owner = np.concatenate([piano.key, *(np.full(len(poles), key) for key, poles, _ in heard)])
    pole = np.concatenate([poles for _, poles, _ in heard])
    order = np.argsort(owner, kind="stable")
    return replace(
        piano,
        key=owner[order],
        frequency=np.concatenate([piano.frequency, pole.imag / (2 * np.pi)])[order],
        decay=np.concatenate([piano.decay, -pole.real])[order],
        amplitude=np.concatenate([piano.amplitude, *(amplitude for _, _, amplitude in heard)])[order],
    )


def _collect(
    recording: Take,
    rest: NDArray[np.float32],
    piano: Piano,
    sums: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> None:
    """Add up what the partials leave of every strike while it stands alone; loud strikes count more."""
    shortest, longest = round(SHORTEST * recording.rate), sums.shape[1]
    before = round(ALONE * recording.rate)
    notes = soundings(recording.events, len(recording.audio))
    onsets = np.sort(notes["onset"])
    for key, velocity, onset, _, end in notes.tolist():
        first, after = np.searchsorted(onsets, [onset - before, onset + 1])
        following = int(onsets[after]) if after < len(onsets) else end
        length = min(end, following, onset + longest) - onset
        if after - first == 1 and length >= shortest:
            gain = piano.gain(key, velocity)
            sums[key, :length] += gain * rest[onset : onset + length]
            weight[key, :length] += gain**2


def _mean(total: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """The attack of a strike at velocity 64, for as long as enough strikes stand alone; empty if none do."""
    length = np.count_nonzero(weight > SHARE * weight[0])
    return total[:length] / weight[:length]


def attack_modes(
    attack: NDArray[np.float64], loudest: float, rate: int, max_frequency: float
) -> PolesAndAmplitudes | None:
    """Poles (1/s) and amplitudes of an attack, [time] at velocity 64; None if it is only noise.

    `loudest` is the gain of the loudest strike: modes that cannot be heard even then are left out.
    """
    if not attack.any():
        return None
    poles = _poles(attack, round(MODES * len(attack) / rate)) * rate
    within = (poles.imag > 0) & (poles.imag < 2 * np.pi * max_frequency)
    poles = poles[within & (-poles.real > SLOWEST) & (-poles.real < FASTEST)]
    if not len(poles):
        return None
    turns = np.exp(np.outer(np.arange(len(attack)) / rate, poles))
    basis = np.concatenate([turns.real, -turns.imag], axis=1)
    gram = basis.T @ basis
    gram += RIDGE * np.diag(np.diag(gram))
    weights = np.linalg.solve(gram, basis.T @ attack)
    if np.sum((attack - basis @ weights) ** 2) > UNEXPLAINED * np.sum(attack**2):
        return None
    real, imaginary = weights.reshape(2, -1)
    amplitude = real + 1j * imaginary
    size = np.abs(amplitude)
    kept = (size < LOUDER * np.abs(attack).max()) & (size * loudest > QUIETEST)
    return poles[kept], amplitude[kept]


def _poles(attack: NDArray[np.float64], modes: int) -> NDArray[np.complex128]:
    """Poles of a real signal, per sample, both of each conjugate pair."""
    rows = np.lib.stride_tricks.sliding_window_view(attack, int(PENCIL * len(attack)))
    values, vectors = np.linalg.eigh(rows.T @ rows)
    rank = int(np.count_nonzero(values > RANK * values[-1]))  # what is below is rounding
    basis = vectors[:, -min(2 * modes, rank) :]
    ratios = np.linalg.eigvals(np.linalg.lstsq(basis[:-1], basis[1:], rcond=None)[0])
    return np.log(np.where(np.abs(ratios) > 1e-6, ratios, 1e-6).astype(complex))
