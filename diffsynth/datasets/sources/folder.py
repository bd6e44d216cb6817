"""A folder of the user's own: pairs of MIDI and audio."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from diffsynth.config import Seed, Share
from diffsynth.datasets.source import Means, Source
from diffsynth.errors import UserError

if TYPE_CHECKING:
    from diffsynth.datasets.manifest import Manifest


@dataclass(frozen=True)
class Folder(Source):
    """Pairs below `root`, split by shares of performances."""

    name: ClassVar[str] = "folder"

    root: str | None
    validation: Share
    test: Share
    seed: Seed

    def bring(self, out: Path, means: Means) -> "Manifest":
        """Copy the pairs that can be used; the others are set aside with the reason."""
        from diffsynth.datasets.folder import copy_pairs, find_pairs
        from diffsynth.datasets.manifest import MANIFEST, Manifest, require_some, write_manifest
        from diffsynth.runs.files import atomic_folder

        if self.root is None:
            raise UserError(
                "dataset folder needs dataset.root (--root), the folder of your MIDI and audio files"
            )
        pairs, set_aside = find_pairs(Path(self.root), out.resolve(), means.progress, means.say)
        require_some(pairs, set_aside, self.root, "pair of MIDI and audio")
        with atomic_folder(out, MANIFEST) as folder:
            performances = copy_pairs(pairs, folder, self.validation, self.test, self.seed)
            manifest = Manifest(self.name, performances, set_aside)
            write_manifest(folder, manifest)
        return manifest
