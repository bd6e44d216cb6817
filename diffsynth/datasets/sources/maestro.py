"""MAESTRO v3.0.0: some years of it, from a server or from a local copy."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from diffsynth.datasets.source import Means, Source

if TYPE_CHECKING:
    from diffsynth.datasets.manifest import Manifest


@dataclass(frozen=True)
class Maestro(Source):
    """The performances of `years`, from the archive at `url`, or from `root`, a copy of it."""

    name: ClassVar[str] = "maestro"

    root: str | None
    years: list[int] | Literal["all"]
    url: str

    def bring(self, out: Path, means: Means) -> "Manifest":
        """Copy, or fetch what is missing; goes on with an earlier try."""
        if self.root is not None:
            from diffsynth.datasets.maestro.local import copy_maestro

            return copy_maestro(Path(self.root), self.years, out, means)
        from diffsynth.datasets.maestro.fetch import fetch_maestro

        return fetch_maestro(self.url, self.years, out, means)

    def plan(self, out: Path, means: Means) -> list[str]:
        """What would be fetched."""
        if self.root is not None:
            return super().plan(out, means)
        from diffsynth.datasets.maestro.fetch import plan_maestro

        return plan_maestro(self.url, self.years, out, means)
