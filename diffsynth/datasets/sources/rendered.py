"""Performances that FluidSynth renders: generated ones, or MIDI files of the user's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from diffsynth.config import Natural, NotNegative, Positive, Seed, Share
from diffsynth.datasets.source import Means, Source

if TYPE_CHECKING:
    from diffsynth.datasets.manifest import Manifest


@dataclass(frozen=True)
class Rendered(Source):
    """MIDI files below `root`, or `minutes` of the generator, played by a program of a SoundFont."""

    name: ClassVar[str] = "rendered"

    root: str | None
    soundfont: str
    program: Natural
    gain: NotNegative
    minutes: Positive
    seed: Seed
    validation: Share
    test: Share

    def bring(self, out: Path, means: Means) -> "Manifest":
        """Render. Files that are not MIDI are set aside with the reason; other losses are reported."""
        from diffsynth.datasets.composer.corpus import generated_jobs
        from diffsynth.datasets.manifest import MANIFEST, Manifest, write_manifest
        from diffsynth.datasets.rendered import Instrument, midi_jobs, render_all
        from diffsynth.datasets.soundfont import RENDER_RATE, check
        from diffsynth.runs.files import atomic_folder

        shares = self.validation, self.test, self.seed
        jobs, set_aside = (
            (generated_jobs(self.minutes, *shares), [])
            if self.root is None
            else midi_jobs(Path(self.root), out, *shares, means.say)
        )
        check(self.soundfont, self.program)
        # Stored at the rate at which it is played, so that it suits any audio.sample_rate.
        instrument = Instrument(self.soundfont, self.program, RENDER_RATE, self.gain)
        with atomic_folder(out, MANIFEST) as folder:
            performances = render_all(jobs, folder, instrument, means.workers, means.progress)
            manifest = Manifest(self.name, performances, set_aside)
            write_manifest(folder, manifest)
        return manifest
