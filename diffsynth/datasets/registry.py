"""The table of data sources, and what all of them share."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsynth.config import build, check_keys, choice, parameters
from diffsynth.datasets.source import Means, Source
from diffsynth.datasets.sources.demo import Demo
from diffsynth.datasets.sources.folder import Folder
from diffsynth.datasets.sources.maestro import Maestro
from diffsynth.datasets.sources.rendered import Rendered
from diffsynth.errors import UserError

if TYPE_CHECKING:
    from diffsynth.datasets.manifest import Manifest

SOURCES: dict[str, type[Source]] = {
    "demo": Demo,
    "folder": Folder,
    "rendered": Rendered,
    "maestro": Maestro,
}


def read_source(section: Any, where: str) -> Source:
    """The source that the section `dataset` names, with the options that it takes.

    A key is known if any source takes it, and needed if this one does.

    Raises:
        UserError: a key is unknown, missing or has the wrong type; `where` names the place.
    """
    if not isinstance(section, Mapping):
        raise UserError(f"{where} must be a section, not {section!r}")
    taken = {name: parameters(source) for name, source in SOURCES.items()}
    known = {"name": None, **{key: None for types in taken.values() for key in types}}
    check_keys(section, known, ["name"], where)
    name = choice("dataset", build(str, section["name"], f"{where}: name"), SOURCES)
    check_keys(section, known, taken[name], where)
    for types in taken.values():
        for key in types.keys() & section.keys():
            build(types[key], section[key], f"{where}: {key}")
    source: Source = build(SOURCES[name], {key: section[key] for key in taken[name]}, where)
    return source


def bring(source: Source, out: Path, means: Means | None = None) -> "Manifest":
    """Fill a folder with a dataset and its `manifest.json`, replacing what an earlier call left.

    Returns:
        The manifest, with what had to be set aside.

    Raises:
        UserError: the source is missing, damaged or unusable, or `out` holds something else.
    """
    from diffsynth.datasets.manifest import MANIFEST
    from diffsynth.runs.files import check_apart, check_folder

    root = getattr(source, "root", None)
    check_apart(out, *([Path(root)] if root is not None else []))
    check_folder(out, MANIFEST)
    return source.bring(out, means or Means())
