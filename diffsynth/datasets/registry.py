"""Bringing a dataset: `demo`, `folder`, `rendered`, `maestro`."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from diffsynth.config import Dataset
from diffsynth.datasets.composer.corpus import generated_jobs
from diffsynth.datasets.folder import MIDI_SUFFIXES, check_title, copy_pairs, find_files, find_pairs
from diffsynth.datasets.maestro.fetch import fetch_maestro, plan_maestro
from diffsynth.datasets.maestro.local import copy_maestro
from diffsynth.datasets.manifest import FILE, Manifest, SetAside, read_manifest, verify, write_manifest
from diffsynth.datasets.rendered import Instrument, Job, render_all
from diffsynth.datasets.soundfont import RENDER_RATE, check
from diffsynth.datasets.splits import assign_splits, safe_names
from diffsynth.errors import UserError, printable
from diffsynth.midi.files import read_midi
from diffsynth.runs.files import atomic_folder

DEMO = Path("data/demo")


def bring(
    dataset: Dataset,
    out: Path,
    demo: Path = DEMO,
    progress: bool = True,
    earlier: Mapping[str, Path] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Fill a folder with a dataset and its `manifest.json`, replacing what an earlier call left.

    Args:
        dataset: which one, and its options.
        out: folder to write; either all of it appears or nothing.
        demo: the committed demo dataset.
        progress: show a bar on a terminal.
        earlier: files that may be those to download, by path in `out`; they are checked and copied.
        say: takes lines for people that should not wait, such as a licence.

    Returns:
        The manifest, with what had to be set aside.

    Raises:
        UserError: the source is missing, damaged or unusable, or `out` holds something else.
    """
    _refuse_to_destroy(out, dataset.root)
    if dataset.name == "maestro" and dataset.root is not None:
        return copy_maestro(dataset, Path(dataset.root), out, progress)
    if dataset.name == "maestro":
        return fetch_maestro(dataset, out, earlier, progress, say)
    if dataset.name == "demo":
        return _bring_demo(demo, out)
    if dataset.name == "folder":
        return _bring_folder(dataset, out, progress)
    return _bring_rendered(dataset, out, progress)


def plan(dataset: Dataset, out: Path, say: Callable[[str], None] = lambda _: None) -> list[str]:
    """Lines that say what `bring` would download; writes nothing.

    Raises:
        UserError: the dataset is not a download, or its server cannot be used.
    """
    if dataset.name != "maestro" or dataset.root is not None:
        source = f"dataset {dataset.name}" if dataset.root is None else dataset.root
        raise UserError(f"{source} is not downloaded, so there is nothing to plan")
    return plan_maestro(dataset, out, say)


def _bring_demo(demo: Path, out: Path) -> Manifest:
    manifest = read_manifest(demo)
    verify(demo, manifest)
    with atomic_folder(out) as folder:
        shutil.copytree(demo, folder, dirs_exist_ok=True)
        verify(folder, manifest)
    return manifest


def _bring_folder(dataset: Dataset, out: Path, progress: bool) -> Manifest:
    if dataset.root is None:
        raise UserError("dataset folder needs dataset.root (--root), the folder of your MIDI and audio files")
    pairs, set_aside = find_pairs(Path(dataset.root), out.resolve(), progress)
    _require_some(pairs, set_aside, dataset.root, "pair of MIDI and audio")
    with atomic_folder(out) as folder:
        performances = copy_pairs(pairs, folder, dataset.validation, dataset.test, dataset.seed)
        manifest = Manifest("folder", performances, set_aside)
        write_manifest(folder, manifest)
    return manifest


def _bring_rendered(dataset: Dataset, out: Path, progress: bool) -> Manifest:
    jobs, set_aside = (generated_jobs(dataset), []) if dataset.root is None else midi_jobs(dataset, out)
    check(dataset.soundfont, dataset.program)
    # Stored at the rate at which it is played, so that it suits any audio.sample_rate.
    instrument = Instrument(dataset.soundfont, dataset.program, RENDER_RATE, dataset.gain)
    with atomic_folder(out) as folder:
        performances = render_all(jobs, folder, instrument, dataset.workers, progress)
        manifest = Manifest("rendered", performances, set_aside)
        write_manifest(folder, manifest)
    return manifest


def midi_jobs(dataset: Dataset, out: Path) -> tuple[list[Job], list[SetAside]]:
    """The MIDI files below `dataset.root`, by name, and those that cannot be used.

    Raises:
        UserError: there is no such folder, or no usable file in it.
    """
    root = Path(str(dataset.root))
    performances, set_aside = {}, []
    for title, paths in find_files(root, MIDI_SUFFIXES, out.resolve()).items():
        try:
            check_title(title)
            performances[title] = read_midi(paths[0])
        except UserError as error:
            set_aside.append(SetAside(printable(title), str(error)))
    _require_some(performances, set_aside, root, "MIDI file")
    titles = list(performances)
    splits = assign_splits(titles, dataset.validation, dataset.test, dataset.seed)
    jobs = [
        Job(name, split, performances[title], title)
        for title, name, split in zip(titles, safe_names(titles), splits, strict=True)
    ]
    return sorted(jobs, key=lambda job: job.name), set_aside


def _require_some(found: object, set_aside: list[SetAside], root: str | Path, what: str) -> None:
    if found:
        return
    reasons = "; ".join(f"{item.name}: {item.reason}" for item in set_aside[:3])
    raise UserError(f"{root} holds no usable {what}{f' ({reasons})' if reasons else ''}")


def _refuse_to_destroy(out: Path, root: str | None) -> None:
    """Protect files that are not ours, since `out` is replaced as a whole.

    Raises:
        UserError: `out` holds the source, or something that `bring` did not write.
    """
    if root is not None and Path(root).resolve().is_relative_to(out.resolve()):
        raise UserError(f"{root} lies in {out}, which would be replaced; choose another folder to write")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file, not a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / FILE).is_file():
        raise UserError(f"{out} holds other files, which would be replaced; choose another folder to write")
