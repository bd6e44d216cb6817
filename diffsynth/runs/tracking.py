"""MLflow runs: one for each model and block size, one for every other stage, under one parent.

The store is `sqlite:///mlflow.db` in the folder of the project, unless MLFLOW_TRACKING_URI names another
one, and the experiment `diffsynth`, unless MLFLOW_EXPERIMENT_NAME names another one; artifacts lie in
`mlruns` beside that file, or where a server puts them. Only MLflow's client is used, never its fluent
interface, because an exported MLFLOW_RUN_ID redirects the latter to a run that belongs to somebody else.
`diffsynth.runs.mlflow_store` opens the store, `diffsynth.runs.run_tree` says which run a stage belongs to.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diffsynth.errors import UserError, printable
from diffsynth.runs.files import read_json, sha256
from diffsynth.runs.mlflow_store import (
    IMPATIENT,
    PATIENT,
    default_uri,
    environment,
    experiment_id,
    new_client,
    opened,
    quiet,
    store_errors,
)
from diffsynth.runs.model_registry import register
from diffsynth.runs.run_tree import LOGGED, RunTree, commit_tags, pipeline_run

__all__ = ["Run", "pipeline_run", "track"]

FLUSH_SECONDS = 5.0  # how old a buffered metric may get
METRICS_PER_BATCH, PAIRS_PER_BATCH, VALUE_LENGTH = 1000, 100, 6000  # MLflow's limits
VERSION_TAGS = ("model", "block", "commit", "dirty", "pipeline_run")  # also of a registered version
DIGEST = 16  # hexadecimal digits of what a data set is known by


class Run:
    """One MLflow run that is under way. A call to the store that fails raises UserError."""

    def __init__(self, client: Any, tree: RunTree, run_id: str, uri: str) -> None:
        self.id = run_id
        self._client, self._tree, self._uri = client, tree, uri
        self._metrics: list[Any] = []
        self._names: dict[str, set[str]] = {"params": set(), "metrics": set()}
        self._flushed = time.monotonic()

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers at `step`; buffered, because one call a number costs 4 ms on SQLite."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._names["metrics"].update(values)
        self._metrics += [Metric(name, float(value), now, step or 0) for name, value in values.items()]
        if len(self._metrics) >= METRICS_PER_BATCH or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters; nested mappings become dotted names, long values are cut."""
        from mlflow.entities import Param

        pairs = flat(values)
        self._names["params"].update(pairs)
        self._log("params", [Param(name, value) for name, value in pairs.items()])

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags; a tag that exists is overwritten."""
        from mlflow.entities import RunTag

        self._log("tags", [RunTag(name, _cut(value)) for name, value in values.items()])

    def artifact(self, path: str | Path, under: str | None = None) -> None:
        """Copy a file, or a folder with what it holds, to the run.

        Args:
            path: of it.
            under: folder of the run; by default a folder keeps its name, and a file lies at the top.

        Raises:
            UserError: there is no such file.
        """
        if not Path(path).exists():
            raise UserError(f"{path} does not exist")
        with store_errors(self._uri):
            if Path(path).is_dir():
                self._client.log_artifacts(self.id, str(path), under or Path(path).name)
            else:
                self._client.log_artifact(self.id, str(path), under)

    def dataset(self, index: str | Path, use: str) -> None:
        """Log the data set whose index this is as an input; its digest is that of the index.

        Args:
            index: JSON file with the name under `dataset`, which names its files by their digests.
            use: what for, as MLflow's pages show it: "training", "testing".
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name = str(read_json(index).get("dataset", "unnamed"))
        source = json.dumps({"uri": printable(str(index))})
        data = Dataset(name, sha256(index)[:DIGEST], "local", source)
        with store_errors(self._uri):
            self._client.log_inputs(self.id, [DatasetInput(data, [InputTag("mlflow.data.context", use)])])

    def voice(self, path: str | Path, card: Mapping[str, Any]) -> None:
        """Log and register the file of a voice as a model of MLflow, with its card.

        The run is tagged with the digest of the file. See `diffsynth.runs.model_registry`.
        """
        from mlflow.entities import LoggedModelOutput

        with store_errors(self._uri), TemporaryDirectory() as folder:
            run = self._client.get_run(self.id)
            written = Path(folder) / "card.json"
            written.write_text(json.dumps(card, indent=2) + "\n", encoding="utf8")
            model = self._client.create_logged_model(
                run.info.experiment_id, run.info.run_name, self.id, model_type="voice"
            )
            for file in (Path(path), written):
                self._client.log_model_artifact(model.model_id, str(file))
                self._client.log_artifact(self.id, str(file), "voice")
            self._client.finalize_logged_model(model.model_id, "READY")
            self._client.log_outputs(self.id, [LoggedModelOutput(model.model_id, 0)])
            tags = {name: run.data.tags[name] for name in VERSION_TAGS if name in run.data.tags}
            tags["voice"] = sha256(path)
            name = f"{self._client.get_experiment(run.info.experiment_id).name}-{run.info.run_name}"
            register(self._client, name, model.model_id, self.id, tags, card)
        self.tags({"voice": tags["voice"]})

    def flush(self) -> None:
        """Send the metrics that are buffered."""
        metrics, self._metrics = self._metrics, []
        self._log("metrics", metrics, METRICS_PER_BATCH)
        self._flushed = time.monotonic()

    def end(self, stage: str, status: str) -> None:
        """Close the run with one of MLflow's states: FINISHED, FAILED, KILLED."""
        self.flush()
        if status == "FINISHED":
            self.tags(
                {LOGGED + stage: json.dumps({key: sorted(names) for key, names in self._names.items()})}
            )
        with store_errors(self._uri):
            self._tree.end(self.id, status)

    def _log(self, kind: str, entities: Sequence[Any], size: int = PAIRS_PER_BATCH) -> None:
        with store_errors(self._uri):
            for start in range(0, len(entities), size):
                self._client.log_batch(self.id, **{kind: entities[start : start + size]})


