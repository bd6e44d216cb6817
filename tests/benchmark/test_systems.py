"""What plays: voices given and trained, their pianos, and how they stand in one table."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

from diffsynth.audio.files import read_audio
from diffsynth.benchmark.choosing import check_systems, given_voices, voices_of
from diffsynth.benchmark.pieces import Piece
from diffsynth.benchmark.rendering import render_all
from diffsynth.benchmark.systems import OwnVoice, Playing, pianos_of
from diffsynth.comparison.charts import DASHES, OTHERS, chart, dashes
from diffsynth.comparison.report import systems
from diffsynth.comparison.tables import TIMINGS, Scores, to_markdown
from diffsynth.comparison.verdicts import verdicts
from diffsynth.errors import UserError
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.midi.files import write_midi
from diffsynth.synthesis.bounds import play_bounds
from diffsynth.synthesis.rendering import render_timed
from diffsynth.synthesis.synthesizer import Synthesizer
from diffsynth.synthesis.voice_files import TRAINED, VoiceFile
from diffsynth.synthesis.weights import save_voice


@pytest.fixture
def piece(tmp_path):
    """A second with one note."""
    path = tmp_path / "a.mid"
    write_midi(path, make_events([(0.1, NOTE_ON, 60, 90), (0.8, NOTE_OFF, 60, 0)]), 24000, 60.0)
    return Piece("a", "a", path, path, path, 1.0)


@pytest.fixture
def own(tmp_path, make_voice):
    """Makes a voice of a file of its own."""

    def make(name, playing=Playing(seed=3), **options):  # noqa: B008
        path = tmp_path / f"{name}.safetensors"
        save_voice(path, make_voice(**options), {})
        return OwnVoice(name, VoiceFile(path, TRAINED), playing)

    return make


def rendered(system, piece, folder):
    speeds = render_all([system], [piece], folder, {})
    return read_audio(folder / "renders" / system.key / "a.wav")[0], speeds[system.key]


def test_a_voice_plays_as_in_the_pipeline(own, piece, tmp_path, make_voice):
    audio, speed = rendered(own("mine"), piece, tmp_path)
    expected, times = render_timed(Synthesizer(make_voice(), seed=3), piece.events(), 1.0)
    np.testing.assert_allclose(audio, expected, atol=2**-15)
    assert set(speed.values) == {"rtf", "p50_ms", "p99_ms", "latency_ms"}
    assert len(np.load(tmp_path / "renders" / "mine-512" / "a.npy")) == len(times)


def test_steps_and_backends_are_those_asked_for(own, piece, tmp_path, make_voice, monkeypatch):
    two = Synthesizer(make_voice(), steps=2, seed=3)
    expected, _ = render_timed(two, piece.events(), 1.0)
    audio, _ = rendered(own("mine", Playing(3, 2)), piece, tmp_path)
    np.testing.assert_allclose(audio, expected, atol=2**-15)
    exported = []  # tests/synthesis has what ONNX Runtime computes
    monkeypatch.setattr("diffsynth.synthesis.onnx_step.OnnxStep.of", lambda _, steps: exported.append(steps))
    voice = own("mine", Playing(3, 2, "onnx"))
    assert exported == [2]
    assert (voice.key, voice.origin()["steps"], voice.origin()["backend"]) == ("mine-onnx-512", 2, "onnx")
    once = replace(make_voice(), config=replace(make_voice().config, objective="regression"))
    save_voice(tmp_path / "once.safetensors", once, {})
    file = VoiceFile(tmp_path / "once.safetensors", TRAINED)
    assert OwnVoice("once", file, Playing(3, 2)).origin()["steps"] == 1
    one, _ = render_timed(Synthesizer(make_voice(), seed=3), piece.events(), 1.0)
    assert np.abs(one - expected).max() > 1e-3


def test_the_piano_alone_is_the_bound_of_the_pipeline(own, piece, tmp_path):
    voice = own("mine").voice
    (alone,) = pianos_of([own("mine"), own("same", seed=9)])
    audio, speed = rendered(alone, piece, tmp_path)
    events = to_samples(piece.events(), 24000)
    expected, _ = play_bounds(np.ones(24000, "f4"), events, voice.piano, voice.field())
    np.testing.assert_allclose(audio, expected, atol=2**-15)
    assert np.abs(audio).max() > 0.01
    assert (alone.key, alone.competes, set(speed.values)) == ("excitation", False, {"rtf"})


def test_every_piano_has_a_row(own, piano):
    other = dataclasses.replace(piano, amplitude=0.5 * piano.amplitude)
    voices = [own("a"), own("b", piano=other, block=1024), own("c", model="unet")]
    assert [alone.key for alone in pianos_of(voices)] == ["excitation", "excitation-of-b-1024"]


def test_the_published_network_plays_where_there_is_a_voice_of_it(tmp_path, make_voice, piece):
    said = []
    assert voices_of([("unet", 512)], tmp_path, tmp_path, Playing(), said.append) == []
    assert said[0].startswith("left out unet-512: no weights for unet at 512: run ")
    assert said[0].endswith("`diffsynth bench` times it with random weights")
    save_voice(tmp_path / "512" / "unet.safetensors", make_voice("unet"), {})
    (voice,) = voices_of([("unet", 512)], tmp_path, tmp_path, Playing(), said.append)
    audio, speed = rendered(voice, piece, tmp_path)
    assert (voice.key, len(audio), len(said)) == ("unet-512", 24000, 1)
    assert speed.values["latency_ms"] == 64.0
    with pytest.raises(UserError, match="no weights for s6 at 512"):
        voices_of([("s6", 512)], tmp_path, tmp_path / "none", Playing(), said.append)


def test_a_voice_that_is_given_has_its_name_and_its_own_block(tmp_path, make_voice):
    save_voice(tmp_path / "v=1.safetensors", make_voice("s6", block=2048), {})
    (voice,) = given_voices([f"mine={tmp_path}/v=1.safetensors"], Playing())
    assert (voice.key, voice.model, voice.block) == ("mine-2048", "mine", 2048)
    with pytest.raises(UserError, match=r"a system cannot be called mine-2048 \(again\)"):
        check_systems([voice, voice], [])


def test_systems_without_blocks_compete_and_are_drawn_as_levels():
    def of(model, block, value, offline=False):
        return Scores(model, block, {"log_mel_db": value, "rtf": value}, offline)

    def segments(value):
        return {name: {"log_mel_db": [value, value + 0.1, value - 0.1]} for name in "ab"}

    scores = [of("excitation", None, 3.0), of("lstm", 512, 2.0), of("theirs", None, 1.0, offline=True)]
    found = verdicts(scores, {score.system: segments(score.values["rtf"]) for score in scores})
    assert found.mark(scores[2], "log_mel_db") == "best"
    assert found.mark(scores[1], "log_mel_db") == ""
    assert "**1.000**" in to_markdown(scores, found)
    assert "Bold: the best system;" in to_markdown(scores, found)
    assert "Bold: the best model;" in to_markdown(scores[:2], found)
    assert dashes(scores) == {"excitation": DASHES["excitation"], "theirs": OTHERS[0]}
    rules = [
        layer for layer in chart("rtf", TIMINGS["rtf"], scores, found)["layer"] if "values" in layer["data"]
    ]
    drawn = {value["name"] for layer in rules for value in layer["data"]["values"] if "name" in value}
    assert drawn == {"piano alone", "theirs", "real time"}


def test_the_page_names_systems_with_and_without_blocks():
    class Track:
        def __init__(self, system):
            self.system = system

    class Clip:
        tracks = [Track(name) for name in ("recording", "lstm-512", "theirs", "excitation")]  # noqa: RUF012

    scores = [Scores("excitation", None, {}), Scores("lstm", 512, {}), Scores("theirs", None, {}, True)]
    listed = [(each["name"], each["group"], each["key"]) for each in systems(scores, [Clip])]
    assert listed == [
        ("recording", "", "r"),
        ("lstm at 512", "lstm", "1"),
        ("theirs", "other systems", "2"),
        ("piano alone", "references", "p"),
    ]
