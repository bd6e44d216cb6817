"""The align stage: measures every performance, corrects or rejects it, and writes a report.

Corrections are made to the times of the events, not to the audio: moving numbers is exact, resampling
sound by some parts per million is not. A correction that does not differ significantly from zero is not
made, so that exact data stay exact.

A recording is read, mixed down and resampled in a stream into an unnamed file, and looked at there piece
by piece, so that memory does not depend on its length.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from diffsynth.alignment.config import Align
from diffsynth.alignment.line_fit import KEPT_BEFORE, Alignment, measure
from diffsynth.alignment.tuning import measure_pitch
from diffsynth.audio.files import Mixed, SampleRange, Samples, Spool, stream_audio, write_audio
from diffsynth.audio.format import AudioFormat
from diffsynth.audio.levels import Levels, measure_levels, performance_part
from diffsynth.datasets.manifest import Performance, read_manifest
from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, NOTE_ON, Events
from diffsynth.midi.files import read_midi
from diffsynth.runs.files import atomic_path, check_apart, write_json
from diffsynth.runs.parallel import parallel_map
from diffsynth.runs.resuming import make_stamp, recall, record, resumable_folder, tidy

# Parts of the library on which the result of a performance depends.
INDEX = "index.json"
CODE = ("alignment", "audio", "midi", "datasets/manifest.py")


@dataclass(frozen=True)
class Entry:
    """The result of aligning one performance.

    Attributes:
        name: as in the manifest, like `split`.
        duration: of the aligned audio, s.
        offset: s of audio time at MIDI time 0.
        drift: ppm by which the audio's clock is taken to be slower than that of the MIDI file: `drift_found`
            if that is more than three of its errors, otherwise 0.
        drift_found: ppm, as measured from the attacks.
        drift_error: ppm, one standard deviation of it.
        drift_applied: whether the events were stretched by `drift`.
        confidence: from 0 to 1, see `diffsynth.alignment.line_fit.Alignment`, like the next three.
        residual_ms: median distance of a MIDI onset to its attack.
        matched: share of MIDI notes within the recording that are heard.
        covered: share of MIDI notes within the recording.
        corrected: whether the events were moved.
        trimmed_start: s of audio cut off before the performance; negative where silence was put there.
        trimmed_end: s cut off after it had died away.
        peak_dbfs: of what is left, like the next two.
        rms_dbfs: root of the mean square.
        noise_dbfs: level that is exceeded 95 % of the time.
        tuning_cents: of the piano above 440 Hz; None if it cannot be measured, like `stretch_cents`.
        stretch_cents: its increase per octave.
        status: "ok" or "rejected".
        reason: why it was rejected.
    """

    name: str
    split: str
    duration: float = 0.0
    offset: float = 0.0
    drift: float = 0.0
    drift_found: float = 0.0
    drift_error: float = 0.0
    drift_applied: bool = False
    confidence: float = 0.0
    residual_ms: float = 0.0
    matched: float = 0.0
    covered: float = 0.0
    corrected: bool = False
    trimmed_start: float = 0.0
    trimmed_end: float = 0.0
    peak_dbfs: float | None = None
    rms_dbfs: float | None = None
    noise_dbfs: float | None = None
    tuning_cents: float | None = None
    stretch_cents: float | None = None
    status: str = "ok"
    reason: str = ""


def correct(events: Events, alignment: Alignment) -> Events:
    """Events in audio time; unchanged where the clocks do not differ by more than the error."""
    moved = events.copy()
    if alignment.differs(float(events["time"][0]), float(events["time"][-1])):
        moved["time"] = alignment.audio_time(events["time"])
    return moved


def within(events: Events, length: float) -> Events:
    """The events (audio time) of a recording of `length` s that is an excerpt of them.

    Notes that begin before or after it are left out with their releases; where the pedals are when it
    begins is kept.
    """
    on = events["kind"] == NOTE_ON
    inside = (events["time"] >= -KEPT_BEFORE) & (events["time"] < length)
    if inside[on].all():
        return events
    kept = inside | (events["kind"] != CONTROL)
    left_out: set[int] = set()
    kept |= events["time"] < 0
    for number in np.flatnonzero(events["kind"] != CONTROL):
        key = int(events["number"][number])
        if on[number]:
            kept[number] = inside[number]
            (left_out.discard if inside[number] else left_out.add)(key)
        elif key in left_out:
            kept[number] = False
    part = events[kept]
    part["time"] = np.where(part["time"] < -KEPT_BEFORE, 0.0, part["time"])
    return part


def trim(events: Events, audio: Samples, rate: int, levels: Levels) -> tuple[Events, SampleRange]:
    """Events and audio from shortly before the first event to when the last has died away.

    Events that happen before the recording begins get silence put in front of it. Whole samples are
    cut or added, so that the audio itself is not touched.
    """
    begin, end = performance_part(events, levels)
    start = round(begin * rate) if begin > 0 else int(np.floor(begin * rate))
    stop = max(int(min(end * rate, len(audio))), start + 1)
    moved = events.copy()
    moved["time"] -= start / rate
    return moved, SampleRange(audio, start, stop)


def align_performance(
    performance: Performance, raw: Path, out: Path, audio_format: AudioFormat, config: Align
) -> Entry:
    """Align one performance and write its audio and events to `out`, unless it is rejected.

    A result that an interrupted run has left there is used if it would be the same.
    """
    stamp = _stamp(performance, raw, audio_format, config)
    known = recall(out, performance.name, stamp)
    if known is not None:
        return Entry(**known)
    entry = _align(performance, raw, out, audio_format, config)
    record(out, performance.name, stamp, asdict(entry), _files(entry))
    return entry


def align_all(
    raw: Path, out: Path, audio_format: AudioFormat, config: Align, workers: int = 1
) -> list[Entry]:
    """Align all performances of a manifest into the folder `out`, with an index, in so many processes.

    Raises:
        UserError: there is no manifest, or no performance could be aligned.
    """
    check_apart(out, raw)
    manifest = read_manifest(raw)
    with resumable_folder(out, INDEX) as folder:
        job = partial(align_performance, raw=raw, out=folder, audio_format=audio_format, config=config)
        entries = list(parallel_map(job, manifest.performances, workers, "aligning"))
        if not entries:
            raise UserError(f"{raw / 'manifest.json'} lists no performances")
        if not any(entry.status == "ok" for entry in entries):
            raise UserError(f"no performance could be aligned; the first: {entries[0].reason}")
        rows: list[dict[str, Any]] = [asdict(entry) for entry in entries]
        facts = {"dataset": manifest.dataset, "sample_rate": audio_format.sample_rate}
        index = {**facts, "channels": audio_format.channels, "performances": rows}
        write_json(folder / INDEX, index)
        tidy(folder, {INDEX, *(file for entry in entries for file in _files(entry))})
    return entries


def _stamp(performance: Performance, raw: Path, audio_format: AudioFormat, config: Align) -> str:
    """Everything that the result of a performance depends on; its files by the manifest, size and time."""
    files = [raw / performance.midi, raw / performance.audio]
    states = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
    return make_stamp(
        CODE, asdict(performance), states, audio_format.sample_rate, audio_format.channels, asdict(config)
    )


def _files(entry: Entry) -> list[str]:
    return [f"{entry.name}.flac", f"{entry.name}.npy"] if entry.status == "ok" else []


def _align(performance: Performance, raw: Path, out: Path, audio_format: AudioFormat, config: Align) -> Entry:
    entry = Entry(performance.name, performance.split)
    rate, channels = audio_format.sample_rate, audio_format.channels
    audio = Spool(out, channels)
    mono = Mixed(audio)
    try:
        events = read_midi(raw / performance.midi)
        for block in stream_audio(raw / performance.audio, rate, channels):
            audio.append(block)
    except UserError as error:
        return replace(entry, status="rejected", reason=str(error))
    found = measure(events, mono, rate, config)
    levels = measure_levels(mono, rate)
    facts = {**_rounded(found), **levels.summary(), "duration": round(len(audio) / rate, 6)}
    entry = replace(entry, **facts)
    if found.status != "ok":
        return entry
    corrected = correct(events, found)
    in_audio = within(corrected, len(audio) / rate)
    moved, kept = trim(in_audio, audio, rate, levels)
    write_audio(out / f"{entry.name}.flac", kept, rate)
    with atomic_path(out / f"{entry.name}.npy") as path:
        np.save(path, moved, allow_pickle=False)
    pitch = measure_pitch(in_audio, mono, rate)
    facts = levels.part(kept.start / rate, kept.stop / rate).summary()
    return replace(
        entry,
        **facts,
        duration=round(len(kept) / rate, 6),
        corrected=bool((corrected["time"] != events["time"]).any()),
        drift_applied=bool(found.drift and (corrected["time"] != events["time"]).any()),
        trimmed_start=round(kept.start / rate, 6),
        trimmed_end=round((len(audio) - kept.stop) / rate, 6),
        tuning_cents=pitch.cents,
        stretch_cents=pitch.stretch,
    )


def _rounded(found: Alignment) -> dict[str, Any]:
    """The part of an alignment that is reported."""
    digits = {"offset": 6, "drift": 3, "drift_found": 3, "drift_error": 3}
    digits |= {"confidence": 4, "residual_ms": 3, "matched": 4, "covered": 4}
    numbers = {name: round(float(getattr(found, name)), places) for name, places in digits.items()}
    return {**numbers, "status": found.status, "reason": found.reason}
