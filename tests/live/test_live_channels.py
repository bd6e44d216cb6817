"""Playing live in two channels."""

from dataclasses import replace

import numpy as np
import pytest

from diffsynth.audio.files import read_audio
from diffsynth.audio.recording import RecordingFile
from diffsynth.live.clock import Clock
from diffsynth.live.engine import Engine
from diffsynth.live.ring import Ring, Tap
from diffsynth.live.sources import FileSource
from diffsynth.midi.events import NOTE_ON, make_events
from diffsynth.synthesis.synthesizer import Synthesizer, render

RATE, BLOCK = 24000, 512


@pytest.fixture
def voice(make_voice):
    """A voice that hears each mode on the left and on the right as loud and as late as chance has it."""
    mono, generator = make_voice(), np.random.default_rng(1)
    real, imaginary = generator.standard_normal((2, 2, len(mono.piano.key)))
    audio = replace(mono.config.audio, channels=2)
    return replace(
        mono,
        config=replace(mono.config, audio=audio),
        piano=replace(mono.piano, image=real + 1j * imaginary),
    )


def test_what_is_heard_is_what_render_makes(voice, tmp_path):
    rng = np.random.default_rng(3)
    events = make_events([(rng.random(), NOTE_ON, int(rng.integers(30, 90)), 80) for _ in range(20)])
    ring = Ring(2, BLOCK, 2)
    tap, clock = Tap(ring), Clock()
    clock.set(0.0, 1000.0)
    while ring.write(ring.empty(BLOCK)):
        pass
    engine = Engine(Synthesizer(voice), FileSource(events, RATE, -BLOCK), tap, clock, RATE)
    heard = []
    with RecordingFile(tmp_path / "heard.wav", RATE, 2) as file:
        while not engine.over:
            heard.append(ring.empty(300))  # a device asks for other numbers of samples
            tap.fill(heard[-1])
            file.write(heard[-1])
            while ring.waiting < ring.slots:
                engine.advance()
    heard = np.concatenate(heard)
    expected = render(Synthesizer(voice), events)
    start = 2 * BLOCK
    length = min(len(heard) - start, len(expected))
    assert length > RATE
    np.testing.assert_array_equal(heard[start : start + length], expected[:length])
    assert np.abs(heard[:, 0] - heard[:, 1]).max() > 0.01
    written, _ = read_audio(tmp_path / "heard.wav", 2)
    np.testing.assert_allclose(written, heard.clip(-1, 1), atol=1 / 32768)
