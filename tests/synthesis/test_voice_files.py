"""Which voice is played, and where it is found."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.elsewhere import command

from diffsynth.errors import UserError
from diffsynth.midi.events import NOTE_ON, make_events
from diffsynth.midi.files import write_midi
from diffsynth.synthesis.config import RELEASED_VOICE
from diffsynth.synthesis.voice_files import GIVEN, RELEASED, TRAINED, VoiceFile, find_weights, open_voice
from diffsynth.synthesis.weights import save_voice

ROOT = Path(__file__).parents[2]


def test_the_given_weights_win_over_the_trained_over_the_released(tmp_path):
    given, released, trained = tmp_path / "mine.safetensors", tmp_path / "released", tmp_path / "trained"
    with pytest.raises(UserError) as error:
        find_weights("s6", 1024, None, trained, released)
    assert str(error.value) == "no weights for s6 at 1024: run `dvc repro train@s6-1024` first"
    for folder, origin in ((released / RELEASED_VOICE, RELEASED), (trained, TRAINED)):
        for model in ("lstm", "s6"):
            (folder / "1024").mkdir(parents=True, exist_ok=True)
            (folder / "1024" / f"{model}.safetensors").touch()
        assert find_weights("s6", 1024, None, trained, released) == VoiceFile(
            folder / "1024" / "s6.safetensors", origin
        )
    with pytest.raises(UserError, match="no weights for s6 at 512"):
        find_weights("s6", 512, None, trained, released)
    with pytest.raises(UserError) as error:
        find_weights("s6", 1024, given, trained, released)
    assert str(error.value) == f"{given} does not exist"
    given.touch()
    assert find_weights("s6", 1024, given, trained, released) == VoiceFile(given, GIVEN)


def test_a_voice_given_is_of_the_model_and_block_asked_for(make_voice, tmp_path):
    given = tmp_path / "mine.safetensors"
    save_voice(given, make_voice("s6", 1024), {})
    for model, block in [(None, None), ("s6", None), (None, 1024), ("s6", 1024)]:
        voice, file = open_voice(model, block, given, tmp_path, tmp_path)
        assert (voice.config.model, voice.config.block, file.origin) == ("s6", 1024, GIVEN)
    with pytest.raises(UserError) as error:
        open_voice("lstm", 1024, given, tmp_path, tmp_path)
    assert str(error.value) == f"{given} is a voice of model s6, not lstm"
    with pytest.raises(UserError) as error:
        open_voice("s6", 512, given, tmp_path, tmp_path)
    assert str(error.value) == f"{given} is a voice of block 1024, not 512"


def test_nothing_asked_for_is_the_lstm_at_the_shortest_block(make_voice, tmp_path):
    save_voice(tmp_path / RELEASED_VOICE / "512" / "lstm.safetensors", make_voice("lstm", 512), {})
    voice, file = open_voice(None, None, None, tmp_path / "none", tmp_path)
    assert (voice.config.model, voice.config.block, file.origin) == ("lstm", 512, RELEASED)


def test_a_released_voice_by_its_name(tmp_path):
    trained, released = tmp_path / "trained", tmp_path / "released"
    for folder in (trained, released / "grand", released / "studio"):
        (folder / "1024").mkdir(parents=True)
        (folder / "1024" / "s6.safetensors").touch()
    for name in ("grand", "studio"):
        (released / name / "README.md").touch()
        file = VoiceFile(released / name / "1024" / "s6.safetensors", RELEASED)
        assert find_weights("s6", 1024, None, trained, released, name) == file
    for name, given, block, message in [
        ("studo", None, 1024, "unknown voice 'studo': choose one of grand, studio (did you mean studio?)"),
        ("..", None, 1024, "unknown voice '..': choose one of grand, studio"),
        ("studio", None, 512, "the voice studio has no s6 at 512"),
        ("studio", released / "studio" / "1024" / "s6.safetensors", 1024, "give either --voice or --weights"),
    ]:
        with pytest.raises(UserError) as error:
            find_weights("s6", block, given, trained, released, name)
        assert str(error.value) == message


def test_an_unknown_cell_has_no_weights(tmp_path):
    with pytest.raises(UserError, match="unknown model 'gru'"):
        find_weights("gru", 512, None, tmp_path, tmp_path)
    with pytest.raises(UserError, match="unknown block 500"):
        find_weights("s6", 500, None, tmp_path, tmp_path)


@pytest.fixture
def midi(tmp_path):
    """A short note in a folder of its own."""
    write_midi(tmp_path / "a.mid", make_events([(0.0, NOTE_ON, 60, 80), (0.1, 0, 60, 0)]))
    return tmp_path


def test_the_released_voices_are_found_from_another_folder(midi):
    done = command(midi, "render", "a.mid", "a.wav")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().endswith(
        f" by {ROOT}/weights/{RELEASED_VOICE}/512/lstm.safetensors (released)\n"
    )


def test_a_file_below_the_current_folder_is_named_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(VoiceFile(tmp_path / "a" / "b", RELEASED)) == "a/b (released)"
    assert str(VoiceFile(Path("models/b"), TRAINED)) == "models/b (trained here)"


def test_an_installed_package_carries_the_released_voices(midi):
    source, wheels, site = (midi / name for name in ("source", "wheels", "site"))
    source.mkdir()
    for path in ("pyproject.toml", "README.md", "LICENSE", "diffsynth", "pipeline", "weights"):
        (source / path).symlink_to(ROOT / path)  # building writes beside them
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "-w", wheels, source], check=True, capture_output=True)
    (wheel,) = wheels.iterdir()
    assert wheel.name.startswith("diffsynth_piano-")
    zipfile.ZipFile(wheel).extractall(site)
    done = command(midi, "render", "a.mid", "a.wav", "--model", "s6", "--block", "4096", code=site)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().endswith(
        f" by site/weights/{RELEASED_VOICE}/4096/s6.safetensors (released)\n"
    )
