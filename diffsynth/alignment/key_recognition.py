"""Which key a single note is, from its spectrum.

In a file of a few notes, rises of keys prove nothing: the one note there is makes many keys rise, more at
this moment than at any other. Here the peaks of its spectrum are explained by each of the 88 keys. A key
is as likely as the share of peaks that its partials explain, times the share of its first partials that
are there: an octave above explains too little, an octave below lacks every other partial. The piano has
to be in tune within a third of a semitone: one that is half a semitone off cannot be told from a wrong
key.
"""

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal import find_peaks

from diffsynth.alignment.tuning import ATTACK, FREQUENCIES
from diffsynth.audio.files import Audio, Samples
from diffsynth.midi.events import KEYS

LENGTHS = (0.1, 0.4)  # s listened to, at least and at most
RANGE = 40.0  # dB below the highest peak in which others count
PEAKS = 30  # the highest
BAND = (20.0, 6000.0)  # Hz
CENTS = 35.0  # from a partial to its peak; in the bass, one resolution (1 / length) if that is more
FIRST, ALL = 8, 24  # partials that have to be there, and that explain
LOUDNESS = 0.25  # power of a peak to this power is its weight
TOLERANCE = 0.9  # of the likeliest key's likelihood


def recognise(
    audio: Samples, rate: int, moments: NDArray[np.float64], keys: NDArray[np.int64]
) -> tuple[float, float]:
    """Share of notes at `moments` (s, sorted) that are the likeliest of all keys, and by how much.

    Args:
        audio: mono, [time], at `rate` Hz.
        rate: see `audio`.
        moments: onsets in s.
        keys: from 0, of each note.

    Returns:
        The share, and the median of 1 - likelihood of the best other key / likelihood of the own, from 0
        to 1. Notes that the next one follows within `LENGTHS[0]` s are left out of both.
    """
    own, margins = 0, []
    for moment, key in zip(moments, keys, strict=True):
        later = moments[moments > moment + 0.02]
        end = min(later[0] if len(later) else np.inf, moment + ATTACK + LENGTHS[1])
        segment = audio[max(round((moment + ATTACK) * rate), 0) : max(round(end * rate), 0)]
        if len(segment) < LENGTHS[0] * rate:
            continue
        together = keys[np.abs(moments - moment) <= 0.02]
        likely = _likelihoods(segment, rate, together[together != key])
        margin = 1 - np.delete(likely, key).max() / max(likely[key], 1e-9)
        own += margin >= 1 - 1 / TOLERANCE
        margins.append(float(np.clip(margin, 0, 1)))
    if not margins:
        return 0.0, 0.0
    return own / len(margins), float(np.median(margins))


def _likelihoods(segment: Audio, rate: int, others: NDArray[np.int64]) -> NDArray[np.float64]:
    """[88] how likely a segment is a note of each key, beside other notes that are known."""
    frequencies = FREQUENCIES[:, :ALL]
    place, power = _peaks(segment, rate)
    near = np.maximum(frequencies * (2 ** (CENTS / 1200) - 1), rate / len(segment))
    explains = np.abs(place[:, None, None] - frequencies) < near  # [peaks, 88, partials]
    free = ~explains[:, others].any(axis=(1, 2))
    explains, weight = explains[free], power[free] ** LOUDNESS
    if not len(weight):
        return np.zeros(KEYS)
    share = weight @ explains.any(axis=2) / weight.sum()
    order = 1 / np.sqrt(np.arange(1, FIRST + 1)) * (frequencies[:, :FIRST] < BAND[1])
    there = (explains[:, :, :FIRST].any(axis=0) * order).sum(axis=1) / order.sum(axis=1)
    return share * there


def _peaks(segment: Audio, rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequency in Hz and power of the highest peaks of the spectrum."""
    size = scipy.fft.next_fast_len(4 * len(segment), real=True)
    power = np.abs(scipy.fft.rfft(segment * np.hanning(len(segment)), size)) ** 2
    width = rate / size
    index, _ = find_peaks(power, distance=max(1, 2 * size // len(segment)))
    index = index[(index * width > BAND[0]) & (index * width < BAND[1])]
    index = index[power[index] > power[index].max(initial=0) * 10 ** (-RANGE / 10)]
    index = index[np.argsort(-power[index], kind="stable")][:PEAKS]
    return index * width, power[index].astype(np.float64)
