"""The fitted piano alone, with the gains that the recording asks for, and another: what voices lie between.

A voice that has learned nothing plays the excitation. One that predicts every target of diffusion without
error plays the excitation with the gains that the levels of the recording ask for
(`diffsynth.representation.targets`). Another piano shows what right notes are worth without the right
instrument. All are rendered here with the events of the test split.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from diffsynth.audio.channels import converted, count
from diffsynth.audio.files import Audio, read_audio, write_audio
from diffsynth.audio.format import AudioFormat
from diffsynth.errors import UserError
from diffsynth.midi.events import Events, to_samples
from diffsynth.piano.excitation import Excitation
from diffsynth.piano.formula import formula_piano
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField
from diffsynth.representation.targets import Targets
from diffsynth.runs.files import atomic_folder, read_json, write_json

EXCITATION, IDEAL, OTHER = "excitation", "ideal_gains", "another_piano"
INDEX = "index.json"
FRAMES = 32  # of a block


def render_bounds(
    aligned: Path,
    out: Path,
    piano: Piano,
    audio: AudioFormat,
    features: Features,
    anchors: Mapping[str, Callable[[Audio, int], Audio]],
) -> None:
    """Render the test split as NAME.wav in `out`, in folders `EXCITATION`, `IDEAL`, `OTHER` and anchors.

    Args:
        aligned: folder of recordings and events.
        out: folder to write; replaced as a whole.
        piano: what plays.
        audio: its rate and frames.
        features: of the gains.
        anchors: by name, what a recording and its rate become.

    Raises:
        UserError: there is no performance in the split.
    """
    index = read_json(aligned / INDEX)["performances"]
    names = [p["name"] for p in index if p["split"] == "test" and p["status"] == "ok"]
    if not names:
        raise UserError(f"{aligned} holds no performance of the test split")
    field = GainField(piano, audio, features)
    with atomic_folder(out, INDEX) as folder:
        for name in tqdm(names, desc="bounds", unit="piece", disable=None):
            recording, _ = read_audio(aligned / f"{name}.flac", audio.channels)
            events = to_samples(np.load(aligned / f"{name}.npy", allow_pickle=False), audio.sample_rate)
            alone, ideal = play_bounds(recording, events, piano, field)
            write_audio(folder / EXCITATION / f"{name}.wav", alone, audio.sample_rate)
            write_audio(folder / IDEAL / f"{name}.wav", ideal, audio.sample_rate)
            other = play_other(recording, events, audio)
            write_audio(folder / OTHER / f"{name}.wav", other, audio.sample_rate)
            for anchor, spoil in anchors.items():
                spoilt = spoil(recording, audio.sample_rate)
                write_audio(folder / anchor / f"{name}.wav", spoilt, audio.sample_rate)
        write_json(folder / INDEX, {"performances": names})


def play_bounds(recording: Audio, events: Events, piano: Piano, field: GainField) -> tuple[Audio, Audio]:
    """The excitation alone, and with the gains that the recording asks for; as long as the recording.

    Args:
        recording: samples, [time] or [time, c].
        events: carry `position` in samples from the start, in order.
        piano: what plays.
        field: of the same piano.
    """
    block = _frames(field) * field.audio.frame
    padded = np.pad(recording, [(0, -len(recording) % block), *[(0, 0)] * (recording.ndim - 1)])
    parts = _play_parts(piano, events, field, len(recording))
    alone = np.sum(parts, axis=0)
    apart = field.features.noise_bands > 0
    levels = field.levels_by_age(padded, parts) if apart else field.levels(padded, alone)
    gains, _ = Targets(field.features, field.audio)(levels)
    ideal = _play(piano, events, field, gains)
    return alone[: len(recording)], ideal[: len(recording)]


def play_other(recording: Audio, events: Events, audio: AudioFormat) -> Audio:
    """A piano by formula, as long and as loud (RMS) as the recording, or softer where it would be clipped.

    Args:
        recording: samples, [time].
        events: carry `position` in samples from the start, in order.
        audio: rate and frames.
    """
    rate = audio.sample_rate
    sound = play_whole(formula_piano(rate), events, rate, audio.frame, len(recording))
    sound = converted(sound, count(recording))
    peak, norm = np.abs(sound).max(initial=0.0), np.linalg.norm(sound)
    if norm == 0.0:
        return sound
    return sound * np.float32(min(np.linalg.norm(recording) / norm, 1.0 / peak))


def play_alone(length: int, events: Events, piano: Piano, field: GainField) -> Audio:
    """The excitation alone, `length` samples; arguments are those of `play_bounds`."""
    return np.sum(_play_parts(piano, events, field, length), axis=0)[:length]


def _frames(field: GainField) -> int:
    """Frames that are played at a time, whole hops."""
    return -(-FRAMES // field.features.hop) * field.features.hop


def _play(piano: Piano, events: Events, field: GainField, gains: NDArray[np.float32]) -> Audio:
    """What is heard with log gains [whole blocks of hops, k] at the ends of hops."""
    bank, hops = Bank(piano, field.audio.sample_rate, field.audio.frame), _frames(field) // field.features.hop
    edges = np.concatenate([gains[:1], gains])  # the first hop begins with what it ends with
    sounds = []
    for number, excitation in enumerate(_excitations(bank, events, _frames(field), len(gains) // hops)):
        own = edges[number * hops : (number + 1) * hops + 1]
        sounds.append(bank.play(excitation, field.mode_gains(own, excitation), field.noise_gains(own)))
    return np.concatenate(sounds)


def _play_parts(piano: Piano, events: Events, field: GainField, length: int) -> list[Audio]:
    """Modes by age, and noise, all gains 1: so many samples and the rest of their last block."""
    bank, frames = Bank(piano, field.audio.sample_rate, field.audio.frame), _frames(field)
    sounds = []
    for excitation in _excitations(bank, events, frames, -(-length // (frames * bank.frame))):
        modes = [bank.play_modes(excitation, share) for share in field.age_shares(excitation)]
        sounds.append([*modes, bank.play_noise(excitation)])
    return [np.concatenate(part) for part in zip(*sounds, strict=True)]


def _excitations(bank: Bank, events: Events, frames: int, blocks: int) -> Iterator[Excitation]:
    """So many blocks of so many frames, one after another."""
    length = frames * bank.frame
    for begin in range(0, blocks * length, length):
        low, high = np.searchsorted(events["position"], [begin, begin + length])
        part = events[low:high].copy()
        part["position"] -= begin
        yield bank.process(part, frames)
