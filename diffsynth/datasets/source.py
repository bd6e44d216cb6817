"""What every source of data is: its options, and how it fills a folder.

These classes import what they do when they do it: checking parameters and `--help` need none of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from diffsynth.errors import UserError

if TYPE_CHECKING:
    from diffsynth.datasets.manifest import Manifest


@dataclass(frozen=True)
class Means:
    """With what a source is brought. None of it changes what is brought.

    Attributes:
        workers: processes that render or check.
        connections: files fetched at once.
        progress: show a bar on a terminal.
        earlier: files that may be those to download, by path in the output; they are checked and copied.
        say: takes lines for people that should not wait, such as a licence.
    """

    workers: int = 1
    connections: int = 4
    progress: bool = True
    earlier: Mapping[str, Path] = field(default_factory=dict)
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Source(ABC):
    """One source; its fields are the keys that it takes from the section `dataset`.

    Attributes:
        name: of the source, in parameters and manifests.
    """

    name: ClassVar[str]

    @abstractmethod
    def bring(self, out: Path, means: Means) -> "Manifest":
        """Fill a folder with performances and its `manifest.json`; all of it appears or nothing.

        Returns:
            The manifest, with what had to be set aside.

        Raises:
            UserError: the source is missing, damaged or unusable.
        """

    def plan(self, out: Path, means: Means) -> list[str]:  # noqa: ARG002
        """Lines that say what `bring` would download; writes nothing.

        Raises:
            UserError: nothing is downloaded, or the server cannot be used.
        """
        source = getattr(self, "root", None) or f"dataset {self.name}"
        raise UserError(f"{source} is not downloaded, so there is nothing to plan")
