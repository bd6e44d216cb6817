"""`diffsynth bench`: how fast every model is, side by side with the published network."""

from pathlib import Path
from typing import Annotated, Any

import typer

from diffsynth.audio.format import BLOCKS
from diffsynth.config import choice
from diffsynth.errors import UserError
from diffsynth.models.registry import MODELS
from diffsynth.synthesis.config import BACKENDS
from pipeline import paths
from pipeline.stage import Released, Trained, numbers

HEADINGS = (
    "model",
    "block",
    "Hz",
    "channels",
    "threads",
    "backend",
    "x U-Net",
    "RTF",
    "p50 ms",
    "p95 ms",
    "p99 ms",
)
KEYS = ("model", "block", "sample_rate", "channels", "threads", "backend", "times_faster", "rtf")


def bench(
    json_path: Annotated[Path | None, typer.Option("--json", help="File for all rows.")] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG of RTF against block size.")] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Audio in each row.")] = 10.0,
    models: Annotated[str, typer.Option(help="Models, with commas.")] = ",".join(MODELS),
    blocks: Annotated[str, typer.Option(help="Samples per block.")] = ",".join(map(str, BLOCKS)),
    rates: Annotated[str, typer.Option(help="Sample rates, Hz.")] = "24000,48000",
    threads: Annotated[str, typer.Option(help="Numbers of threads.")] = "1,2",
    backends: Annotated[str, typer.Option(help=" and ".join(BACKENDS) + ".")] = ",".join(BACKENDS),
    trained: Trained = paths.MODELS,
    released: Released = paths.WEIGHTS,
) -> None:
    """Measure real-time factors (RTF: computing time over audio time), ratios first.

    The U-Net computes seconds per second of audio: its rows end after 15 s of computing.
    """
    from tqdm import tqdm

    from diffsynth.comparison.benchmark import add_ratios, run_group, settings
    from diffsynth.runs.files import check_writable, write_json

    for path in (json_path, plot):
        if path is not None:
            check_writable(path)
    if plot is not None and plot.suffix.lower() != ".png":
        raise UserError(f"{plot} must end in .png")
    groups = settings(
        [choice("model", name, MODELS) for name in models.split(",")],
        [choice("block", number, BLOCKS) for number in numbers("blocks", blocks)],
        numbers("rates", rates),
        numbers("threads", threads),
        [choice("backend", name, BACKENDS) for name in backends.split(",")],
    )
    rows: list[dict[str, Any]] = []
    with tqdm(total=sum(map(len, groups)), desc="bench", unit="row", disable=None) as bar:
        for group in groups:
            for row in run_group(group, trained, released, seconds):
                rows.append(row)
                bar.update()
    add_ratios(rows)
    _print(rows)
    for name in dict.fromkeys(f"{row['model']} at {row['block']}: {row['voice']}" for row in rows):
        typer.echo(name, err=True)
    if json_path is not None:
        write_json(json_path, {"rows": rows})
    if plot is not None:
        _plot(rows, plot)


def _print(rows: list[dict[str, Any]]) -> None:
    """The table, with the slowest blocks as a share of what there is time for."""
    lines = [[*HEADINGS, "p99 / block", "MB", "parameters"]]
    for row in rows:
        share = row["p99_ms"] * row["sample_rate"] / row["block"] / 1000
        timings = [f"{row[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms")]
        first = ["" if row[key] is None else str(row[key]) for key in KEYS]
        lines.append([*first, *timings, f"{share:.0%}", f"{row['peak_mb']:.0f}", f"{row['params']:,}"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        typer.echo("  ".join(setting.rjust(width) for setting, width in zip(line, widths, strict=True)))


def _plot(rows: list[dict[str, Any]], path: Path) -> None:
    from diffsynth.comparison.speed import rtf_figure
    from diffsynth.runs.files import atomic_path

    with atomic_path(path) as temporary:
        rtf_figure(rows).savefig(temporary, dpi=110, metadata={"Software": None})
