"""What many tests share: one MLflow store, small voices, and a small project made from the demo.

The store is one for the whole session, because making one takes seconds and none belongs in the repository.
"""

import dataclasses
import os
import signal
from contextlib import ExitStack, suppress
from pathlib import Path

from pipeline.app import THREADS

# As commands do, and before NumPy is imported: sums depend on the number of threads.
os.environ.update(THREADS)

import numpy as np
import pytest
import yaml
from support.made_once import made_once
from support.small_project import SMALL, torch_as_it_was

ROOT = Path(__file__).parents[1]
RATE, FRAME = 24000, 128
# One process and one thread, or tests that run side by side would wait for each other.
MACHINE = {"DIFFSYNTH_WORKERS": "1", "DIFFSYNTH_THREADS": "1", "DIFFSYNTH_CHECKPOINT_EVERY": "3"}


def pytest_configure(config):
    """Give every worker a Numba cache of its own, kept between runs.

    Two processes that fill one cache at once can store the machine code of one signature under the
    name of another; whoever loads it crashes.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with suppress(OSError):  # in a folder that cannot be written the library finds a place
        os.environ["NUMBA_CACHE_DIR"] = str(config.cache.mkdir(f"numba-{worker}"))
    # A shell starts what runs in its background with Ctrl-C ignored, and so would tests start commands.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def mlflow_store(tmp_path_factory):
    """Address of the SQLite store that every command in the tests logs to."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("MLFLOW_", "DIFFSYNTH_")):
                patch.delenv(name)
        for name, value in MACHINE.items():
            patch.setenv(name, value)
        uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri


@pytest.fixture(scope="session")
def piano():
    """A modal piano made by hand: up to four harmonics a key, higher ones softer and shorter."""
    from diffsynth.piano.piano import Piano

    fundamental = 440 * 2 ** ((np.arange(88) - 48) / 12)
    key, order = (axis.ravel() for axis in np.meshgrid(np.arange(88), np.arange(1, 5), indexing="ij"))
    frequency = order * fundamental[key]
    kept = frequency < 10500
    key, order, frequency = key[kept], order[kept], frequency[kept]
    phase = np.random.default_rng(5).uniform(0, 2 * np.pi, len(key))
    return Piano(
        key=key,
        frequency=frequency,
        decay=1.0 + key / 20 + order,
        amplitude=0.05 / order * np.exp(1j * phase),
        release=np.full(88, 40.0),
        exponent=np.full(88, 1.5),
    )


