"""The attack: modes that last only for the moment of the hammer's blow.

Partials do not explain the first milliseconds of a note, the knock of hammer and soundboard. What is
left of them when the partials have been taken away is averaged over the strikes of a key and split
into damped sinusoids by the matrix pencil method (Hua and Sarkar, 1990), at any frequency. Played by
the same bank, they are modes like all others.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diffsynth.events import KEYS
from diffsynth.excitation.measure import Recording, soundings
from diffsynth.excitation.piano import Piano
from diffsynth.excitation.strokes import find_strokes, remainder

LENGTH = 0.06  # s of an attack
MODES = 12  # of one key at most
PENCIL = 0.25  # share of the attack in a row of the matrix pencil
SLOWEST, FASTEST = 8.0, 1500.0  # 1/s; slower ones are the business of partials
LOUDER = 4.0  # times the largest sample: what one mode may claim of the onset
UNEXPLAINED = 0.7  # share of an attack's energy: modes that leave more than that fit noise
RIDGE = 1e-3  # keeps modes that nearly cancel each other from growing


def add_attacks(piano: Piano, recordings: Sequence[Recording], max_frequency: float) -> Piano:
    """The same piano with the modes of its attacks, as far as strikes that stand alone show them.

    Args:
        piano: the modes of its partials.
        recordings: that it was fitted to.
        max_frequency: Hz, above which there are no modes.
    """
    rate = recordings[0].rate
    sums = np.zeros((KEYS, round(LENGTH * rate)))
    weight = np.zeros(KEYS)
    left = remainder(piano, recordings, find_strokes(recordings, piano))
    for recording, rest in zip(recordings, left, strict=True):
        _collect(recording, rest, piano, sums, weight)
    found = [
        _attack_modes(sums[key] / weight[key], rate, max_frequency) if weight[key] else None
        for key in range(KEYS)
    ]
    heard = [(key, *modes) for key, modes in enumerate(found) if modes is not None]
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
    recording: Recording,
    rest: NDArray[np.float32],
    piano: Piano,
    sums: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> None:
    """Add up what the partials leave of every strike that stands alone, loud ones counting more."""
    length = sums.shape[1]
    notes = soundings(recording.events, len(recording.audio))
    onsets = np.sort(notes["onset"])
    for key, velocity, onset, _, end in notes.tolist():
        near = np.searchsorted(onsets, [onset - length // 2, onset + length])
        if near[1] - near[0] == 1 and end - onset >= length:
            gain = piano.gain(key, velocity)
            sums[key] += gain * rest[onset : onset + length]
            weight[key] += gain**2


def _attack_modes(
    attack: NDArray[np.float64], rate: int, max_frequency: float
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]] | None:
    """Poles (1/s) and amplitudes of an attack, [time] at velocity 64; None if it is mere noise."""
    if not attack.any():
        return None
    poles = _poles(attack) * rate
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
    kept = np.abs(amplitude) < LOUDER * np.abs(attack).max()
    return poles[kept], amplitude[kept]


def _poles(attack: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Poles of a real signal, per sample, both of each conjugate pair."""
    rows = np.lib.stride_tricks.sliding_window_view(attack, int(PENCIL * len(attack)))
    _, vectors = np.linalg.eigh(rows.T @ rows)
    basis = vectors[:, -2 * MODES :]
    ratios = np.linalg.eigvals(np.linalg.lstsq(basis[:-1], basis[1:], rcond=None)[0])
    return np.log(np.where(np.abs(ratios) > 1e-6, ratios, 1e-6).astype(complex))
