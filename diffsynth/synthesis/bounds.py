"""The fitted piano alone, and with the gains that the recording asks for: what voices lie between.

A voice that has learned nothing plays the excitation. One that predicts every gain without error plays the
excitation with the gains that `features` computes from the recording: no voice of gains comes nearer by
predicting them better. Both are rendered here with the events of the test split.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from diffsynth.audio.files import Audio, read_audio, write_audio
from diffsynth.audio.format import AudioFormat
from diffsynth.errors import UserError
from diffsynth.midi.events import Events, to_samples
from diffsynth.piano.modal_bank import Bank, play_whole
from diffsynth.piano.piano import Piano
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField
from diffsynth.runs.files import atomic_folder, read_json, write_json

EXCITATION, IDEAL = "excitation", "ideal_gains"
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
    """Render the test split into folders `EXCITATION`, `IDEAL` and those of anchors under `out`, NAME.wav.

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
            recording, _ = read_audio(aligned / f"{name}.flac")
            events = to_samples(np.load(aligned / f"{name}.npy", allow_pickle=False), audio.sample_rate)
            alone, ideal = play_bounds(recording, events, piano, field)
            write_audio(folder / EXCITATION / f"{name}.wav", alone, audio.sample_rate)
            write_audio(folder / IDEAL / f"{name}.wav", ideal, audio.sample_rate)
            for anchor, spoil in anchors.items():
                spoilt = spoil(recording, audio.sample_rate)
                write_audio(folder / anchor / f"{name}.wav", spoilt, audio.sample_rate)
        write_json(folder / INDEX, {"performances": names})


def play_bounds(recording: Audio, events: Events, piano: Piano, field: GainField) -> tuple[Audio, Audio]:
    """The excitation alone, and with the gains that the recording asks for; as long as the recording.

    Args:
        recording: samples, [time].
        events: carry `position` in samples from the start, in order.
        piano: what plays.
        field: of the same piano.
    """
    rate, frame = field.audio.sample_rate, field.audio.frame
    missing = -len(recording) % (FRAMES * frame)
    alone = play_whole(piano, events, rate, frame, len(recording) + missing)
    gains, _ = field.gains(np.pad(recording, (0, missing)), alone)
    ideal = np.concatenate(list(_blocks(piano, events, field, gains)))
    return alone[: len(recording)], ideal[: len(recording)]


def _blocks(
    piano: Piano, events: Events, field: GainField, gains: NDArray[np.float32]
) -> Iterator[NDArray[np.float32]]:
    """Audio block by block, with log gains [whole blocks of frames, k] at the ends of frames."""
    frame = field.audio.frame
    bank, block = Bank(piano, field.audio.sample_rate, frame), FRAMES * frame
    edges = np.concatenate([gains[:1], gains])  # the first frame begins with what it ends with
    for begin in range(0, len(gains) * frame, block):
        low, high = np.searchsorted(events["position"], [begin, begin + block])
        part = events[low:high].copy()
        part["position"] -= begin
        own = edges[begin // frame : begin // frame + FRAMES + 1]
        yield bank.play(bank.process(part, FRAMES), field.mode_gains(own), field.noise_gains(own))
