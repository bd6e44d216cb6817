"""What tests of data sources share: parameters, and pairs of MIDI and audio."""

from pathlib import Path

import numpy as np
import soundfile

from diffsynth.datasets.source import Means
from diffsynth.midi.events import NOTE_ON, make_events
from diffsynth.midi.files import write_midi
from pipeline.params import load_params

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "data" / "demo"
QUIET = Means(progress=False)


def dataset(**changes):
    """The source that the committed parameters name, changed."""
    return load_params(
        ROOT / "params.yaml", {f"dataset.{key}": value for key, value in changes.items()}
    ).dataset


def write_pair(folder, name, suffix=".wav", rate=22050, seconds=1.0, **options):
    """A note and a tone."""
    path = folder / f"{name}.mid"
    write_midi(path, make_events([(0.1, NOTE_ON, 60, 80), (0.5, 0, 60, 0)]))
    tone = 0.5 * np.sin(np.arange(int(seconds * rate)) / 10)
    soundfile.write(path.with_suffix(suffix), tone, rate, **options)
