"""`diffsynth listen` at the command line: what it refuses, Ctrl-C, results and webMUSHRA."""

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
import time

import numpy as np
import pytest
import yaml
from support.listening_sounds import CLIPS, RATE, SYSTEMS, sound

from diffsynth.audio.files import read_audio, write_audio
from diffsynth.listening.answers import AnswerBook
from diffsynth.listening.clips import Clip, choose_clips
from diffsynth.listening.design import Design
from pipeline.app import run
from pipeline.listen import _systems


@pytest.fixture
def listen(sounds, tmp_path, monkeypatch):
    """Runs the command in a folder of its own; returns its exit code."""
    monkeypatch.chdir(tmp_path)
    places = ["--aligned", sounds / "aligned", "--renders", sounds / "renders"]
    return lambda *words: run([str(word) for word in ["listen", *places, *words]])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "abx"], "kind"),
        (["--system", "lstm-4096"], "has no renders of lstm-4096 (excitation, lstm-512, s6-512 or s6-2048)"),
        (["--system", "mine=nowhere"], "nowhere is not a folder"),
        (["--system", "s6-512", "--system", "s6-512"], "a system cannot be called s6-512"),
        (["--system", "recording"], "a system cannot be called recording"),
        (["--system", "../mine=alpha"], "--system takes NAME=..., letters, digits"),
        (["--system", "=alpha"], "--system takes NAME=..., letters, digits"),
        (["--clip", "echo"], "aligned holds no performance 'echo'\n"),
        (["--clip", "alpha.wav"], "aligned holds no performance 'alpha.wav' (did you mean alpha?)"),
        (["--clip", "../aligned/alpha"], "aligned holds no performance '../aligned/alpha'"),
        (["--clip", "alpha", "--clip", "alpha@0"], "the clip alpha is given twice"),
        (["--clip", "alpha@0.05", "--clip", "alpha@0.0500000001"], "the clip alpha@0.05 is given twice"),
        (["--clip", "alpha@later"], "--clip takes NAME or NAME@SECONDS, not 'alpha@later'"),
        (["--clip", ""], "--clip takes NAME or NAME@SECONDS, not ''"),
        (
            ["--clip", "alpha@0.3"],
            "the clip alpha@0.3 is too short: alpha has 0.60 s, and a clip needs 0.5 s",
        ),
        (["--results", "--export", "web"], "choose one of --results and --export"),
        (["--results", "--kind", "mos"], "choose one of --results and --kind"),
        (["--export", "web", "--show"], "choose one of --export and --show"),
        (["--export", "web", "--out", "listening"], "choose one of --export and --out"),
        (["--screen"], "--screen goes with --results"),
        (["--results"], "listening holds no listening test; run `diffsynth listen` first"),
        (["--renders", "none"], "none does not exist; run `"),
        (["--aligned", "none"], "none does not exist; run `"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(listen, words, message, capsys, tmp_path):
    assert listen(*words) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_one_line_and_leaves_nothing(listen, capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert listen("--port", port) == 2
    error = f"diffsynth: cannot listen at port {port}: Address already in use\n"
    assert capsys.readouterr() == ("", error)
    assert list(tmp_path.iterdir()) == []


def test_the_last_of_many_clips_is_checked_before_the_first_is_read(sounds, tmp_path, capsys):
    folder = tmp_path / "aligned"
    shutil.copytree(sounds / "aligned", folder)
    (tmp_path / "mine").mkdir()
    for name in CLIPS[:-1]:
        (tmp_path / "mine" / f"{name}.wav").write_text("no sound")
    clips = [word for name in CLIPS for word in ("--clip", name)]
    words = ["--aligned", folder, "--system", f"mine={tmp_path}/mine", "--out", tmp_path / "l", *clips]
    assert run([str(word) for word in ["listen", *words]]) == 2
    assert capsys.readouterr().err == f"diffsynth: {tmp_path}/mine holds no delta.wav or delta.flac\n"
    assert not (tmp_path / "l").exists()


def test_a_performance_may_have_the_sign_of_a_beginning_in_its_name(sounds, tmp_path):
    shutil.copy(sounds / "aligned" / "alpha.wav", tmp_path / "take@1.wav")
    systems = {"recording": tmp_path, "mine": tmp_path}
    for given in ([], ["take@1"], ["take@1@0"]):
        assert choose_clips(given, systems) == [Clip("take@1")]
    assert choose_clips(["take@1@0.1"], systems)[0].label == "take@1@0.1"


def answer(folder, participant, values):
    """Rate all pages of a participant without a browser; `values` by kind and system."""
    book = AnswerBook(folder)
    answers = book.answers(book.design(), participant)
    for index, trial in enumerate(answers.trials):
        for system in trial.systems:
            answers.rate(index, system, values[trial.kind][system])
        answers.finish(index)
    book.save(answers)


def interrupt_when(ready):
    """Press Ctrl-C as soon as `ready()` is true."""

    def wait():
        while not ready():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def answers_at(port):
    """Whether a server takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def test_ctrl_c_ends_it_and_the_ratings_give_results(listen, tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    interrupt_when(lambda: (tmp_path / "listening" / "test.json").is_file() and answers_at(port))
    assert (
        listen("--kind", "both", "--clip", "alpha", "--clip", "bravo@0.05", "--seed", 3, "--port", port) == 0
    )
    assert "the same command goes on" in capsys.readouterr().err
    assert listen("--results") == 2
    assert "no page that somebody has finished" in capsys.readouterr().err
    mos = {name: 1 + number for number, name in enumerate(SYSTEMS)}
    models = {name: 20 * number for number, name in enumerate(SYSTEMS[1:])}
    for who, hidden in (("anna", 100), ("ben", 95), ("carl", 40)):
        values = {"mos": mos, "mushra": {**models, "recording": hidden, "anchor35": 5}}
        answer(tmp_path / "listening", who, values)
    assert listen("--results") == 0
    out, error = capsys.readouterr()
    assert error == "diffsynth: often missed the hidden reference: carl (kept; --screen leaves them out)\n"
    assert "| lstm-512   |       6 |   3.00 | 3.00 to 3.00     |" in out
    assert "| recording  |       6 |  78.33 |" in out
    assert listen("--results", "--screen") == 0
    assert "| recording  |       4 |  97.50 | 92.91 to 102.09" in capsys.readouterr().out  # t of 3: 3.182
    written = {path.name for path in (tmp_path / "listening" / "results").iterdir()}
    ends = (".csv", "-tests.csv", "-ratings.csv", ".png")
    assert written == {f"{kind}{end}" for kind in ("mos", "mushra") for end in ends}


@pytest.fixture
def rated(tmp_path):
    """The folder of a test that anna has finished; changes a file of it."""
    book = AnswerBook(tmp_path / "listening")
    book.open(Design(("mos",), ("recording",), ("alpha",), 1.0, 0), {}, -23.0)
    answer(book.folder, "anna", {"mos": {"recording": 5}})

    def change(name, part, values):
        path = book.folder / name
        content = json.loads(path.read_text())
        found = content
        for key in part:
            found = found[key]
        found.update(values)
        path.write_text(json.dumps(content))

    return change


TRIAL = ("trials", 0)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        (TRIAL, {"ratings": {}}),
        (TRIAL, {"ratings": {"recording": 6}}),
        (TRIAL, {"ratings": {"recording": True}}),
        (TRIAL, {"kind": "abx"}),
        (TRIAL, {"clip": "bravo"}),
        (TRIAL, {"clip": ["alpha"]}),
        (TRIAL, {"systems": ["lstm-512"], "ratings": {"lstm-512": 3}}),
        (TRIAL, {"done": "yes"}),
        ((), {"participant": 1}),
        ((), {"participant": "ben"}),
        ((), {"trials": []}),
        ((), {}),
    ],
)
def test_ratings_that_nobody_can_have_given_are_refused(part, change, rated, listen, capsys):
    rated("ratings/anna.json", part, change)
    assert listen("--results") == (2 if change else 0)
    wrong = "diffsynth: listening/ratings/anna.json does not hold the ratings of this listening test\n"
    assert capsys.readouterr().err == (wrong if change else "")


@pytest.mark.parametrize(
    "change",
    [
        {"kinds": []},
        {"kinds": ["abx"]},
        {"kinds": "mos"},
        {"systems": []},
        {"systems": [1, "recording"]},
        {"systems": [["recording"], "recording"]},
        {"systems": ["recording", "recording"]},
        {"clips": []},
        {"more": 1},
    ],
)
def test_a_test_that_no_command_has_written_is_refused(change, rated, listen, capsys):
    rated("test.json", ["design"], change)
    assert listen("--results") == 2
    assert capsys.readouterr() == ("", "diffsynth: listening/test.json is not a listening test\n")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("test.json", "[" * 100000, "test.json is not readable as JSON: "),
        ("test.json", None, "test.json is not a listening test"),  # without its secret
        ("ratings/anna.json", "{}", "anna.json does not hold the ratings of this listening test"),
    ],
)
def test_a_broken_file_is_named_before_anybody_is_asked(name, text, message, listen, tmp_path, capsys):
    interrupt_when((tmp_path / "listening" / "test.json").is_file)
    assert listen("--clip", "alpha") == 0
    path = tmp_path / "listening" / name
    path.parent.mkdir(exist_ok=True)
    if text is None:
        content = json.loads(path.read_text())
        del content["secret"]
        text = json.dumps(content)
    path.write_text(text)
    capsys.readouterr()
    assert listen("--clip", "alpha") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1


def test_another_test_and_other_sounds_are_refused(listen, tmp_path, capsys, sounds):
    folder = tmp_path / "mine"
    for clip in CLIPS:
        write_audio(folder / f"{clip}.wav", sound(clip, "s6-512"), RATE)
    words = ["--out", tmp_path / "l", "--system", f"mine={folder}"]
    interrupt_when(lambda: (tmp_path / "l" / "test.json").is_file())
    assert listen(*words) == 0
    write_audio(folder / "alpha.wav", sound("alpha", "s6-2048"), RATE)
    capsys.readouterr()
    for more in ([], ["--seed", 1], ["--kind", "both"]):
        assert listen(*words, *more) == 2
        assert (
            "holds a test of other systems, clips or sounds; choose another --out" in capsys.readouterr().err
        )


def test_the_same_test_is_written_for_webmushra(listen, tmp_path, sounds):
    assert listen("--export", "web", "--kind", "both", "--system", "lstm-512", "--clip", "alpha") == 0
    assert not (tmp_path / "listening").exists()
    config = yaml.safe_load((tmp_path / "web" / "listening.yaml").read_text())
    (random, *mos), (_, mushra), finish = config["pages"]
    assert (random, finish["type"]) == ("random", "finish")
    assert [page["type"] for page in mos] == ["likert_single_stimulus"] * 2
    assert [point["value"] for point in mos[0]["response"]] == [1, 2, 3, 4, 5]
    assert (mushra["type"], mushra["createAnchor35"]) == ("mushra", True)
    assert set(mushra["stimuli"]) == {"lstm-512"}
    stimuli = [path for page in (mushra, *mos) for path in page["stimuli"].values()]
    named = [mushra["reference"], *stimuli]
    assert len(named) == 4
    for place in named:  # relative to webMUSHRA's root, where the folder is called configs
        samples, rate = read_audio(tmp_path / "web" / place.removeprefix("configs/"))
        system = place.rpartition("/")[2].removesuffix(".wav")
        assert rate == RATE
        assert np.corrcoef(samples, sound("alpha", system))[0, 1] > 0.95


def test_without_a_choice_two_pianos_are_rated_beside_the_models(tmp_path):
    for place in ("bounds/low_pass", "bounds/another_piano", "bounds/excitation", "4096/s6", "512/s6"):
        (tmp_path / place).mkdir(parents=True)
    assert {name: path.relative_to(tmp_path).as_posix() for name, path in _systems([], tmp_path).items()} == {
        "another_piano": "bounds/another_piano",
        "excitation": "bounds/excitation",
        "s6-512": "512/s6",
        "s6-4096": "4096/s6",
    }
