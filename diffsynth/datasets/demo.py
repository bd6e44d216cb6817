"""The committed demo dataset and how it was made.

`diffsynth salamander && python -m diffsynth.datasets.demo`, run in the repository, makes data/demo again,
byte for byte on the same versions of sfizz, soxr and libFLAC.
"""

from pathlib import Path

from diffsynth.datasets.composer.generator import every_key, generate
from diffsynth.datasets.composer.score import HELD_BACK, PIECES, play, read_piece
from diffsynth.datasets.composer.textures import DENSE
from diffsynth.datasets.instrument import Instrument
from diffsynth.datasets.manifest import MANIFEST, Manifest, write_manifest
from diffsynth.datasets.rendered import Job, render_all
from diffsynth.runs.files import atomic_folder

FOLDER = Path("data/demo")
GRAND = "instruments/salamander/salamander.sfz"  # where `diffsynth salamander` puts it
GAIN = 1.2
LICENSE_FILE = "LICENSE.md"

# Seeds were chosen by note rate, range and loudness: see the titles.
_MUSIC = (
    (7, 40, "train", "fast and full"),
    (10, 40, "train", "loud, with sostenuto pedal"),
    (3, 28, "validation", "mixed"),
    (12, 28, "test", "very soft to very loud, over the whole keyboard"),
)
_DENSE_MUSIC = ((39, 22, "train", "loud"), (21, 22, "test", "with una corda"))


def demo_jobs() -> list[Job]:
    """The performances of the demo dataset; no piece and no seed is in two splits."""
    jobs = [Job("keys", "train", every_key(0), "Every key by itself at three velocities")]
    for seed, seconds, split, what in _MUSIC:
        jobs.append(
            Job(f"music_{seed}", split, generate(seed, seconds), f"Generated music, seed {seed}: {what}")
        )
    for seed, seconds, split, what in _DENSE_MUSIC:
        events = generate(seed, seconds, DENSE)
        jobs.append(Job(f"dense_{seed}", split, events, f"Generated dense music, seed {seed}: {what}"))
    for name in PIECES:
        score = read_piece(name)
        jobs.append(Job(name, HELD_BACK.get(name, "train"), play(score, seed=0), score.title))
    return sorted(jobs, key=lambda job: job.name)


def build_demo(folder: Path = FOLDER, grand: str = GRAND, workers: int = 2) -> Manifest:
    """Render the demo dataset into a folder, replacing what is there.

    Raises:
        UserError: sfizz or the SFZ is missing.
    """
    with atomic_folder(folder, MANIFEST) as temporary:
        manifest = Manifest(
            "demo", render_all(demo_jobs(), temporary, Instrument(grand, gain=GAIN), workers), []
        )
        write_manifest(temporary, manifest)
        (temporary / LICENSE_FILE).write_text(LICENSE, encoding="utf8")
    return manifest


LICENSE = f"""\
# Where this data comes from

**Performances** (`*.mid`). `keys`, `music_*` and `dense_*` were made by the seeded generator of this
project. The other files are openings of pieces whose composers died before 1926 (J. S. Bach,
L. van Beethoven, F. Chopin, E. Satie) and which are in the public domain; their notes were typed in
for this project (`diffsynth/datasets/composer/scores/`) and tempo, dynamics and pedal were added by a seeded
function. All of them are part of this project and under its MIT licence.

**Audio** (`*.flac`). The performances played by the Salamander Grand Piano V3, a Yamaha C5 recorded by
Alexander Holm (https://archive.org/details/SalamanderGrandPianoV3), under the Creative Commons
Attribution 3.0 Unported licence (CC BY 3.0, https://creativecommons.org/licenses/by/3.0/). Whoever passes
these files on names him and the licence.

What was changed: sfizz played the recordings from MIDI, with 16 velocity layers, releases of keys, string
resonances and pedal noises (`diffsynth salamander` brings them and writes the SFZ); 24 kHz, mono (mean of
both channels), 16 bits, gain {GAIN}, not normalised.

`diffsynth salamander && python -m diffsynth.datasets.demo` makes this folder again.
"""

if __name__ == "__main__":
    build_demo()
