"""Whether FluidSynth and its SoundFont are installed."""

from pathlib import Path

import pytest

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
try:
    import fluidsynth  # noqa: F401

    missing = "" if SOUNDFONT.is_file() else f"{SOUNDFONT} is not installed"
except ImportError:
    missing = "libfluidsynth is not installed"
needs_fluidsynth = pytest.mark.skipif(bool(missing), reason=missing or "installed")
