"""From a folder of audio alone to a voice, by three commands: transcribe, the pipeline, render."""

from difflib import SequenceMatcher
from pathlib import Path

import pytest
import yaml
from support.pipeline_stages import YAML
from support.small_project import SMALL, torch_as_it_was
from support.source_files import ROOT

from diffsynth.audio.files import read_audio, resample, write_audio
from diffsynth.datasets.composer.score import read_piece
from diffsynth.evaluation.pair import Pair
from diffsynth.evaluation.registry import measure
from diffsynth.midi.events import NOTE_ON
from diffsynth.midi.files import read_midi
from diffsynth.runs.files import read_json
from pipeline.app import run
from pipeline.params import load_params

MINUTE = ROOT / "tests" / "recordings" / "bwv846-prelude.ogg"  # a real grand, CC0
PARTS = {"first": (0.9, 8.9), "second": (8.9, 16.9)}  # s; one is to train, the other to validate
VOICE = ("lstm", 1024)
STAGES = ["download", "align", "shard", "fit", "features", "train"]  # as `dvc exp run train@lstm-1024` does


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """A folder of two recordings, in a project with small parameters; then PyTorch is as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("diffsynth.fitting.balance.MOST", 1000)
    audio, rate = read_audio(MINUTE)
    for name, (begin, end) in PARTS.items():
        write_audio(
            tmp_path / "recordings" / f"{name}.flac", audio[int(begin * rate) : int(end * rate)], rate
        )
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in SMALL.items():
        params[section] |= values
    params["dataset"] |= {"name": "folder", "root": "recordings"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    with torch_as_it_was():
        yield tmp_path / "recordings"


def pitches(path):
    events = read_midi(path)
    return events["number"][events["kind"] == NOTE_ON].tolist()


def test_three_commands_from_recordings_to_a_voice_that_plays(recordings, capsys):
    pytest.importorskip("transkun")
    assert run(["transcribe", "recordings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["first", "second"]
    score = [stroke.key for stroke in read_piece("bach_prelude_c").strokes]
    first, second = (pitches(recordings / f"{name}.mid") for name in PARTS)
    assert first == score[: len(first)]
    assert len(first) > 20
    entry = read_json(recordings / "first.transcription.json")["entry"]
    assert entry["sure"] > 0.95
    assert entry["missed"] < 0.03
    rest = score[len(first) :][: len(second)]  # it begins where the first ends, while notes sound
    assert SequenceMatcher(None, rest, second).ratio() > 0.9

    commands = [YAML[stage]["cmd"].split()[3:] for stage in STAGES[:-1]]
    for words in [*commands, ["train", "--model", VOICE[0], "--block", str(VOICE[1])]]:
        assert run(words) == 0, words

    voice = f"models/{VOICE[1]}/{VOICE[0]}.safetensors"
    assert run(["render", "recordings/first.mid", "played.wav", "--weights", voice]) == 0
    played, rate = read_audio("played.wav")
    recorded = resample(*read_audio(recordings / "first.flac"), rate)
    length = min(len(recorded), len(played))
    scores = measure(
        Pair(recorded[:length], played[:length], rate, load_params(Path("params.yaml")).evaluate)
    )
    assert scores["onset_f1"] > 0.9  # .98; moved by half a second .77
    assert scores["spectral_convergence"] < 0.6  # .36; moved 1.18
    assert scores["level_difference_db"] < 3.0  # .2