@contextmanager
def track(
    stage: str,
    params: Mapping[str, Any],
    tags: Mapping[str, Any],
    run_id: str | None = None,
    reads: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """A run of `stage`: FINISHED when the body ends, FAILED if it raises, KILLED if interrupted.

    Args:
        stage: name of the stage.
        params: logged under dotted names; not logged again when a run is continued.
        tags: logged beside the stage, the commit and the pipeline run; `model` and `block` also
            name the run.
        run_id: of the run to continue. One that the store does not know is replaced by a new run.
        reads: tags of the run whose output this stage reads, and to which it then logs; see
            `diffsynth.runs.run_tree`.

    Raises:
        UserError: the store cannot be reached or written, or its experiment is deleted, before the body
            starts.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or default_uri()
    with environment(IMPATIENT), quiet(), store_errors(uri):
        with opened(uri) as artifacts:
            client = new_client(uri)
            tree = RunTree(client, experiment_id(client, artifacts, uri))
            begun = _continued(tree, run_id)
            new = begun is None
            if begun is None:
                begun = tree.begin(tree.place(stage, tags, flat(params), reads or {}))
            run = Run(client, tree, begun.info.run_id, uri)
        if new:
            run.params({name: value for name, value in flat(params).items() if name not in begun.data.params})
        source = {"mlflow.source.name": f"diffsynth {stage}", "mlflow.source.type": "LOCAL"}
        run.tags({"stage": stage, **source, **commit_tags(), **tags})
    try:
        with environment(PATIENT):
            yield run
            run.end(stage, "FINISHED")
    except BaseException as error:
        with (
            suppress(UserError),
            environment(IMPATIENT),
        ):  # what went wrong before is what the user has to see
            run.end(stage, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise


def _continued(tree: RunTree, run_id: str | None) -> Any:
    """The run of this id, under way again; None if the store does not know it."""
    from mlflow.exceptions import MlflowException

    if run_id is not None:
        with suppress(MlflowException):
            return tree.begin(run_id)
    return None


def flat(values: Mapping[str, Any]) -> dict[str, str]:
    """Nested mappings under dotted names, as text of a length that MLflow takes."""
    return {name: _cut(value) for name, value in _flatten(values)}


def _cut(value: Any) -> str:
    return printable(str(value))[:VALUE_LENGTH]


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
