"""What plays rendered performances: a SoundFont or an SFZ, which the suffix of its file tells apart."""

from dataclasses import dataclass
from pathlib import Path

from diffsynth.audio.channels import converted
from diffsynth.audio.files import Audio
from diffsynth.datasets.sfz import RENDER_RATE, check_sfz, render_sfz
from diffsynth.datasets.soundfont import (
    GAIN,
    GRID_RESOLUTION,
    GRID_TEMPO,
    TICK,
    check,
    render_soundfont,
    snap,
)
from diffsynth.midi.events import Events
from diffsynth.midi.files import write_midi

SFZ = ".sfz"  # sfizz plays it; FluidSynth plays all other files (.sf2, .sf3)
SAMPLE = 1 / RENDER_RATE  # s, a tick of the MIDI files of an SFZ ...
SAMPLE_RESOLUTION = 24000  # ... so many to a quarter note ...
SAMPLE_TEMPO = 60 / (SAMPLE_RESOLUTION * SAMPLE)  # ... at 120 quarter notes per minute


@dataclass(frozen=True)
class Instrument:
    """An instrument, and how it is played.

    Attributes:
        path: of the SoundFont or SFZ.
        program: General MIDI program of a SoundFont; an SFZ has none.
        sample_rate: of what is rendered, Hz.
        gain: linear, of the synthesizer.
        channels: of what is rendered: 1, the mean of left and right; or 2.
    """

    path: str
    program: int = 0
    sample_rate: int = 24000
    gain: float = GAIN
    channels: int = 1

    @property
    def is_sfz(self) -> bool:
        """Whether sfizz plays it."""
        return Path(self.path).suffix.lower() == SFZ

    def check(self) -> list[str]:
        """Lines that say what of the instrument will not be heard.

        Raises:
            UserError: the instrument, its program or what plays it is missing.
        """
        if self.is_sfz:
            return check_sfz(self.path)
        check(self.path, self.program)
        return []

    def state(self) -> list[tuple[str, int, int]]:
        """Names, sizes and times of its files, to see a change: for an SFZ of all files in its folder."""
        path = Path(self.path)
        files = sorted(path.parent.rglob("*")) if self.is_sfz else [path]
        return [
            (str(file.relative_to(path.parent)), file.stat().st_size, file.stat().st_mtime_ns)
            for file in files
            if file.is_file()
        ]

    def snap(self, events: Events) -> Events:
        """Events at times when the instrument can be played, which are what its labels are."""
        return snap(events, SAMPLE if self.is_sfz else TICK)

    def write_midi(self, path: Path, events: Events) -> None:
        """Write events that `snap` has moved; the file holds their times exactly."""
        grid = (SAMPLE_RESOLUTION, SAMPLE_TEMPO) if self.is_sfz else (GRID_RESOLUTION, GRID_TEMPO)
        write_midi(path, events, *grid)

    def play(self, events: Events) -> Audio:
        """[time], or [time, 2]; it may exceed -1..1.

        Raises:
            UserError: see `check`.
        """
        if self.is_sfz:
            return converted(render_sfz(events, self.path, self.sample_rate, self.gain), self.channels)
        options = self.sample_rate, self.program, self.gain, self.channels
        return render_soundfont(events, self.path, *options)
