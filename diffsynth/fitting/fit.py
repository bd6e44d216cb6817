"""Fitting a modal piano to aligned performances, in closed form.

1. Strikes are moved to where they sound (`strike_times`), and one law says how they change with velocity
   (`velocity_law`).
2. Tuning and stiffness of every key, from the spectrum of notes that ring alone (`tuning`).
3. Every partial is followed through all notes of its key, wherever no other note interferes
   (`partial_tracking`); the notes are averaged, loud ones counting more; the averaged envelope is split into
   modes (`matrix_pencil`). Partials that were never measured are taken from the nearest key.
4. What the partials do not explain of the attacks becomes modes as well (`attack`).
5. Is it a sampled instrument, every strike a voice of its own (`sampled_voices`)? Strings are asked again
   after step 8.
6. Can the sustain pedal be heard (`pedal_noise`)?
7. Slow modes for the ends of long notes (`aftersound`).
8. All modes are refined against the recordings, all notes sounding together (`refine`), and of a sampled
   instrument how fast its dampers end them (`damping`).
9. Keys that are rarely played take the refined modes of a neighbour (`rare_keys`).
10. What no damper ends dies away all the same, strikes rise, and strings get the levels that they have in the
    recordings, and noise between the partials (`balance`).
11. All that is for the first channel. Others hear the same modes with amplitudes of their own (`image`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diffsynth.errors import UserError
from diffsynth.fitting.aftersound import add_aftersound
from diffsynth.fitting.attack import add_attacks
from diffsynth.fitting.balance import balance
from diffsynth.fitting.config import Fit
from diffsynth.fitting.damping import measure_releases
from diffsynth.fitting.image import add_image
from diffsynth.fitting.matrix_pencil import Modes, fit_modes
from diffsynth.fitting.partial_tracking import Track, find_conflicts, follow, window_length
from diffsynth.fitting.pedal_noise import add_knocks
from diffsynth.fitting.rare_keys import fill_unheard
from diffsynth.fitting.refine import refine
from diffsynth.fitting.sampled_voices import find_sampled
from diffsynth.fitting.strike_times import correct_times
from diffsynth.fitting.takes import Take
from diffsynth.fitting.tuning import Tuning, measure_tuning
from diffsynth.fitting.velocity_law import VelocityLaw, measure_law
from diffsynth.midi.events import KEYS
from diffsynth.midi.pitches import string_partials
from diffsynth.midi.strikes import GRID, sounding_map, soundings
from diffsynth.piano.piano import QUIETEST, Piano

NOTES_PER_KEY = 60  # the longest ones: more add time and little else
LONGEST = 160  # frames of a note that are looked at: 1.7 s in the treble, 5 s in the bass
SLOWEST = 15.0  # 1/s, lowest release of a string with a damper; reverberation hides how fast it falls
DAMPED = 67  # keys from the lowest that have dampers on any piano
RISE = 500.0  # 1/s: 400 to 1500 measure the same but for clicks (docs/lab-notes.md, 18, 31)
UNDAMPED = 1.0  # 1/s, slowest decay where no damper falls: what is slower rings where recordings are silent
SOFTEST = 3e-5  # lowest level at which a damper's effect can be measured: one step of 16 bits


@dataclass(frozen=True)
class Heard:
    """A recording with the map of what sounds when."""

    recording: Take
    notes: NDArray[np.void]
    sounds: NDArray[np.bool_]


def fit_piano(recordings: Sequence[Take], config: Fit) -> Piano:
    """Fit a piano to recordings of one sample rate and one number of channels.

    Raises:
        UserError: no note rings long and loud enough anywhere to be measured.
    """
    first = correct_times([recording.channel(0) for recording in recordings])
    piano = _fit_channel(first, config)
    moved = [replace(r, events=f.events) for r, f in zip(recordings, first, strict=True)]
    return add_image(piano, moved, config)


def _fit_channel(recordings: Sequence[Take], config: Fit) -> Piano:
    """Fit a piano to one channel, with the strikes where they sound."""
    heard = [_listen(recording) for recording in recordings]
    rate = recordings[0].rate
    tuning = measure_tuning([(h.recording, h.notes, h.sounds) for h in heard])
    partials = [_partials(tuning, key, rate, config) for key in range(KEYS)]
    tracks = [_tracks(heard, key, partials, rate) for key in range(KEYS)]
    law = measure_law(recordings, _overall_exponent(tracks))
    keys = [_fit_key(key, tracks[key], partials[key], law, rate) for key in range(KEYS)]
    releases = _releases(heard, rate)
    strings = _assemble(_fill(keys), partials, _of_strings(releases), law)
    strings = replace(strings, jitter=config.jitter)
    attacked = _told(add_attacks(strings, recordings, config.max_frequency), recordings, releases)
    pedalled = add_knocks(attacked, recordings, config.max_frequency)
    if not config.passes:
        return pedalled
    sounding_on = add_aftersound(pedalled, recordings, config.max_frequency)
    refined = refine(sounding_on, recordings, config.passes)
    if not refined.sampled:  # what is explained better now may tell
        refined = _told(refined, recordings, releases)
        refined = refine(refined, recordings, 1) if refined.sampled else refined
    if refined.sampled:
        refined = replace(refined, release=measure_releases(refined, recordings))
    filled = fill_unheard(refined, recordings, config.max_frequency)
    return balance(replace(dying(filled), rise=RISE), recordings, config.max_frequency)


def _told(piano: Piano, recordings: Sequence[Take], releases: NDArray[np.float64]) -> Piano:
    """The piano as strings or as a sampled instrument, whose releases no room hides."""
    told = find_sampled(piano, recordings)
    return replace(told, release=releases) if told.sampled else told


def dying(piano: Piano) -> Piano:
    """The piano with a slowest decay of modes that no damper ends: of keys without one, and of the pedal."""
    least = UNDAMPED - piano.releases[piano.key]
    return replace(piano, decay=np.maximum(piano.decay, least))


def _listen(recording: Take) -> Heard:
    notes = soundings(recording.events, len(recording.audio))
    return Heard(recording, notes, sounding_map(notes, len(recording.audio), recording.rate))


def _partials(tuning: Tuning, key: int, rate: int, config: Fit) -> NDArray[np.float64]:
    """Partials of a key below the highest frequency wanted."""
    partials = string_partials(tuning.fundamental[key], tuning.stiffness[key], config.partials)
    return partials[partials < min(config.max_frequency, 0.45 * rate)]


def _tracks(
    heard: Sequence[Heard], key: int, partials: Sequence[NDArray[np.float64]], rate: int
) -> list[Track]:
    """Partials of the longest notes of a key."""
    conflicts = find_conflicts(key, partials[key], partials, rate)
    notes = [(h, note) for h in heard for note in h.notes[h.notes["key"] == key]]
    notes.sort(key=lambda pair: pair[1]["onset"] - pair[1]["end"])
    tracks = [
        follow(h.recording, note, partials[key], conflicts, h.sounds, LONGEST)
        for h, note in notes[:NOTES_PER_KEY]
    ]
    return [track for track in tracks if track is not None and np.isfinite(track.values).any()]


def _overall_exponent(tracks: Sequence[list[Track]]) -> float:
    """Velocity exponent of all keys: log level on log velocity at equal age."""
    covariance, variance = np.array([_exponent_sums(of_key) for of_key in tracks]).sum(axis=0)
    return float(np.clip(covariance / variance, 0.0, 4.0)) if variance > 0 else 2.0


def _exponent_sums(tracks: list[Track]) -> tuple[float, float]:
    """Covariance and variance sums of log level and log velocity over the notes of one key."""
    if len({track.velocity for track in tracks}) < 2:
        return 0.0, 0.0
    frames = max(len(track.values) for track in tracks)
    level = np.full((len(tracks), frames, tracks[0].values.shape[1]), np.nan)
    for row, track in zip(level, tracks, strict=True):
        row[: len(track.values)] = np.log(np.maximum(np.abs(track.values), 1e-12))
    level[level < np.log(QUIETEST)] = np.nan
    velocity = np.broadcast_to(np.log([t.velocity for t in tracks])[:, None, None], level.shape)
    known = np.isfinite(level)
    count = known.sum(axis=0).clip(1)
    mean_level = np.where(known, level, 0).sum(axis=0) / count
    mean_velocity = np.where(known, velocity, 0).sum(axis=0) / count
    slope = np.where(known, velocity - mean_velocity, 0)
    return float((slope * np.where(known, level - mean_level, 0)).sum()), float((slope**2).sum())


def _fit_key(
    key: int, tracks: list[Track], partials: NDArray[np.float64], law: VelocityLaw, rate: int
) -> list[Modes | None]:
    """Modes of every partial of a key; None where it was not heard, empty if the key was not."""
    if not tracks:
        return []
    size = window_length(key, rate)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    step = size // 4 / rate
    envelope, weight = _average(tracks, [law.gains(key, track.velocity, partials) for track in tracks])
    enough = np.isfinite(envelope).sum(axis=0) >= 2
    return [
        fit_modes(envelope[:, p], weight[:, p], step, window, rate) if enough[p] else None
        for p in range(envelope.shape[1])
    ]


def _average(
    tracks: list[Track], gains: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Envelope of a strike at velocity 64, averaged over notes, [frames, partials], and its weight.

    Magnitudes are averaged as powers, phases as complex numbers. Where phases repeat from note to note (a
    sampled piano) the result is the right phase; where they do not (a string that still moves) it is
    arbitrary.
    """
    shape = (max(len(track.values) for track in tracks), tracks[0].values.shape[1])
    total, power, weight = np.zeros(shape, np.complex128), np.zeros(shape), np.zeros(shape)
    for track, gain in zip(tracks, gains, strict=True):
        known = np.isfinite(track.values)
        values = np.where(known, track.values, 0)
        part = slice(len(values))
        total[part] += gain * values
        power[part] += np.abs(values) ** 2
        weight[part] += gain**2 * known
    with np.errstate(invalid="ignore", divide="ignore"):
        envelope: NDArray[np.complex128] = total * (np.sqrt(power / weight) / np.abs(total))
    return envelope, weight


