"""The committed demo dataset."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from diffsynth.datasets.source import Means, Source

if TYPE_CHECKING:
    from diffsynth.datasets.manifest import Manifest


@dataclass(frozen=True)
class Demo(Source):
    """The demo dataset; it takes no options."""

    name: ClassVar[str] = "demo"
    folder: ClassVar[Path] = Path("data/demo")

    def bring(self, out: Path, means: Means) -> "Manifest":  # noqa: ARG002
        """Copy it, having checked every file."""
        from diffsynth.datasets.manifest import MANIFEST, read_manifest, verify
        from diffsynth.runs.files import atomic_folder

        manifest = read_manifest(self.folder)
        verify(self.folder, manifest)
        with atomic_folder(out, MANIFEST) as folder:
            shutil.copytree(self.folder, folder, dirs_exist_ok=True)
            verify(folder, manifest)
        return manifest
