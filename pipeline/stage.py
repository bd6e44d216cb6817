"""What every command shares: its options, its check of an earlier stage, its MLflow run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from diffsynth.audio.format import BLOCKS
from diffsynth.errors import UserError
from diffsynth.models.registry import MODELS
from diffsynth.runs.tracking import Run, track
from diffsynth.synthesis.config import RELEASED_VOICE
from pipeline import paths
from pipeline.params import Params


def or_list(names: Iterable[Any]) -> str:
    """Names as a sentence lists them: "a, b or c"."""
    *first, last = map(str, names)
    return f"{', '.join(first)} or {last}" if first else last


def numbers(name: str, text: str) -> list[int]:
    """The positive numbers, with commas between them, that the option `name` holds.

    Raises:
        UserError: it holds something else.
    """
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--{name} takes numbers with commas between them, not {text!r}") from None
    if min(found) < 1:
        raise UserError(f"--{name} must be positive, not {text}")
    return found


ParamsFile = Annotated[Path, typer.Option("--params", help="File of parameters.", show_default=True)]
Model = Annotated[str, typer.Option("--model", help=f"Which model: {or_list(MODELS)}.")]
Block = Annotated[int, typer.Option("--block", help=f"Samples per block: {or_list(BLOCKS)}.")]

VoiceModel = Annotated[
    str | None,
    typer.Option("--model", help=f"Which model: {or_list(MODELS)}. Default: {next(iter(MODELS))}."),
]
VoiceBlock = Annotated[
    int | None, typer.Option("--block", help=f"Samples per block: {or_list(BLOCKS)}. Default: {BLOCKS[0]}.")
]

GivenVoice = Annotated[
    Path | None,
    typer.Option("--weights", help="File of a voice. Default: the one trained here, else the released one."),
]
NamedVoice = Annotated[
    str | None,
    typer.Option("--voice", help=f"A released voice, whatever was trained here. Default: {RELEASED_VOICE}."),
]
Trained = Annotated[Path, typer.Option(help="Folder of trained models.")]
Released = Annotated[
    Path, typer.Option(help="Folder of released voices.", show_default="beside the installed code")
]

Transcribed = Annotated[
    bool, typer.Option("--transcribe", help="Also score the notes that Transkun hears (an extra, and slow).")
]

PARAMS = Path("params.yaml")
REPRO = "dvc repro "


@contextmanager
def stage(
    name: str,
    params: Params,
    sections: Sequence[str],
    model: str | None = None,
    block: int | None = None,
    run_id: str | None = None,
    reads: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """The MLflow run of a stage, with the parameters of `sections` and, if given, of one variant.

    Args:
        name: of the stage.
        params: all parameters.
        sections: names of those that the stage reads, the same as in dvc.yaml.
        model: logged as parameter and tag, so that runs can be compared by it.
        block: in samples, likewise.
        run_id: of a run to continue.
        reads: tags of the run that made what the stage reads; it then logs to that run (see `track`).

    Raises:
        UserError: MLflow's store cannot be reached.
    """
    variant = {key: value for key, value in (("model", model), ("block", block)) if value is not None}
    values = {section: params.values(section) for section in sections}
    with track(name, {**variant, **values}, variant, run_id, reads) as run:
        yield run


def require(path: str | Path, command: str, model: str | None = None, block: int | None = None) -> Path:
    """`path`, which an earlier stage writes.

    Args:
        path: file or folder.
        command: name of that stage.
        model: of the variant that is missing, where the stage has one for each model and block.
        block: in samples, likewise.

    Raises:
        UserError: it does not exist; names the one command that makes it.
    """
    if not Path(path).exists():
        raise UserError(f"{path} does not exist; run `{command_for(path, command, model, block)}` first")
    return Path(path)


def require_all(made_by: Mapping[Path, str]) -> None:
    """Paths, each with the name of the stage that writes it.

    Raises:
        UserError: some do not exist; names the one command that makes all of them.
    """
    missing = [path for path in made_by if not path.exists()]
    if missing:
        commands = dict.fromkeys(command_for(path, made_by[path]) for path in missing)
        if all(command.startswith(REPRO) for command in commands):
            advice = REPRO + " ".join(command.removeprefix(REPRO) for command in commands)
        else:
            advice = " && ".join(commands)
        raise UserError(f"{missing[0]} does not exist; run `{advice}` first")


def command_for(path: str | Path, command: str, model: str | None = None, block: int | None = None) -> str:
    """The command that makes an output of a stage: `dvc repro`, with all earlier stages, if DVC has the path.

    It does so in the project, for a place that dvc.yaml names and a variant that params.yaml lists; elsewhere
    it is the command of the stage itself. Arguments are those of `require`.
    """
    variant = "" if model is None else f"@{model}-{block}"
    known = any(Path(path).is_relative_to(place) for place in paths.OUTPUTS)
    if known and Path("dvc.yaml").is_file() and (not variant or _is_listed(model, block)):
        return f"{REPRO}{command}{variant}"
    return f"diffsynth {command}" + (f" --model {model} --block {block}" if variant else "")


def _is_listed(model: str | None, block: int | None) -> bool:
    """Whether params.yaml has a model and a block size among those that DVC trains."""
    with suppress(OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        params = yaml.safe_load(PARAMS.read_text(encoding="utf8"))
        return model in params["models"] and block in params["blocks"]
    return False
