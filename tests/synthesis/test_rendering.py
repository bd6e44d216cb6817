import numpy as np
import pytest

from diffsynth.synthesis.rendering import _timings
from diffsynth.synthesis.synthesizer import Synthesizer


def test_timings_by_hand(make_voice):
    synthesizer = Synthesizer(make_voice("lstm", 512))
    # Four blocks of 512 samples at 24 kHz last 85.33 ms; making them took 10 ms.
    timings = _timings(synthesizer, np.array([0.001, 0.004, 0.002, 0.003]), 4 * 512 / 24000)
    assert timings["rtf"] == pytest.approx(0.1172, abs=1e-4)
    assert timings["p50_ms"] == 2.5
    assert timings["p99_ms"] == pytest.approx(3.97)
    assert (timings["block"], timings["model"], timings["seconds"]) == (512, "lstm", 0.085)
