"""Where keys lie in the stereo image: what other channels hear of the modes that were fitted to the first.

A string rings with the same frequencies and decays wherever one listens; microphones differ in how loud they
hear each mode, and when. So the modes of a piano that was fitted to the first channel get other amplitudes
for every other channel, in the same closed form:

1. At first by the ratio of what both channels have of a mode, summed over its strikes, which does not depend
   on when these are,

       r = sum_n x_n conj(y_n) / sum_n |y_n|^2,

   x_n and y_n being the products of the other and of the first channel with the mode in strike n.
2. Then by least squares, all notes sounding together (`diffsynth.fitting.refine`), poles held.
3. It gets the levels of the channel, and noise (`diffsynth.fitting.balance`).
4. All channels together get the balance that they have in the recordings (`diffsynth.fitting.placing`).

A mono downmix is not used anywhere: where two microphones hear a mode in opposite phase it would be missing.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.balance import balance, driven_powers
from diffsynth.fitting.config import Fit
from diffsynth.fitting.key_modes import modes_of
from diffsynth.fitting.placing import place
from diffsynth.fitting.refine import refine
from diffsynth.fitting.strokes import Pieces, Strokes, find_strokes
from diffsynth.fitting.takes import Take
from diffsynth.piano.noise import SILENCE, Noise
from diffsynth.piano.piano import Piano

BEGINNING, SHORTEST = 0.5, 0.03  # s of a stroke that are compared, and that it must last
MOST = 60  # strokes of a key that are compared, the loudest
PASSES = 2  # times those of the fit: amplitudes alone come nearer in small steps
FARTHEST = 10.0  # ratio of amplitudes at most
TINY = 1e-30  # energy that is none
Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


def add_image(piano: Piano, recordings: Sequence[Take], config: Fit) -> Piano:
    """The piano as all channels of recordings hear it; unchanged if there is one.

    Args:
        piano: fitted to the first channel, with its noise.
        recordings: audio [time, c] of one sample rate, events where strikes sound.
        config: of the fit.
    """
    first = [recording.channel(0) for recording in recordings]
    heard = [piano]
    for channel in range(1, recordings[0].channels):
        other = [recording.channel(channel) for recording in recordings]
        begin = replace(piano, amplitude=_compared(piano, first, other), noise=SILENCE)
        refined = refine(begin, other, PASSES * config.passes, poles=False)
        heard.append(balance(refined, other, config.max_frequency))
    if len(heard) == 1:
        return piano
    centre = next((each.noise.centre for each in heard if len(each.noise.centre)), SILENCE.centre)
    driven = driven_powers(piano, first, centre) if len(centre) else np.ones((1, 0))
    return place(_merged(heard, driven), recordings, config.max_frequency)


def _compared(piano: Piano, first: Sequence[Take], other: Sequence[Take]) -> Complex:
    """[p] amplitudes for another channel by what both have of each mode.

    Keys that are not heard are as much louder there as those around them.
    """
    amplitude, louder = piano.amplitude.copy(), dict[int, float]()
    for key, strokes in enumerate(find_strokes(first, piano)):
        mine, pieces = piano.key == key, _beginnings(strokes, first[0].rate)
        if not mine.any() or not len(pieces.stroke):
            continue
        modes = modes_of(piano, key, strokes, first[0].rate)
        own, others = (modes.project([take.audio for take in takes], pieces)[0] for takes in (first, other))
        ratio = (others * own.conj()).sum(axis=0) / np.maximum((np.abs(own) ** 2).sum(axis=0), TINY)
        amplitude[mine] *= ratio * np.minimum(1.0, FARTHEST / np.maximum(np.abs(ratio), 1e-9))
        before, after = (float((np.abs(a[mine]) ** 2).sum()) + TINY for a in (piano.amplitude, amplitude))
        louder[key] = float(np.log(after / before))
    unheard = ~np.isin(piano.key, list(louder))
    if louder:
        amplitude[unheard] *= np.exp(0.5 * np.interp(piano.key[unheard], list(louder), list(louder.values())))
    return amplitude


def _beginnings(strokes: Strokes, rate: int) -> Pieces:
    """The beginnings of the loudest strokes of a key."""
    long = np.flatnonzero(strokes.free > SHORTEST * rate)
    chosen = np.sort(long[np.argsort(-strokes.velocity[long], kind="stable")[:MOST]])
    length = np.minimum(strokes.free[chosen], round(BEGINNING * rate)).astype(np.int64)
    return Pieces(chosen, np.zeros_like(length), length, np.ones(len(chosen)))


def _merged(heard: Sequence[Piano], driven: Real) -> Piano:
    """One piano of those that the channels hear, which differ in amplitudes and noise.

    `driven` as of `driven_powers`.
    """
    amplitudes = np.stack([piano.amplitude for piano in heard])
    size = np.sqrt((np.abs(amplitudes) ** 2).mean(axis=0))
    whole = size * np.exp(1j * np.angle(amplitudes[0]))
    image = np.where(size > 0, amplitudes / np.where(size > 0, whole, 1.0), 1.0)
    return replace(
        heard[0], amplitude=whole, image=image, noise=_merged_noise([p.noise for p in heard], driven)
    )


def _merged_noise(heard: Sequence[Noise], driven: Real) -> Noise:
    """Noise at the mean level of all channels, each as loud as it is all in all; a channel may have none."""
    first = next((noise for noise in heard if len(noise.centre)), SILENCE)
    if not len(first.centre):
        return SILENCE
    none = np.zeros((len(driven), len(first.centre)))
    of_each = [np.vstack([noise.floor, *noise.weight]) if len(noise.centre) else none for noise in heard]
    levels = np.stack(of_each)  # [c, 1 + 2 i, b]
    power = (levels * driven).sum(axis=1)
    known = power.sum(axis=0) > 0
    image = np.sqrt(np.where(known, power / np.where(known, power.mean(axis=0), 1.0), 1.0))
    mean = levels.mean(axis=0)
    return Noise(first.centre, mean[0], mean[1:].reshape(first.weight.shape), image)
