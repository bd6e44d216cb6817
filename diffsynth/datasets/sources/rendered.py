"""Performances that an instrument renders: generated ones, or MIDI files of the user's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from diffsynth.config import Natural, NotNegative, Positive, Seed, Share
from diffsynth.datasets.source import Means, Source

if TYPE_CHECKING:
    from diffsynth.datasets.manifest import Manifest


@dataclass(frozen=True)
class Rendered(Source):
    """MIDI files below `root`, or `minutes` of the generator, played by a SoundFont or an SFZ."""

    name: ClassVar[str] = "rendered"

    root: str | None
    instrument: str
    program: Natural
    gain: NotNegative
    minutes: Positive
    seed: Seed
    validation: Share
    test: Share

    def bring(self, out: Path, means: Means) -> "Manifest":
        """Render, or go on. Files that are not MIDI are set aside with the reason; other losses are told."""
        from diffsynth.datasets.composer.corpus import generated_jobs
        from diffsynth.datasets.instrument import Instrument
        from diffsynth.datasets.manifest import MANIFEST, Manifest, write_manifest
        from diffsynth.datasets.rendered import files_of, midi_jobs, render_all
        from diffsynth.datasets.soundfont import RENDER_RATE
        from diffsynth.runs.resuming import resumable_folder, tidy

        shares = self.validation, self.test, self.seed
        jobs, set_aside = (
            (generated_jobs(self.minutes, *shares), [])
            if self.root is None
            else midi_jobs(Path(self.root), out, *shares, means.say)
        )
        # Stored at the rate at which it is played, so that it suits any audio.sample_rate.
        instrument = Instrument(self.instrument, self.program, RENDER_RATE, self.gain, channels=2)
        for line in instrument.check():
            means.say(line)
        with resumable_folder(out, MANIFEST) as folder:
            performances = render_all(jobs, folder, instrument, means.workers, means.progress, resume=True)
            manifest = Manifest(self.name, performances, set_aside)
            write_manifest(folder, manifest)
            tidy(folder, {MANIFEST, *files_of(performances)})
        return manifest
