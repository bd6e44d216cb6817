"""Runs of a finished pipeline, logged with the code of the stages from the files that they leave."""

import csv
from itertools import product
from pathlib import Path

from diffsynth.runs.files import folder_sha256, read_json, sha256
from pipeline.params import load_params
from pipeline.stage import stage

MODELS, BLOCKS = ("lstm", "s6"), (512, 1024, 2048, 4096)


def log_finished(folder, made, sections=("audio", "features", "diffusion", "train")):
    """Log what train, infer and evaluate of all models left in `folder`, and align, bounds and compare.

    Args:
        folder: of a project, with results/ of a finished pipeline.
        made: gives the file of a voice and the validation rows of a model at a block size.
        sections: of the parameters of `train`.
    """
    params = load_params(folder / "params.yaml")
    with stage("align", params, ["align"]):
        pass
    for block in BLOCKS:
        for model in MODELS:
            voice, rows = made(model, block)
            _log_variant(params, folder, model, block, voice, rows, sections)
    with stage("compare", params, []) as run:
        run.params({"models": MODELS, "blocks": BLOCKS})
        for model, block in product(MODELS, BLOCKS):
            report = read_json(folder / "results" / "metrics" / str(block) / f"{model}.json")
            run.metrics({f"vs_block.{key}.{model}": value for key, value in report["metrics"].items()}, block)


def _log_variant(params, folder, model, block, voice, rows, sections):
    results, place = folder / "results", Path(str(block)) / model
    with stage("train", params, [*sections, model], model, block) as run:
        for row in rows:
            step = int(float(row["step"]))
            run.metrics({name: float(value) for name, value in row.items() if name != "step"}, step)
        run.voice(voice, {"model": model, "block": block})
        run.dataset(folder / "data" / "aligned" / "index.json", "training")
    reads = {"voice": sha256(voice)}
    with stage("infer", params, ["audio", "infer"], model, block, reads=reads) as run:
        timings = read_json(results / "timings" / f"{place}.json")
        run.metrics({name: timings[name] for name in ("rtf", "p50_ms", "p99_ms")})
        renders = results / "renders" / place
        digest = folder_sha256(renders) if renders.is_dir() else f"{model}{block}"
        run.tags({**reads, "renders": digest})
    with stage("evaluate", params, ["evaluate"], model, block, reads={"renders": digest}) as run:
        run.metrics(read_json(results / "metrics" / f"{place}.json")["metrics"])
        if (results / "figures" / place).is_dir():
            run.artifact(results / "figures" / place, "spectrograms")


def validation_rows(path):
    """Rows of the loss.csv that `train` writes."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
