"""What models lie between: nothing learned, all gains right, the recording itself."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from support.block_playing import RATE, music

from diffsynth.audio.format import AudioFormat
from diffsynth.midi.events import to_samples
from diffsynth.piano.playing import play_whole
from diffsynth.representation.config import Features
from diffsynth.representation.gain_field import GainField
from diffsynth.representation.targets import Targets
from diffsynth.synthesis.bounds import play_bounds, play_other
from diffsynth.synthesis.synthesizer import blocks_of

FRAME, LENGTH = 128, 2 * RATE + 1000  # not a whole number of frames or blocks
EVENTS = to_samples(music(), RATE)


def field_of(piano):
    return GainField(piano, AudioFormat(RATE, FRAME), Features(64, 0, 10500.0, 700.0, 1024, -80.0, 1, [1.0]))


def played(piano):
    return play_whole(piano, EVENTS, RATE, FRAME, LENGTH)


def distance(recording, audio):
    return np.linalg.norm(recording - audio) / np.linalg.norm(recording)


def test_the_excitation_is_the_piano_and_right_gains_are_the_recording(piano):
    """A piano that is half as loud in all modes is wrong by one gain, which right gains make good."""
    softer = replace(piano, amplitude=piano.amplitude / 2)
    recording = played(piano)
    alone, ideal = play_bounds(recording, EVENTS, softer, field_of(softer))
    assert len(alone) == len(ideal) == LENGTH
    np.testing.assert_array_equal(alone, played(softer))
    assert distance(recording, alone) == pytest.approx(0.5, abs=1e-4)
    assert distance(recording, ideal) < 0.02


def test_right_gains_are_those_of_bands(piano):
    """Of a piano whose high partials are too soft, most is made good; what shares a band is not."""
    brighter = replace(piano, amplitude=piano.amplitude * np.where(piano.frequency > 1000, 1, 0.3))
    recording = played(piano)
    alone, ideal = play_bounds(recording, EVENTS, brighter, field_of(brighter))
    assert distance(recording, ideal) < 0.4 * distance(recording, alone)


def test_a_voice_that_predicts_every_gain_plays_the_same(make_voice, piano):
    """The bound is what the engine makes of right data, but for the first hop, which it begins at 0 dB."""
    voice = make_voice(block=1024, piano=replace(piano, amplitude=0.6 * piano.amplitude), shared=True)
    recording, field, player = played(piano), voice.field(), voice.player()
    alone, ideal = play_bounds(recording, EVENTS, voice.piano, field)
    padded = np.pad(recording, (0, -LENGTH % 4096))
    gains, _ = Targets(field.features, field.audio)(field.levels(padded, np.pad(alone, (0, -LENGTH % 4096))))
    data = voice.normaliser.forward(gains).reshape(-1, *player.shape)
    sound = []
    for x, part in zip(data, blocks_of(music(), RATE, 1024, len(padded)), strict=True):
        player.condition(part)
        sound.append(player.audio(x))
    np.testing.assert_allclose(
        np.concatenate(sound)[2 * FRAME : LENGTH - 4096], ideal[2 * FRAME : LENGTH - 4096], atol=1e-5
    )


@pytest.fixture(scope="module")
def measured(project, tmp_path_factory):
    """A folder in which the command has run."""
    folder = tmp_path_factory.mktemp("bounds")
    data = ["--aligned", project.data / "aligned", "--fit", project.data / "fit" / "piano.safetensors"]
    assert project.run("bounds", *data, folder=folder) == 0
    return folder


def test_another_piano_is_as_loud_as_the_recording_unless_it_would_be_clipped(piano):
    audio = AudioFormat(RATE, FRAME)
    recording = played(piano)
    other = play_other(recording, EVENTS, audio)
    assert len(other) == LENGTH
    assert np.linalg.norm(other) == pytest.approx(np.linalg.norm(recording), rel=1e-5)
    assert np.abs(other).max() < 1.0
    loud = play_other(1000 * recording, EVENTS, audio)
    assert np.abs(loud).max() == pytest.approx(1.0, rel=1e-6)
    np.testing.assert_allclose(loud / np.linalg.norm(loud), other / np.linalg.norm(other), atol=1e-7)
    np.testing.assert_array_equal(play_other(recording, EVENTS[:0], audio), np.zeros(LENGTH))


def test_the_command_measures_all_five(measured):
    reports = {
        path.stem: json.loads(path.read_text()) for path in (measured / "results/metrics/bounds").iterdir()
    }
    assert {name: (r["model"], "block" in r) for name, r in reports.items()} == {
        name: (name, False)
        for name in ("another_piano", "excitation", "ideal_gains", "low_pass", "recording")
    }
    alone, ideal, recording = (
        reports[name]["metrics"] for name in ("excitation", "ideal_gains", "recording")
    )
    assert recording["onset_f1"] == recording["pitch_accuracy"] == 1.0
    for name in ("spectral_convergence", "log_mel_db"):
        assert 0.0 == recording[name] < ideal[name] < alone[name]
    other = reports["another_piano"]["metrics"]  # the notes are right, and the sound is not
    assert other["spectral_convergence"] > alone["spectral_convergence"]
    assert other["log_mel_db"] > alone["log_mel_db"]
    low = reports["low_pass"]["metrics"]  # lacks what is soft and high: little of the norm, many bands
    assert 0.0 < low["spectral_convergence"] < ideal["spectral_convergence"]
    assert low["log_mel_db"] > 0.3
    assert low["pitch_accuracy"] > ideal["pitch_accuracy"]


def test_what_it_measured_is_kept(measured, project):
    for name in ("another_piano", "excitation", "ideal_gains", "low_pass"):
        audio, rate = soundfile.read(measured / "results/renders/bounds" / name / "music_12.wav")
        recording, _ = soundfile.read(project.data / "aligned" / "music_12.flac")
        assert (len(audio), rate) == (len(recording), RATE)
        assert (measured / "results/figures/bounds" / name / "music_12.png").is_file()


def test_earlier_stages_are_named(refuse):
    assert refuse("bounds") == (
        "data/fit/piano.safetensors does not exist; run `diffsynth fit && diffsynth align` first"
    )
