import errno
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
from support.scores import METRICS

from diffsynth import __version__
from pipeline.app import COMMANDS, LazyGroup, app, main, run
from pipeline.params import load_params

ROOT = Path(__file__).parents[2]
PARAMS = (ROOT / "params.yaml").read_text()
STAGES = ["download", "align", "shard", "fit", "features"]
STAGES += ["bounds", "train", "infer", "evaluate", "compare"]
HEAVY = [
    "librosa",
    "lightning",
    "matplotlib",
    "mlflow",
    "numpy",
    "scipy",
    "torch",
    "torchaudio",
    "webdataset",
]


def process(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], env=environment, **pipes, **options)


def loaded(code):
    """Names of the heavy packages that `code` imports."""
    child = process("-c", f"import sys\n{code}\nprint(*({set(HEAVY)} & set(sys.modules)))")
    out, error = child.communicate()
    assert child.returncode == 0, error
    return out.split("\n")[-2]


def test_help_lists_every_command_in_the_order_of_the_stages(capsys):
    assert run(["--help"]) == 0
    _, _, listed = capsys.readouterr().out.partition("Commands:\n")
    names = [line.split()[0] for line in listed.splitlines() if line[2] != " "]
    others = ["transcribe", "salamander", "listen", "render", "play", "bench", "benchmark", "export"]
    assert names == list(COMMANDS) == [*STAGES, *others]
    assert " ".join(listed.split()) == " ".join(f"{name} {line}" for name, line in COMMANDS.items())


def test_help_answers_within_a_second():
    def seconds():
        start = time.perf_counter()
        child = process("-m", "pipeline", "--help")
        out, _ = child.communicate()
        assert "render" in out
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 1.0  # the machine may be busy, a slow import stays slow


