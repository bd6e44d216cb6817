"""`diffsynth benchmark`: voices and other systems on recordings of one's own, as a table to cite."""

from itertools import product
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffsynth.audio.format import BLOCKS
from diffsynth.config import choice
from diffsynth.errors import UserError
from diffsynth.models.registry import MODELS
from diffsynth.synthesis.config import BACKENDS
from pipeline import paths
from pipeline.params import load_params
from pipeline.stage import PARAMS, ParamsFile, Released, Trained, numbers, stage

if TYPE_CHECKING:
    from diffsynth.benchmark.systems import OwnVoice, System


def benchmark(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Pairs NAME.mid and NAME.wav.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")] = paths.BENCHMARK,
    models: Annotated[str, typer.Option(help="Models, with commas; '' for none.")] = "lstm,s6",
    blocks: Annotated[str, typer.Option(help="Samples per block, with commas.")] = "512,4096",
    voice: Annotated[list[str] | None, typer.Option(help="A voice: NAME=weights.safetensors.")] = None,
    soundfont: Annotated[Path | None, typer.Option(help="SoundFont that FluidSynth plays.")] = None,
    system: Annotated[
        list[str] | None, typer.Option(help="A program: NAME='command {midi} {wav}'; without a shell.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds a program may take.")] = 3600.0,
    begin: Annotated[float, typer.Option("--from", min=0.0, help="Measure from this second.")] = 0.0,
    seconds: Annotated[float | None, typer.Option(min=0.5, help="Measure so many at most.")] = None,
    lag: Annotated[float, typer.Option(min=0.0, max=1000.0, help="Delay to remove, ms at most.")] = 60.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise of voices.")] = 0,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Of the sampler of voices.")] = 1,
    backends: Annotated[str, typer.Option(help=f"Of voices: {' and '.join(BACKENDS)}.")] = BACKENDS[0],
    params_file: ParamsFile = PARAMS,
    trained: Trained = paths.MODELS,
    released: Released = paths.WEIGHTS,
) -> None:
    """Render a folder of MIDI by several systems, and measure them against its recordings.

    What is rendered and measured stays in the folder of --out, and the same command goes on with it.
    """
    params = load_params(params_file)
    variants = [
        (choice("model", model, MODELS), choice("block", block, BLOCKS))
        for model, block in product(filter(None, models.split(",")), numbers("blocks", blocks))
    ]
    chosen = [choice("backend", name, BACKENDS) for name in dict.fromkeys(backends.split(","))]
    if seconds is not None and not isfinite(seconds):
        raise UserError(f"--seconds takes a number of seconds, not {seconds}")
    if folder.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{folder} lies in {out}; choose another folder to write")
    import torch

    from diffsynth.benchmark.choosing import check_systems, given_voices, voices_of
    from diffsynth.benchmark.external import External
    from diffsynth.benchmark.measuring import How, common, measure_all
    from diffsynth.benchmark.metadata import machine
    from diffsynth.benchmark.pieces import Stretch, find_pieces, write_cut
    from diffsynth.benchmark.rendering import MARK, render_all, writing
    from diffsynth.benchmark.results import collect, write
    from diffsynth.benchmark.systems import Playing, SoundFont, pianos_of
    from diffsynth.runs.files import check_folder

    check_folder(out, MARK)
    torch.set_num_threads(1)
    said: list[str] = []
    programs = [External.parse(text, timeout) for text in system or []]
    own: list[OwnVoice] = []
    for playing in (Playing(seed, steps, name) for name in chosen):
        own += voices_of(variants, trained, released, playing, said.append)
        own += given_voices(voice or [], playing)
    fonts = [SoundFont(soundfont)] if soundfont is not None else []
    ours: list[System] = [*pianos_of(own), *own, *fonts]
    systems = [*ours, *programs]
    check_systems(systems, said)
    pieces, set_aside = find_pieces(folder, out, Stretch(begin, seconds), said.append)
    rate, channels = common([(each.rate, each.channels) for each in own], pieces)
    how, of_machine = How(rate, channels, Stretch(begin, seconds), lag / 1000, params.evaluate), machine()
    with writing(out), stage("benchmark", params, ["evaluate"]) as run:
        run.params({"rate": rate, "channels": channels, "from": begin, "seconds": seconds})
        run.params({"lag": lag, "seed": seed, "steps": steps})
        for line in dict.fromkeys([*said, *(f"left out {item.name}: {item.reason}" for item in set_aside)]):
            typer.echo(f"diffsynth: {line}", err=True)
        write_cut(pieces)
        speeds = render_all([*programs, *ours], pieces, out, of_machine)  # what may fail comes first
        results = collect(systems, measure_all([each.key for each in systems], pieces, out, how), speeds)
        for path in write(results, systems, pieces, how, of_machine, out):
            run.artifact(path)
        for score in results.scores:
            run.metrics({f"vs_recording.{key}.{score.key}": value for key, value in score.values.items()})
    for line in results.far(how.lag):
        typer.echo(f"diffsynth: {line}", err=True)
    typer.echo((out / "table.md").read_text(encoding="utf8"), nl=False)
