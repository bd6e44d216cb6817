"""Where every stage reads and writes by default, relative to the repository; dvc.yaml says the same."""

from pathlib import Path

from diffsynth.runs.project import project_root

DATA = Path("data")
RAW = Path("data/raw")
ALIGNED = Path("data/aligned")
SHARDS = Path("data/shards")
FIT = Path("data/fit/piano.safetensors")
FEATURES = Path("data/features")
MODELS = Path("models")
CHECKPOINTS = Path("checkpoints")
WEIGHTS = Path(__file__).parents[1] / "weights"  # the released voices lie beside the code, installed or not
TRANSCRIPTION_RESULTS = Path("results/transcribe")
ALIGN_RESULTS = Path("results/align")
FIT_RESULTS = Path("results/fit")
TRAIN_RESULTS = Path("results/train")
RENDERS = Path("results/renders")
TIMINGS = Path("results/timings")
METRICS = Path("results/metrics")
FIGURES = Path("results/figures")
BOUNDS = Path("results/renders/bounds")
BOUND_METRICS = Path("results/metrics/bounds")
BOUND_FIGURES = Path("results/figures/bounds")
COMPARE = Path("results/compare")
TABLE = Path("results/table")
SALAMANDER = Path("instruments/salamander")
BENCHMARK = Path("results/benchmark")
LISTENING = Path("listening")  # not among the results, which are made anew: people have said this once
OUTPUTS = (RAW, ALIGNED, SHARDS, FIT, FEATURES, MODELS, RENDERS, METRICS)  # inputs of later stages


def of_variant(folder: Path, model: str, block: int, suffix: str = "") -> Path:
    """The place of one model at one block size, in samples, under a folder: `folder/block/model`.

    `suffix` (".safetensors", ".json") makes it a file.
    """
    return folder / str(block) / f"{model}{suffix}"


def of_system(folder: Path, model: str, block: int | None) -> Path:
    """The place of a model at a block size, or, without one, of a bound, under a folder."""
    return folder / "bounds" / model if block is None else of_variant(folder, model, block)


def finished(model: str, block: int) -> Path | None:
    """The last checkpoint of a run that has ended, to go on from with more steps.

    None in a temporary copy of the project, whose experiments would each leave one.
    """
    same = project_root() == Path.cwd()
    return of_variant(CHECKPOINTS / "finished", model, block, ".safetensors") if same else None


def checkpoint(model: str, block: int, stamp: str) -> Path:
    """The checkpoint of a training run.

    In a temporary copy of the project (`dvc exp run --temp`) it is one in the project itself that names its
    stamp, because experiments run side by side there.
    """
    root = project_root()
    if root == Path.cwd():
        return of_variant(CHECKPOINTS, model, block, ".safetensors")
    return root / CHECKPOINTS / "experiments" / f"{model}-{block}-{stamp[:16]}.safetensors"