def test_help_and_commands_import_nothing_heavy_before_they_run():
    assert loaded("from pipeline.app import run\nrun(['--help'])") == ""
    imports = "\n".join(f"import pipeline.{name}" for name in COMMANDS)
    assert loaded(imports) == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_documents_itself_and_its_options(name, capsys):
    assert run([name, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    function = getattr(import_module(f"pipeline.{name}"), name)
    assert " ".join(function.__doc__.split("\n\n")[0].split()) in shown
    command = LazyGroup().get_command(None, name)
    arguments = [each for each in inspect.signature(function).parameters if each != "context"]  # Typer's own
    assert [parameter.name for parameter in command.params] == arguments
    for parameter in command.params:
        assert parameter.help
        assert " ".join(parameter.help.split()) in shown


def test_no_argument_shows_the_help(capsys):
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("Usage: diffsynth ")


def test_the_version_is_shown(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune"], "diffsynth: there is no command 'tune': see diffsynth --help"),
        (["trian"], "diffsynth: there is no command 'trian': did you mean train?"),
        (["evalute", "--model", "s6"], "diffsynth: there is no command 'evalute': did you mean evaluate?"),
        (["train", "--blok", "512"], "diffsynth: No such option: --blok (Possible options: --block)"),
        (["compare", "--loud"], "diffsynth: No such option: --loud (see diffsynth compare --help)"),
        (["--loud"], "diffsynth: No such option: --loud (see diffsynth --help)"),
        (["compare", "--params"], "diffsynth: Option '--params' requires an argument."),
        (["compare", "extra"], "diffsynth: Got unexpected extra argument(s) (extra)"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message, capsys):
    assert run(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(message)
    assert output.err.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("models: [lstm, s6]", "models: [lstm, gru]", "unknown model 'gru': choose one of lstm, s6"),
        ("blocks: [512,", "blocks: [500,", "unknown block 500: choose one of 512, 1024, 2048, 4096"),
        ("  clip: 1.0\n", "  clip: much\n", "train: clip must be of type float, not 'much'"),
        ("  clip: 1.0\n", "  clap: 1.0\n", "unknown parameter in "),
        ("\ninfer:", "\nrender:", "unknown parameter in "),
        ("name: demo", "name: [demo", "is not readable as YAML: "),
        ("name: demo", "name: 2020-13-45", "is not readable as YAML: month must be in 1..12"),
        ("name: demo", "name: !!bool maybe", "is not readable as YAML: "),
        ("  clip: 1.0\n", f"  clip: 1{400 * '0'}\n", "train: clip must be of type float"),
        ("name: demo", "name: mine", "unknown dataset 'mine': choose one of demo, "),
    ],
)
def test_wrong_parameters_are_one_line(old, new, message, tmp_path, capsys):
    assert old in PARAMS
    (tmp_path / "p.yaml").write_text(PARAMS.replace(old, new, 1))
    assert run(["compare", "--params", str(tmp_path / "p.yaml"), "--output", str(tmp_path / "out")]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("diffsynth: ")
    assert message in output.err
    assert output.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_missing_parameters_are_one_line_without_a_traceback(tmp_path):
    child = process("-m", "pipeline", "compare", cwd=tmp_path)
    out, error = child.communicate()
    assert (child.returncode, out) == (2, "")
    assert error == "diffsynth: params.yaml does not exist; run this in the repository\n"


@pytest.mark.parametrize("command", ["train", "infer", "evaluate"])
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--model", "gru", "unknown model 'gru'"), ("--block", "500", "unknown block 500")],
)
def test_an_unknown_cell_is_one_line(command, option, value, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    variant = {"--model": "s6", "--block": "512", option: value}
    assert run([command, *(word for pair in variant.items() for word in pair)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("command", [name for name in COMMANDS if name in STAGES[1:]])
def test_a_stage_without_its_input_names_the_command_to_run(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    variant = ["--model", "s6", "--block", "512"] if command in ("train", "infer", "evaluate") else []
    assert run([command, *variant]) == 2
    error = capsys.readouterr().err
    assert "run `diffsynth " in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


MAKES = {
    "align": "download",
    "shard": "align",
    "fit": "align",
    "features": "fit shard",
    "train": "features",
    "infer": "train@s6-512",
    "evaluate": "infer@s6-512",
    "compare": "evaluate",
}


@pytest.mark.parametrize("command", MAKES)
def test_in_the_project_it_names_the_one_command_that_makes_all_of_it(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    variant = ["--model", "s6", "--block", "512"] if command in ("train", "infer", "evaluate") else []
    assert run([command, *variant]) == 2
    assert f"; run `dvc repro {MAKES[command]}` first\n" in capsys.readouterr().err


def test_what_dvc_does_not_make_names_the_command_that_does(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    assert run(["infer", "--model", "unet", "--block", "512"]) == 2
    assert "run `diffsynth train --model unet --block 512` first" in capsys.readouterr().err
    assert run(["align", "--raw", "mine"]) == 2
    assert "mine/manifest.json does not exist; run `diffsynth download` first" in capsys.readouterr().err


def test_the_line_is_not_broken_by_what_it_quotes(tmp_path, capsys):
    assert run(["compare", "--params", str(tmp_path / "a\nb.yaml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [(signal.SIGINT, 130, "diffsynth: interrupted\n"), (signal.SIGTERM, 143, "")],
)
def test_an_interrupted_command_ends_without_a_traceback(number, code, message, tmp_path):
    fifo = tmp_path / "params.yaml"
    os.mkfifo(fifo)  # whoever reads it waits for a writer
    child = process("-m", "pipeline", "compare", "--params", str(fifo))
    end = time.monotonic() + 30
    while (writer := opened_by_reader(fifo)) is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    child.send_signal(number)
    _, error = child.communicate(timeout=30)
    os.close(writer)  # not before, or the reader would come to the end of an empty file
    assert (child.returncode, error) == (code, message)


def opened_by_reader(fifo):
    """The other end, if a reader waits for it; else None."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


def test_an_output_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    params = load_params(ROOT / "params.yaml")
    report = {"model": params.models[0], "block": params.blocks[0], "metrics": dict.fromkeys(METRICS, 1)}
    path = tmp_path / "metrics" / str(params.blocks[0]) / f"{params.models[0]}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(report))
    timings = tmp_path / "timings" / str(params.blocks[0]) / path.name
    timings.parent.mkdir(parents=True)
    timings.write_text('{"rtf": 1, "p50_ms": 1, "p99_ms": 1}')
    folders = [
        "--metrics",
        str(tmp_path / "metrics"),
        "--timings",
        str(tmp_path / "timings"),
        "--output",
        str(tmp_path / "file" / "out"),
    ]
    assert run(["compare", "--params", str(ROOT / "params.yaml"), *folders]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line == f"diffsynth: cannot write {tmp_path}/file/out/table.csv: Not a directory"
    assert (tmp_path / "file").read_text() == "in the way"


def test_python_m_pipeline_is_the_app():
    assert import_module("pipeline.app").app is app
    child = process("-m", "pipeline", "--version")
    assert child.communicate() == (f"{__version__}\n", "")