def _fill(keys: list[list[Modes | None]]) -> list[list[Modes | None]]:
    """Give a partial that was not measured the modes of the same partial of the nearest key where it was.

    Modes are relative to the partial, so that they follow the tuning of the key that they are given to.
    """
    count = max(map(len, keys))
    filled: list[list[Modes | None]] = [[None] * count for _ in keys]
    for p in range(count):
        heard = [key for key, modes in enumerate(keys) if p < len(modes) and modes[p] is not None]
        for key in range(KEYS):
            filled[key][p] = keys[min(heard, key=lambda other: abs(other - key))][p] if heard else None
    return filled


def _releases(heard: Sequence[Heard], rate: int) -> NDArray[np.float64]:
    """Release rate in 1/s of every key: how much faster its level falls once the damper is down.

    Measured between 10 and 70 ms after the damper's fall, less the fall before it, on notes that end
    alone. Single keys are uncertain: every key takes the median of the five measured keys nearest to it.
    """
    rates: list[list[float]] = [[] for _ in range(KEYS)]
    for h in heard:
        for note in h.notes:
            slope = _release_slope(h, note, rate)
            if slope is not None:
                rates[note["key"]].append(slope)
    measured = {key: float(np.median(slopes)) for key, slopes in enumerate(rates) if slopes}
    if not measured:
        return np.full(KEYS, 20.0)
    known = np.array(sorted(measured))
    nearest = [known[np.argsort(np.abs(known - key), kind="stable")[:5]] for key in range(KEYS)]
    return np.array([np.median([measured[k] for k in near]) for near in nearest])


