"""What a mean cannot have: how much levels fluctuate, how draws differ, and strikes of one key.

    python benchmarks/variation.py RECORDINGS RENDERINGS [--other RENDERINGS] [--start 5 --seconds 40]

RECORDINGS holds NAME.flac or NAME.wav and NAME.mid, RENDERINGS a NAME.wav for some of them, --other the same
with another seed. Renderings are moved by one lag and get the level of the recording. Prints, as means over
the pieces:

fluctuation  how much more the levels of mel bands (FFT 1024, hop 128) move than the recording's, in six
             octaves of modulation from .5 to 32 Hz: mean over bands of the ratio of powers in dB; what is
             below 0 is too smooth
energy       energy score (Gneiting & Raftery 2007, section 4.3) of two draws by the log-mel distance: their
             mean distance from the recording minus half of the distance between them; less is better
draws        that distance between draws, dB
strikes      by how much two strikes of one key differ, whose velocities are at most 8 apart, dB: mean
             |difference| of levels in mel bands over 250 ms, their mean level taken out; beside it the
             same of the recording
"""

import argparse
from itertools import combinations, pairwise
from pathlib import Path

import librosa
import numpy as np
from scipy.signal import welch

from diffsynth.audio.files import Audio, read_audio, resample
from diffsynth.benchmark.offsets import offset
from diffsynth.datasets.folder import Pair, find_pairs
from diffsynth.errors import UserError
from diffsynth.evaluation.log_mel import log_mel_distance
from diffsynth.evaluation.metrics import FFT, HOP, magnitudes, match_level
from diffsynth.midi.events import to_notes
from diffsynth.midi.files import read_midi

LAG = 0.06  # s, at most
OCTAVES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # Hz
STEP = 128  # samples from frame to frame
STRIKE = 0.25  # s of a strike
ALIKE = 8  # of MIDI velocity
RANGE = 1e-8  # 80 dB below the loudest band of the recording


def levels(audio: Audio, rate: int, floor: float) -> np.ndarray:
    """Mel levels in dB, [bands, frames], above a floor of power."""
    power = librosa.feature.melspectrogram(
        y=audio, sr=rate, n_fft=1024, hop_length=STEP, n_mels=64, fmin=30, fmax=rate / 2
    )
    return np.asarray(10 * np.log10(power + floor))


def loudest(audio: Audio, rate: int) -> float:
    """The highest power of any mel band."""
    return float(10 ** (levels(audio, rate, 1e-12).max() / 10))


def fluctuation(recording: np.ndarray, rendering: np.ndarray, rate: int) -> np.ndarray:
    """Power of the fluctuations of levels, [bands, frames], in octaves, in dB beside the recording's."""
    found = []
    for each in (recording, rendering):
        hz, power = welch(each, rate / STEP, nperseg=min(512, each.shape[1]), axis=-1)
        found.append([power[:, (hz >= low) & (hz < high)].sum(-1) for low, high in pairwise(OCTAVES)])
    return np.asarray(10 * np.log10((np.array(found[1]) + 1e-6) / (np.array(found[0]) + 1e-6)).mean(-1))


def distance(first: Audio, second: Audio, rate: int) -> float:
    """Log-mel distance in dB."""
    return log_mel_distance(*(magnitudes(each, FFT, HOP) for each in (first, second)), rate)


def strikes(sound: np.ndarray, notes: np.ndarray, start: float, rate: int) -> float:
    """How much strikes of one key differ: levels [bands, frames] of a sound that begins at `start` s."""
    frames, found = round(STRIKE * rate / STEP), []
    for key in np.unique(notes["key"]):
        of_key = notes[notes["key"] == key]
        for one, other in combinations(of_key, 2):
            begins = [round((note["onset"] - start) * rate / STEP) for note in (one, other)]
            if abs(int(one["velocity"]) - int(other["velocity"])) > ALIKE or min(begins) < 0:
                continue
            if max(begins) + frames > sound.shape[1]:
                continue
            both = [sound[:, begin : begin + frames] for begin in begins]
            difference = both[0] - both[1]
            found.append(np.abs(difference - difference.mean()).mean())
    return float(np.mean(found)) if found else float("nan")


def excerpt(path: Path, recording: Audio, rate: int, span: slice) -> Audio:
    """A rendering where and as loud as the recording."""
    audio, own = read_audio(path)
    audio = resample(audio, own, rate)
    lag = round(offset(recording, audio, rate, LAG) * rate)
    return match_level(recording[span], np.roll(audio, -lag)[: len(recording)][span])


def measure(pair: Pair, folders: list[Path], start: float, seconds: float) -> dict[str, np.ndarray | float]:
    """All numbers of a piece."""
    recording, rate = read_audio(pair.audio)
    span = slice(int(start * rate), int((start + seconds) * rate))
    draws = [excerpt(folder / f"{pair.title}.wav", recording, rate, span) for folder in folders]
    target = recording[span]
    draws = [draw[: len(target)] for draw in draws]
    floor = RANGE * loudest(target, rate)
    wanted, found = (levels(each, rate, floor) for each in (target, draws[0]))
    notes = to_notes(read_midi(pair.midi))
    row: dict[str, np.ndarray | float] = {
        "fluctuation": fluctuation(wanted, found, rate),
        "strikes": strikes(found, notes, start, rate),
        "strikes, recording": strikes(wanted, notes, start, rate),
        "log-mel": distance(target, draws[0], rate),
    }
    if len(draws) == 2:
        apart = distance(draws[0], draws[1], rate)
        far = 0.5 * sum(distance(target, draw, rate) for draw in draws)
        row |= {"energy": far - 0.5 * apart, "draws": apart}
    return row


def main() -> None:
    """Measure, and print means over the pieces."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", type=Path)
    parser.add_argument("renderings", type=Path)
    parser.add_argument("--other", type=Path)
    parser.add_argument("--start", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=40.0)
    args = parser.parse_args()
    folders = [args.renderings, *([args.other] if args.other else [])]
    try:
        pairs = [
            pair
            for pair in find_pairs(args.recordings)[0]
            if all((folder / f"{pair.title}.wav").is_file() for folder in folders)
        ]
        if not pairs:
            raise UserError(f"no NAME.wav in {args.renderings} for a recording in {args.recordings}")
        rows = [measure(pair, folders, args.start, args.seconds) for pair in pairs]
    except UserError as error:
        parser.error(str(error))
    print(", ".join(pair.title for pair in pairs))
    for name in rows[0]:
        mean = np.mean([row[name] for row in rows], axis=0)
        print(f"{name:20}", " ".join(f"{value:.2f}" for value in np.atleast_1d(mean)))


if __name__ == "__main__":
    main()
