"""What the report plays and shows of test performances: short clips, their levels, their worst moments.

A clip is the same stretch of a recording and of every rendering of it, each at the level of the recording, as
MP3, which every browser plays and whose first sample stays the first (LAME's header says what to cut).
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from PIL import Image

from diffsynth.errors import UserError
from diffsynth.evaluation.compiled import librosa
from diffsynth.evaluation.metrics import FFT, Array, magnitudes, match_level

CLIPS, LONGEST = 3, 24.0  # performances, and s of each
AUDIO_BYTES = 11e6  # of all clips together, before base64 adds a third
PER_SECOND = 13e3  # bytes of MP3, about, at the best variable rate; 24 kHz
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # Hz
FADE = 0.005  # s
BANDS, LOWEST = 96, 30.0  # mel bands, and the lower edge of the first in Hz
FRAMES = 30.0  # a second, about
RANGE = 80.0  # dB below the loudest band of the recording, the darkest shade
MOMENTS, APART = 3, 1.5  # worst ones of a clip, and s between them
SMOOTH = 0.5  # s over which a moment is bad
REGIONS = (("in the bass", 0.0, 250.0), ("in the middle", 250.0, 2000.0), ("in the treble", 2000.0, np.inf))


@dataclass(frozen=True)
class Moment:
    """A moment at which a rendering is far from the recording: `time` in s of the clip, and how."""

    time: float
    text: str


@dataclass(frozen=True)
class Track:
    """One system in a clip.

    Attributes:
        system: its key.
        mp3: the sound.
        levels: a grey PNG, [bands, frames], the highest band first; white is the loudest of the recording.
        moments: the worst, in order of time; none of the recording.
    """

    system: str
    mp3: bytes
    levels: bytes
    moments: list[Moment]


@dataclass(frozen=True)
class Clip:
    """A stretch of a performance: `begin` and `seconds` of `total` s, and all that was played of it."""

    name: str
    rate: int  # Hz
    begin: float
    seconds: float
    total: float
    tracks: list[Track]


@dataclass(frozen=True)
class Stretch:
    """Where a clip lies in a performance, in samples, and how far models are from the recording there."""

    name: str
    begin: int
    end: int
    distance: float


def clips_of(aligned: Path, renders: Mapping[str, Path], models: Sequence[str]) -> list[Clip]:
    """Clips of test performances: of all, or of the nearest, the median and the farthest from the recordings.

    Of a long performance the clip is the stretch in which models are farthest from the recording.

    Args:
        aligned: folder of the recordings, NAME.flac.
        renders: folders of the renders of every system, NAME.wav, by key of the system.
        models: keys of those that choose the clips.

    Raises:
        UserError: a file is missing, or cannot be read.
    """
    names = sorted(path.stem for path in renders[models[0]].glob("*.wav")) if models else []
    seconds = longest(len(names), 1 + len(renders))
    stretches = [_stretch(name, aligned, [renders[model] for model in models], seconds) for name in names]
    ordered = sorted(stretches, key=lambda stretch: stretch.distance)
    places = np.unique(np.linspace(0, len(ordered) - 1, min(CLIPS, len(ordered))).round().astype(int))
    return [_clip(stretch, aligned, renders) for stretch in sorted((ordered[i] for i in places), key=_name)]


def longest(performances: int, systems: int) -> float:
    """Seconds of a clip at most, of so many performances by so many systems, the recording among them."""
    return min(LONGEST, AUDIO_BYTES / PER_SECOND / min(CLIPS, max(1, performances)) / systems)


def band_centres(rate: int) -> list[float]:
    """Frequencies of the bands in Hz, from the lowest."""
    return librosa.mel_frequencies(BANDS + 2, fmin=LOWEST, fmax=rate / 2)[1:-1].tolist()


def band_levels(signal: Array, rate: int) -> Array:
    """Powers in mel bands in dB, [BANDS, frames]; frames lie `hop_of(rate)` samples apart."""
    padded = np.pad(signal, (0, max(0, FFT - len(signal))))
    power = np.square(magnitudes(padded, FFT, hop_of(rate)), dtype=np.float64)
    bands = librosa.feature.melspectrogram(
        S=power, sr=rate, n_fft=FFT, n_mels=BANDS, fmin=LOWEST, fmax=rate / 2
    )
    return 10.0 * np.log10(bands + 1e-12)


def hop_of(rate: int) -> int:
    """Samples between two frames."""
    return round(rate / FRAMES)


def worst_moments(recording: Array, rendering: Array, rate: int) -> list[Moment]:
    """Where levels are farthest from those of the recording on average over bands, in order of time.

    Args:
        recording: levels in dB, [BANDS, frames].
        rendering: likewise.
        rate: sample rate in Hz, which says how long a frame is.
    """
    floor = recording.max() - RANGE
    difference = np.maximum(rendering, floor) - np.maximum(recording, floor)
    width = max(1, round(SMOOTH * rate / hop_of(rate)))
    distance = np.convolve(np.abs(difference).mean(axis=0), np.full(width, 1.0 / width), mode="same")
    found: list[Moment] = []
    apart = round(APART * rate / hop_of(rate))
    while len(found) < MOMENTS and distance.max() > 0.0:
        at = int(distance.argmax())
        around = difference[:, max(0, at - width // 2) : at + width // 2 + 1]
        text = f"{distance[at]:.1f} dB apart, {_description(around, rate)}"
        found.append(Moment(round(at * hop_of(rate) / rate, 2), text))
        distance[max(0, at - apart) : at + apart] = 0.0
    return sorted(found, key=lambda moment: moment.time)


def _description(difference: Array, rate: int) -> str:
    """Where in pitch, and in which direction, a difference is largest."""
    centres = np.array(band_centres(rate))
    parts = [(text, difference[(centres >= low) & (centres < high)]) for text, low, high in REGIONS]
    text, part = max((p for p in parts if p[1].size), key=lambda p: float(np.abs(p[1]).mean()))
    return f"too {'loud' if part.mean() > 0 else 'soft'} {text}"


def to_mp3(signal: Array, rate: int) -> bytes:
    """MP3 at the best variable rate, faded in and out against clicks at the cuts."""
    if rate not in MP3_RATES:
        signal, rate = soxr.resample(signal, rate, MP3_RATES[-1]), MP3_RATES[-1]
    ramp = np.clip(np.arange(len(signal)) / (FADE * rate), 0.0, 1.0)
    faded = np.clip(signal * ramp * ramp[::-1], -1.0, 1.0)
    file = io.BytesIO()
    options = {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.0}
    with soundfile.SoundFile(file, "w", rate, 1, **options) as out:
        out.write(faded)
    return file.getvalue()


def _clip(stretch: Stretch, aligned: Path, renders: Mapping[str, Path]) -> Clip:
    target, rate = _read(aligned / f"{stretch.name}.flac")
    recording = target[stretch.begin : stretch.end]
    levels = band_levels(recording, rate)
    tracks = [Track("recording", to_mp3(recording, rate), _png(levels, levels.max()), [])]
    for system, folder in renders.items():
        prediction = match_level(target, _as_long(folder / f"{stretch.name}.wav", target, rate))
        part = prediction[stretch.begin : stretch.end]
        own = band_levels(part, rate)
        moments = worst_moments(levels, own, rate)
        tracks.append(Track(system, to_mp3(part, rate), _png(own, levels.max()), moments))
    return Clip(stretch.name, rate, stretch.begin / rate, len(recording) / rate, len(target) / rate, tracks)


def _stretch(name: str, aligned: Path, folders: Sequence[Path], seconds: float) -> Stretch:
    """The part of a performance in which renders are farthest from the recording."""
    target, rate = _read(aligned / f"{name}.flac")
    levels = band_levels(target, rate)
    floor = levels.max() - RANGE
    distance = np.zeros(levels.shape[1])
    for folder in folders:
        own = band_levels(match_level(target, _as_long(folder / f"{name}.wav", target, rate)), rate)
        distance += np.abs(np.maximum(own, floor) - np.maximum(levels, floor)).mean(axis=0) / len(folders)
    width = min(len(distance), round(seconds * rate / hop_of(rate)))
    sums = np.convolve(distance, np.ones(width), mode="valid")
    begin = int(sums.argmax()) * hop_of(rate) if width < len(distance) else 0
    return Stretch(name, begin, min(len(target), begin + round(seconds * rate)), float(distance.mean()))


def _name(stretch: Stretch) -> str:
    return stretch.name


def _as_long(path: Path, target: Array, rate: int) -> Array:
    """A rendering as long as its target, silent where it ends before."""
    samples, own = _read(path)
    if own != rate:
        raise UserError(f"{path} has {own} Hz, and its recording {rate} Hz")
    return np.pad(samples, (0, max(0, len(target) - len(samples))))[: len(target)]


def _read(path: Path) -> tuple[Array, int]:
    """The mean of all channels of a file, as spectrograms and players show it, and its rate in Hz."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not len(samples):
        raise UserError(f"{path} holds no samples")
    return samples.mean(axis=1), rate


def _png(levels: Array, top: float) -> bytes:
    """Levels as shades, the highest band in the first row."""
    shades = np.clip((levels[::-1] - (top - RANGE)) * (255.0 / RANGE), 0.0, 255.0).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(shades).save(file, "PNG", optimize=True)
    return file.getvalue()
