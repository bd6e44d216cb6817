"""What every command shares: its options, its check of an earlier stage, its MLflow run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from diffsynth.config import Params
from diffsynth.errors import UserError
from diffsynth.runs.tracking import Run, track

ParamsFile = Annotated[Path, typer.Option("--params", help="File of parameters.", show_default=True)]
Model = Annotated[str, typer.Option("--model", help="Which model: lstm, s6 or unet.")]
Block = Annotated[int, typer.Option("--block", help="Samples per block: 512, 1024, 2048 or 4096.")]

PARAMS = Path("params.yaml")


@contextmanager
def stage(
    name: str,
    params: Params,
    sections: Sequence[str],
    model: str | None = None,
    block: int | None = None,
    run_id: str | None = None,
) -> Iterator[Run]:
    """The MLflow run of a stage, with the parameters of `sections` and, if given, of one cell.

    Args:
        name: of the stage.
        params: all parameters.
        sections: names of those that the stage reads, the same as in dvc.yaml.
        model: logged as parameter and tag, so that runs can be compared by it.
        block: in samples, likewise.
        run_id: of a run to continue.

    Raises:
        UserError: MLflow's store cannot be reached.
    """
    cell = {key: value for key, value in (("model", model), ("block", block)) if value is not None}
    values = {section: asdict(getattr(params, section)) for section in sections}
    with track(name, {**cell, **values}, cell, run_id) as run:
        yield run


def require(path: str | Path, command: str) -> Path:
    """`path`, which an earlier stage writes.

    Raises:
        UserError: it does not exist; names the command that makes it.
    """
    if not Path(path).exists():
        raise UserError(f"{path} does not exist; run `diffsynth {command}` first")
    return Path(path)