def _of_strings(releases: NDArray[np.float64]) -> NDArray[np.float64]:
    """No damped string takes less than `SLOWEST`: in a room its fall hides behind reverberation."""
    return np.where(np.arange(KEYS) < DAMPED, np.maximum(releases, SLOWEST), releases)


def _release_slope(h: Heard, note: np.void, rate: int) -> float | None:
    """What its damper adds to the fall of one note, in 1/s of amplitude.

    None if the note is too short or too soft to be measured, or another note interferes.
    """
    _, _, onset, damp, end = note.item()
    width, wait, audio = rate // 50, rate // 100, h.recording.audio
    starts = [damp - wait - 3 * width, damp - wait - width, damp + wait, damp + wait + 2 * width]
    around = h.sounds[:, max(damp - rate // 10, 0) // GRID : (starts[3] + width) // GRID + 1].any(axis=1)
    if damp != end or starts[0] < onset or starts[3] + width > len(audio) or around.sum() > 1:
        return None
    level = [np.sqrt(np.mean(audio[start : start + width] ** 2)) for start in starts]
    if level[3] < SOFTEST or level[2] < 4 * SOFTEST or level[1] < SOFTEST:
        return None
    alone, damped = np.log(level[0] / level[1]), np.log(level[2] / level[3])
    return float(np.clip((damped - max(alone, 0.0)) / (2 * width / rate), 0.0, 200.0))


def _assemble(
    keys: list[list[Modes | None]],
    partials: Sequence[NDArray[np.float64]],
    release: NDArray[np.float64],
    law: VelocityLaw,
) -> Piano:
    """The modes of all keys in one list, without those too soft to be heard."""
    columns: list[tuple[int, float, float, complex]] = []
    for key, modes_of_key in enumerate(keys):
        loudest = law.gains(key, 127, partials[key])
        for frequency, loud, modes in zip(partials[key], loudest, modes_of_key, strict=False):
            if modes is None:
                continue
            for offset, decay, amplitude in zip(modes.offset, modes.decay, modes.amplitude, strict=True):
                if abs(amplitude) * loud > QUIETEST:
                    columns.append((key, frequency + offset, decay, amplitude))
    if not columns:
        raise UserError("no note rings long enough to fit the piano: more or longer performances are needed")
    keys_of, frequency, decay, amplitude = (np.array(column) for column in zip(*columns, strict=True))
    owner = keys_of.astype(np.int64)
    return Piano(
        owner, frequency, decay, amplitude, release, law.exponent, colour=law.colour, softest=law.softest
    )