@pytest.fixture(scope="session")
def make_voice(piano):
    """Makes a small voice with weights as if trained: fresh, a network would answer nothing but zeros."""
    import torch

    from diffsynth.audio.format import AudioFormat
    from diffsynth.models.lstm import Lstm
    from diffsynth.models.s6 import S6
    from diffsynth.models.unet import Unet
    from diffsynth.representation.config import Features
    from diffsynth.representation.normaliser import Normaliser
    from diffsynth.representation.stft_frames import FrameScale
    from diffsynth.synthesis.frame_voice import FrameConfig, FrameVoice
    from diffsynth.synthesis.gain_voice import GainConfig, GainVoice

    networks = {"lstm": Lstm(12, 1, 10, 4, 1, 0.1), "s6": S6(12, 1, 10, 4, 1, 0.1, 4, 2, 3)}

    def make_unet(block, seed):
        config = FrameConfig("unet", block, AudioFormat(RATE, FRAME), Unet(8))
        torch.manual_seed(seed)
        scale = np.geomspace(0.01 * block, 1e-4 * block, block // 2, dtype=np.float32)
        denoiser = config.new_denoiser().eval().requires_grad_(False)
        return FrameVoice(config, denoiser, FrameScale(np.tile(scale, (5, 1))))

    apart = Features(16, 8, highest=10500.0, knee=3000.0, window=1024, floor=-80.0, hop=2, ages=[0.1, 1.0])
    together = dataclasses.replace(apart, noise_bands=0, knee=700.0, hop=1, ages=[1.0])

    def make(model="lstm", block=512, piano=piano, seed=0, level=0.3, shared=False):
        """`shared`: noise has the gains of the modes, one for each frame, as in older voices."""
        if model == "unet":  # fresh, it does not answer zeros
            return make_unet(block, seed)
        features = together if shared else apart
        config = GainConfig(model, block, AudioFormat(RATE, FRAME), networks[model], features)
        torch.manual_seed(seed)
        denoiser = config.new_denoiser()
        with torch.no_grad():
            for parameter in denoiser.parameters():
                parameter.add_(level * torch.randn_like(parameter))
        count = features.values
        mean, scale = np.linspace(-0.3, 0.1, count), np.full(count, 0.4)
        normaliser = Normaliser(mean.astype(np.float32), scale.astype(np.float32))
        return GainVoice(config, denoiser.eval().requires_grad_(False), piano, normaliser)

    return make


@dataclasses.dataclass(frozen=True)
class Project:
    """A folder with everything that comes before `train`, and how to run commands in it."""

    folder: Path

    @property
    def data(self):
        """Its data folder."""
        return self.folder / "data"

    def run(self, *arguments, folder=None):
        """Exit code of a command that runs in the folder, or in another one that gets the same params."""
        from pipeline.app import run

        folder = folder or self.folder
        if not (folder / "params.yaml").exists():
            (folder / "params.yaml").write_bytes((self.folder / "params.yaml").read_bytes())
        with pytest.MonkeyPatch.context() as patch, torch_as_it_was():
            patch.chdir(folder)
            return run([str(argument) for argument in arguments])


# Name, split, beginning and length in s.
EXCERPTS = [
    ("bach_prelude_c", "train", 0.0, 10.0),
    ("music_10", "train", 8.0, 8.0),
    ("music_3", "validation", 4.0, 6.0),
    ("music_12", "test", 6.0, 5.0),
]


@pytest.fixture(scope="session")
def fewer_frames():
    """Levels of a quarter of the frames tell the fit the same of a minute, and take a quarter of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffsynth.fitting.balance.MOST", 2000)
        yield


@pytest.fixture(scope="session")
def project(tmp_path_factory, fewer_frames):
    """Half a minute of the demo, aligned, cut, fitted, analysed with small parameters; not to be changed."""
    return Project(made_once(tmp_path_factory, "my {1,2} #1", make_project))


def make_project(folder):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in SMALL.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    write_aligned(folder / "data" / "aligned", EXCERPTS)
    (folder / "data" / "raw").mkdir()
    (folder / "data" / "raw" / "manifest.json").write_text('{"dataset": "demo"}')
    project = Project(folder)
    for command in ("shard", "fit", "features"):
        assert project.run(command) == 0


@pytest.fixture(scope="session")
def trained(project, tmp_path_factory):
    """A folder in which both models are trained at one block size, and the test performance rendered."""
    folder = tmp_path_factory.mktemp("trained")
    for model in ("lstm", "s6"):
        variant = ["--model", model, "--block", 1024]
        assert project.run("train", *variant, "--data-dir", project.data, folder=folder) == 0
        assert project.run("infer", *variant, "--aligned", project.data / "aligned", folder=folder) == 0
    return folder


@pytest.fixture(scope="session")
def diffused(trained, tmp_path_factory):
    """A folder of both models as if they had learned by diffusion, which takes any number of steps."""
    from diffsynth.synthesis.weights import load_voice, save_voice

    folder = tmp_path_factory.mktemp("diffused") / "models"
    for path in (trained / "models" / "1024").iterdir():
        voice = load_voice(path)
        config = dataclasses.replace(voice.config, objective="velocity")
        save_voice(folder / "1024" / path.name, dataclasses.replace(voice, config=config), {})
    return folder


@pytest.fixture
def refuse(project, tmp_path, capsys):
    """Runs a command in `tmp_path` that must be refused: exit code 2, one line, nothing left behind."""
    if not (tmp_path / "params.yaml").exists():
        (tmp_path / "params.yaml").write_bytes((project.folder / "params.yaml").read_bytes())

    def refused(*arguments):
        before = files(tmp_path)
        assert project.run(*arguments, folder=tmp_path) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("diffsynth: ")
        assert output.err.count("\n") == 1
        assert files(tmp_path) == before
        return output.err.removeprefix("diffsynth: ").rstrip("\n")

    return refused


@pytest.fixture(scope="session")
def browser():
    """A browser, started once; see `support.browser`."""
    from support.browser import chromium

    with chromium() as started:
        yield started


@pytest.fixture
def open_page(browser):
    """Opens watched pages (`support.browser.watched`) that are closed after the test."""
    from support.browser import watched

    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(watched(browser, **options))


def files(folder):
    """Everything below a folder, with its contents."""
    from diffsynth.runs.files import sha256

    return {path.relative_to(folder): path.is_file() and sha256(path) for path in folder.rglob("*")}


def write_aligned(folder, excerpts):
    """Excerpts of the demo, which was made aligned, as `align` would write them."""
    from diffsynth.audio.files import read_audio, write_audio
    from diffsynth.midi.files import read_midi
    from diffsynth.runs.files import write_json

    index = []
    for name, split, begin, seconds in excerpts:
        audio, rate = read_audio(ROOT / "data" / "demo" / f"{name}.flac")
        events = read_midi(ROOT / "data" / "demo" / f"{name}.mid")
        events = events[(events["time"] >= begin) & (events["time"] < begin + seconds)]
        events["time"] -= begin
        assert rate == RATE
        write_audio(folder / f"{name}.flac", audio[int(begin * rate) :][: int(seconds * rate)], rate)
        np.save(folder / f"{name}.npy", events)
        index.append({"name": name, "split": split, "duration": seconds, "status": "ok"})
    write_json(folder / "index.json", {"dataset": "demo", "sample_rate": RATE, "performances": index})
