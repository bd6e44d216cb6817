"""MAESTRO v3.0.0: its list of performances, their official splits, its licence.

The list is a CSV file with a row per performance: canonical_composer, canonical_title, split, year,
midi_filename, audio_filename (both below the folder of the dataset), duration (of the MIDI, in s).
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from diffsynth.config import SPLITS
from diffsynth.datasets.splits import safe_names
from diffsynth.errors import UserError

FOLDER = "maestro-v3.0.0"
TABLE = f"{FOLDER}.csv"
ARCHIVE = f"{FOLDER}.zip"
DOCUMENTS = ("LICENSE", "README")  # brought along where there are any
Years = list[int] | Literal["all"]

LICENSE = """\
MAESTRO v3.0.0 (C. Hawthorne et al., "Enabling Factorized Piano Music Modeling and Generation with the \
MAESTRO Dataset", ICLR 2019) is licensed under Creative Commons Attribution-NonCommercial-ShareAlike 4.0 \
(CC BY-NC-SA 4.0, https://creativecommons.org/licenses/by-nc-sa/4.0/): name its authors, do not use it \
commercially, and pass on what you make of it under the same licence. By going on you accept that.\
"""


@dataclass(frozen=True)
class Row:
    """One performance; `midi` and `audio` are paths below the folder of the dataset."""

    composer: str
    title: str
    split: str
    year: int
    midi: str
    audio: str


def parse(text: str, source: str) -> list[Row]:
    """The rows of the table.

    Raises:
        UserError: it is not that table, a composition is in two splits, or a path leads out of the
            folder; `source` says where it comes from.
    """
    try:
        lines = io.StringIO(text.removeprefix("\ufeff"), newline="")
        rows = [_row(values) for values in csv.DictReader(lines, strict=True)]
    except (csv.Error, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{source} is not the table of MAESTRO: {type(error).__name__} {error}") from error
    if not rows:
        raise UserError(f"{source} lists no performances")
    for path, count in Counter(path for row in rows for path in (row.midi, row.audio)).items():
        if count > 1:
            raise UserError(f"{source} lists {path} {count} times")
    check_compositions(rows, source)
    return rows


def check_compositions(rows: Sequence[Row], source: str) -> None:
    """Check that no composition is in two splits: a model must not be tested on what it was trained on.

    Raises:
        UserError: a composition is in two splits.
    """
    splits = defaultdict(set)
    for row in rows:
        splits[row.composer, row.title].add(row.split)
    for (composer, title), found in splits.items():
        if len(found) > 1:
            raise UserError(f"{source}: {composer}: {title} is in {' and '.join(sorted(found))}")


def of_years(rows: Sequence[Row], years: Years) -> list[Row]:
    """The rows of some years, sorted by their MIDI file.

    Raises:
        UserError: a year is not among them; says which are.
    """
    known = sorted({row.year for row in rows})
    if isinstance(years, str):
        years = known
    there = ", ".join(map(str, known))
    if not years:
        raise UserError(f"dataset.years is empty: choose from {there}, or all")
    if unknown := sorted(set(years) - set(known)):
        raise UserError(f"MAESTRO has no year {', '.join(map(str, unknown))}: choose from {there}, or all")
    return sorted((row for row in rows if row.year in years), key=lambda row: row.midi)


def names_of(rows: Sequence[Row]) -> list[str]:
    """Names that identify performances in every later stage."""
    return safe_names([str(PurePosixPath(row.midi).with_suffix("")) for row in rows])


def prefix_of(names: Iterable[str]) -> str:
    """The prefix of the table's paths in an archive: its folder, or ""."""
    return f"{FOLDER}/" if any(name.startswith(f"{FOLDER}/") for name in names) else ""


def _row(values: dict[str, str]) -> Row:
    row = Row(
        composer=values["canonical_composer"].strip(),
        title=values["canonical_title"].strip(),
        split=values["split"],
        year=int(values["year"]),
        midi=values["midi_filename"],
        audio=values["audio_filename"],
    )
    if row.split not in SPLITS:
        raise ValueError(f"split {row.split!r}")
    for path in (row.midi, row.audio):
        parts = path.split("/")
        if not path.isprintable() or "\\" in path or {"", ".", ".."} & set(parts):
            raise ValueError(f"path {path!r}")
    return row
