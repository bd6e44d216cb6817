"""Features as shards: kills cost nothing that was written, and moments of parts add up."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffsynth.representation.feature_shards import write_features
from diffsynth.representation.gain_field import MIN_SCALE, Moments
from diffsynth.runs.files import sha256
from pipeline.params import load_params

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from pathlib import Path
import diffsynth.representation.feature_shards as module
from pipeline.params import load_params
record, left = module.record, [2]
def record_and_die(*arguments):
    record(*arguments)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
module.record = record_and_die
params = load_params(Path(sys.argv[1]))
module.write_features(*(Path(path) for path in sys.argv[2:]), params.audio, params.features)
"""


def paths_of(project):
    return project.data / "shards", project.data / "fit" / "piano.safetensors"


def write(project, out):
    params = load_params(project.folder / "params.yaml")
    write_features(*paths_of(project), out, params.audio, params.features)


def contents(folder):
    return {path.name: sha256(path) for path in folder.iterdir()}


def test_what_was_written_before_a_kill_is_not_written_again(project, tmp_path):
    script = [
        sys.executable,
        "-c",
        KILLED,
        project.folder / "params.yaml",
        *paths_of(project),
        tmp_path / "out",
    ]
    child = subprocess.run(script, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert child.returncode == -signal.SIGKILL
    (begun,) = tmp_path.iterdir()
    early = {path.name: path.stat().st_ino for path in begun.glob("*.tar")}
    assert len(early) == 2
    write(project, tmp_path / "out")
    assert {name: (tmp_path / "out" / name).stat().st_ino for name in early} == early
    write(project, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


numbers = arrays(np.float64, (7, 3), elements=st.floats(-2, 2))


@settings(deadline=None)
@given(numbers, arrays(np.float64, (7, 3), elements=st.sampled_from([0, 0.1, 1])), st.integers(0, 7))
def test_moments_of_parts_add_up_to_those_of_the_whole(gains, weight, border):
    whole = Moments.of(gains, weight)
    parts = Moments.of(gains[:border], weight[:border]) + Moments.of(gains[border:], weight[border:])
    for name, value in vars(whole).items():
        np.testing.assert_allclose(vars(parts)[name], value, atol=1e-12)
    normaliser = parts.normaliser()
    total = weight.sum(axis=0)
    heard = total > 0
    mean = np.average(gains[:, heard], axis=0, weights=weight[:, heard])
    deviation = np.sqrt(np.average((gains[:, heard] - mean) ** 2, axis=0, weights=weight[:, heard]))
    # A thousandth of a frame is added to the weight, so that it is never 0.
    np.testing.assert_allclose(normaliser.mean[heard], mean * (total / (total + 1e-3))[heard], atol=1e-5)
    np.testing.assert_allclose(normaliser.scale[heard], deviation.clip(MIN_SCALE), atol=0.05)
    assert (normaliser.mean[~heard] == 0).all()
    assert (normaliser.scale[~heard] == np.float32(MIN_SCALE)).all()
