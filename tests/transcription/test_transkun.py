"""Transkun heard window by window: the same as by its own command, with what it is sure of."""

from pathlib import Path

import numpy as np
import pytest

from diffsynth.audio.files import read_audio, resample

DEMO = Path(__file__).parents[2] / "data" / "demo"


@pytest.mark.filterwarnings("error")
def test_windows_one_by_one_give_what_the_package_gives():
    pytest.importorskip("transkun")
    import torch

    from diffsynth.transcription.transkun import Transkun, quiet

    network = Transkun(hop=1.0, window=2.0)
    audio, rate = read_audio(DEMO / "beethoven_fuer_elise.flac")
    samples = resample(audio[rate : 6 * rate], rate, network.rate)
    heard, onsets = network.hear(samples)
    with quiet(), torch.inference_mode():
        notes = network.network.transcribe(torch.from_numpy(samples[:, None]), 1.0, 2.0)
    for field, name in (("onset", "start"), ("offset", "end"), ("pitch", "pitch"), ("velocity", "velocity")):
        np.testing.assert_allclose(heard[field], [getattr(note, name) for note in notes], atol=1e-9)
    assert len(notes) > 4
    sure = heard["probability"][heard["pitch"] > 0]
    assert (sure <= 1).all()
    assert (sure > 0.4).all()  # windows of 2 s are too short to be surer
    alone = onsets.elsewhere([], [])
    assert 0 < onsets.elsewhere(heard["onset"], heard["pitch"]) < alone - 0.9 * sure.sum()
