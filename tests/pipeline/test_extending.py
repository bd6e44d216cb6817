"""The examples of docs/extending.md, added to a copy of the code as they stand there, and used."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import yaml

from diffsynth.audio.files import read_audio, write_audio
from diffsynth.datasets.manifest import read_manifest, verify
from diffsynth.midi.events import NOTE_OFF, NOTE_ON, make_events
from diffsynth.midi.files import write_midi

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf8")
RUN = """
import json, sys
from pipeline.app import main, run
for command in json.load(open("commands.json")):
    assert run(command) == 0, command
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def add_module(folder, block):
    name, content = re.fullmatch(r"# (\S+\.py)\n(.*)", block, re.DOTALL).groups()
    path = folder / name
    assert not path.exists()
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return name


def apply(folder, block):
    """Every hunk: lines with a space or a minus are found once, and become those with a space or a plus."""
    for hunk in block.split("@@ ")[1:]:
        name, *lines = hunk.splitlines()
        before, after = (
            "".join(f"{line[1:]}\n" for line in lines if line[0] in signs) for signs in (" -", " +")
        )
        text = (folder / name).read_text()
        assert text.count(before) == 1, (name, before)
        (folder / name).write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def extended(project, tmp_path_factory):
    """A copy of the code with all examples, beside the parameters of the small project with theirs."""
    folder = tmp_path_factory.mktemp("extended")
    for package in ("diffsynth", "pipeline"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert len([add_module(folder, block) for block in blocks("python")]) == 4
    for block in blocks("diff"):
        apply(folder, block)
    params = yaml.safe_load((project.folder / "params.yaml").read_text())
    for block in blocks("yaml"):
        for section, values in yaml.safe_load(block).items():
            params[section] = params.get(section, {}) | values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


@pytest.fixture(scope="module")
def used(project, extended):
    """The same folder after a model was trained and played, data brought, and a metric computed."""
    melody = make_events([(0.1, NOTE_ON, 60, 90), (0.4, NOTE_OFF, 60, 0)])
    write_midi(extended / "in.mid", melody)
    for name in ("music_12", "music_3"):
        samples, rate = read_audio(ROOT / "data" / "demo" / f"{name}.flac")
        write_audio(extended / f"{name}.flac", samples[: 5 * rate], rate)
    variant = ["--model", "gru", "--block", "512"]
    commands = [
        ["train", *variant, "--units", "12", "--steps", "3", "--data-dir", str(project.data)],
        ["render", "in.mid", "out.wav", *variant],
        ["download", "--name", "tones", "--out", "tones"],
        ["evaluate", "--target", "music_12.flac", "--prediction", "music_3.flac", "--json"],
    ]
    (extended / "commands.json").write_text(json.dumps(commands))
    environment = {**os.environ, "PYTHONPATH": str(extended)}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=extended,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return extended, done.stdout


def test_a_model_trains_and_plays(used):
    folder, output = used
    assert (folder / "models" / "512" / "gru.safetensors").is_file()
    assert "models/512/gru.safetensors: 3 steps" in output
    seconds = re.search(r"out\.wav: (\d\.\d) s at RTF", output)
    info = soundfile.info(folder / "out.wav")
    assert float(seconds[1]) == pytest.approx(info.frames / info.samplerate, abs=0.05)
    assert 0.5 < info.frames / info.samplerate < 3  # a note of .4 s, until it has died away


def test_a_source_brings_its_data(used):
    folder, output = used
    assert "tones: tones, 3 performances, 0.4 min (1 train, 1 validation, 1 test), 0 set aside" in output
    verify(folder / "tones", read_manifest(folder / "tones"))


def test_a_metric_is_computed(used):
    _, output = used
    scores = json.loads(output[output.index("{") :])
    assert list(scores)[-1] == "brightness"
    assert 0 < scores["brightness"] < 3


def test_the_examples_are_short_and_documented():
    for block in blocks("python"):
        assert ast.get_docstring(ast.parse(block))
        assert len(block.splitlines()) < 60
