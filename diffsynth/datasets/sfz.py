"""Performances played by sfizz through an SFZ instrument, with labels exact to the sample.

Every performance is played by a process of its own: sfizz draws its random numbers from one generator for
all instruments, so that another performance before this one would change it. All samples are loaded into
memory (`hint_ram_based`): those that sfizz streams are cut short after .2 s now and then.

Pedals are passed on: sustain and sostenuto as switches, down from 64 as with FluidSynth, una corda with the
positions it has. Whether it is heard is up to the instrument, as are the noises of pedals and keys.
"""

import os
import re
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from diffsynth.audio.files import Audio, resample
from diffsynth.datasets.sfz_player import EVENTS, PLAYED
from diffsynth.errors import UserError, to_install
from diffsynth.midi.events import EVENT, Events
from diffsynth.runs.resuming import LIBRARY

RENDER_RATE = 48000  # Hz, at least: at a lower rate sfizz would mirror what lies above its half
ABOVE = 2  # folders above that of an instrument in which its samples may lie
WRAPPER, SILENT = "diffsynth-in-memory.sfz", "diffsynth-silent-pedals.sfz"
ON_CONTROL = re.compile(r"\b(?:on|start)_(?:lo|hi)(?:hd)?cc", re.IGNORECASE)  # of regions that pedals start
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
INCLUDE = re.compile(r'#include\s+"([^"\n]+)"')
IN_MEMORY = "<control>\nhint_ram_based=1\n"
NESTED = 20  # includes within includes; more are a circle


def render_sfz(events: Events, sfz: str | Path, sample_rate: int = 24000, gain: float = 1.0) -> Audio:
    """Play an event stream through an SFZ instrument.

    Args:
        events: performance, times in seconds.
        sfz: path of an .sfz file.
        sample_rate: of the result, Hz; sfizz itself plays at 48 kHz or more.
        gain: linear. sfizz attenuates every instrument by 11.5 dB before. Nothing is normalised afterwards.

    Returns:
        [time, 2] stereo, until everything has died away. It may exceed -1..1.

    Raises:
        UserError: sfizz or the instrument is missing, or cannot be played.
    """
    rate = max(sample_rate, RENDER_RATE)
    audio, _ = _play(events, Path(sfz), rate)
    return resample(audio * np.float32(gain), rate, sample_rate)


def check_sfz(sfz: str | Path) -> list[str]:
    """Lines that say what of an instrument is not played.

    Raises:
        UserError: see `render_sfz`.
    """
    _, loaded = _play(np.zeros(0, EVENT), Path(sfz), RENDER_RATE)
    silent = _count_regions(Path(sfz).resolve()) - loaded
    if silent <= 0:
        return []
    why = "samples that are missing, or that sfizz does not read, such as MP3"
    return [f"{sfz}: {silent} of {silent + loaded} regions are not played: they have {why}"]


def _play(events: Events, sfz: Path, rate: int) -> tuple[Audio, int]:
    """What an instrument plays at a rate in Hz, [time, 2], and how many regions it has."""
    if find_spec("pysfizz") is None:
        raise UserError(f"playing an SFZ needs sfizz: {to_install('sfz')}")
    if not sfz.is_file():
        raise UserError(f"instrument {sfz} does not exist: set dataset.instrument")
    with TemporaryDirectory(prefix="diffsynth-sfz-") as name:
        work = Path(name)
        np.save(work / EVENTS, events, allow_pickle=False)
        place = sfz.resolve()  # what it includes and plays lies beside it, not beside a link to it
        instrument = _in_memory(place, work / "instrument")
        silent = _with_silent_pedals(place, instrument.with_name(SILENT))
        _run([str(instrument), str(silent), str(rate), name], sfz)
        with np.load(work / PLAYED, allow_pickle=False) as played:
            audio, regions = played["audio"], int(played["regions"])
    if not regions:
        raise UserError(f"{sfz} is not a readable SFZ, or none of its samples can be read (MP3 cannot)")
    return audio, regions


def _run(arguments: list[str], sfz: Path) -> None:
    """Run the player to its end."""
    path = os.pathsep.join(filter(None, [str(LIBRARY.parent), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "diffsynth.datasets.sfz_player", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env={**os.environ, "PYTHONPATH": path}
    )
    if done.returncode < 0:
        raise UserError(
            f"sfizz was ended by signal {-done.returncode} while it played {sfz}; all samples are in memory: "
            "if there is too little of it, try fewer --workers"
        )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"{sfz} cannot be played: {reason}")


def _in_memory(sfz: Path, folder: Path) -> Path:
    """An instrument that plays another one with all samples in memory.

    What an SFZ names is relative to its folder, where nothing may be written. So the new one lies in a
    folder of links, and the folders above it are made of links as well.

    Args:
        sfz: the other one, no link.
        folder: to create.
    """
    above = list(reversed(sfz.parents[: ABOVE + 1]))
    for level, original in enumerate(above):
        folder.mkdir()
        below = above[level + 1].name if level + 1 < len(above) else None
        with suppress(PermissionError):
            for entry in original.iterdir():
                if entry.name != below:
                    (folder / entry.name).symlink_to(entry)
        folder = folder / (below or WRAPPER)
    folder.write_text(f'#include "{sfz.name}"\n{IN_MEMORY}', encoding="utf8")
    return folder


def _with_silent_pedals(sfz: Path, path: Path) -> Path:
    """Write an instrument without the opcodes by which controllers start regions, beside one in memory."""
    text = ON_CONTROL.sub("without_\\g<0>", _whole_text(sfz.parent, sfz.name))
    path.write_text(f"{text}\n{IN_MEMORY}", encoding="latin1")
    return path


def _whole_text(folder: Path, name: str, depth: int = 0) -> str:
    """An SFZ with what it includes, without comments; what cannot be read is left out."""
    try:
        text = (folder / name.replace("\\", "/")).read_text(encoding="latin1")
    except OSError:
        return ""
    text = COMMENT.sub("", text)
    if depth >= NESTED:
        return text
    return INCLUDE.sub(lambda found: _whole_text(folder, found[1], depth + 1), text)


def _count_regions(sfz: Path) -> int:
    """Regions that an SFZ and what it includes ask for."""
    return _whole_text(sfz.parent, sfz.name).count("<region>")
