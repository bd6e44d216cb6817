"""Which MLflow run a stage belongs to: one parent for each pipeline run, below it one run for each voice.

`train`, `infer` and `evaluate` of one model at one block size log to one run, whatever starts them. They
find it by what they read: `infer` by the digest of the voice, `evaluate` by that of the renders. Other stages
have a run of their own under the same parent.

Every stage that has finished leaves a tag `logged.STAGE` with the names of what it logged.
"""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

PARENT = "pipeline"  # tag `stage` of a parent
LOGGED = "logged."
# What commands themselves write into a repository.
OWN = [":(top,exclude)dvc.lock", ":(top,exclude)results", ":(top,exclude)listening"]
VARIANT_STAGES = ("train", "infer", "evaluate")  # of one model at one block size, in their order
BATCH = 1000  # metrics in one call


def pipeline_run() -> str:
    """Identifier of the pipeline run that a stage belongs to.

    DIFFSYNTH_PIPELINE_RUN replaces it. All stages of one `dvc repro` share its start time and process id.
    Stages that are started by hand share it as long as commit, uncommitted changes and params.yaml stay as
    they are.
    """
    given = os.environ.get("DIFFSYNTH_PIPELINE_RUN")
    if given:
        return given
    dvc = next((parent for parent in psutil.Process().parents() if _is_dvc(parent)), None)
    if dvc is not None:
        return f"{datetime.fromtimestamp(dvc.create_time()):%Y%m%d-%H%M%S}-{dvc.pid}"
    state = hashlib.sha256(str(Path.cwd()).encode(errors="surrogateescape"))
    with suppress(OSError):
        state.update(Path("params.yaml").read_bytes())
    for command in (["rev-parse", "HEAD"], ["diff", "HEAD", "--", ":/", *OWN]):
        state.update((_git(*command) or "").encode())
    return f"by-hand-{state.hexdigest()[:8]}"


def _is_dvc(process: psutil.Process) -> bool:
    """Whether a process is `dvc ...`, `python .../dvc ...` or `python -m dvc ...`."""
    try:
        words = process.cmdline()[:3]
    except psutil.Error:
        return False
    programs = [re.sub(r"\.exe$", "", Path(word).name) for word in words[:2]]
    return "dvc" in programs or words[1:] == ["-m", "dvc"]


def commit_tags() -> dict[str, str]:
    """Tags of the commit that the current folder is at; none outside a git repository.

    What the stages themselves write into the repository does not make it dirty.
    """
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ":/", *OWN)
    if commit is None or changes is None:
        return {}
    # The second name is the one that MLflow's pages show as "source version".
    return {"commit": commit, "dirty": str(bool(changes)).lower(), "mlflow.source.git.commit": commit}


def _git(*words: str) -> str | None:
    with suppress(OSError, subprocess.CalledProcessError):
        done = subprocess.run(["git", *words], capture_output=True, text=True, errors="replace", check=True)
        return done.stdout.strip()
    return None


class RunTree:
    """The runs of one experiment.

    Args:
        client: of MLflow.
        experiment: id of the experiment.
    """

    def __init__(self, client: Any, experiment: str) -> None:
        self._client, self._experiment = client, experiment

    def parent(self, pipeline: str) -> str:
        """Id of the parent run of a pipeline run, made where there is none.

        Stages that begin at once may each make one: all of them then take the oldest, and remove theirs.
        """
        tags = {"pipeline_run": pipeline, "stage": PARENT}
        found = self._find(tags)
        if not found:
            made = self._create(f"{PARENT} {pipeline}", {**tags, **commit_tags()})
            found = self._find(tags)
            if found[-1].info.run_id != made:
                self._client.delete_run(made)
        return str(found[-1].info.run_id)

    def place(
        self, stage: str, tags: Mapping[str, Any], params: Mapping[str, str], reads: Mapping[str, str]
    ) -> str:
        """Id of the run that a stage logs to, with the parameters that it holds already.

        A stage that reads what a run has written joins that run: the one of its own pipeline run, else the
        latest where this stage has not finished yet. Where it has, with other parameters or in another
        pipeline run, a new run takes over what the stages before it have logged.

        Args:
            stage: its name.
            tags: `model` and `block`, where it has them.
            params: that it will log, under dotted names.
            reads: tags that what it reads is known by, such as the digest of a voice.
        """
        pipeline = pipeline_run()
        variant = {name: str(tags[name]) for name in ("model", "block") if name in tags}
        earlier = self._find({**variant, **reads}) if variant and reads else []
        for run in [each for each in earlier if each.data.tags.get("pipeline_run") == pipeline] + [
            each for each in earlier if LOGGED + stage not in each.data.tags
        ]:
            if all(run.data.params.get(name, value) == value for name, value in params.items()):
                return str(run.info.run_id)
        parent = {"mlflow.parentRunId": self.parent(pipeline), "pipeline_run": pipeline}
        name = f"{variant['model']}-{variant['block']}" if variant else stage
        made = self._create(name, parent)
        if earlier:
            self._take_over(made, earlier[0], stage, params)
        return made

    def begin(self, run_id: str) -> Any:
        """Mark a run and its parent as running; returns the run."""
        run = self._client.get_run(run_id)
        for each in (run_id, run.data.tags.get("mlflow.parentRunId")):
            if each is not None:
                self._client.update_run(each, status="RUNNING")
        return run

    def end(self, run_id: str, status: str) -> None:
        """End a run and its parent: the parent is as its last stage was."""
        parent = self._client.get_run(run_id).data.tags.get("mlflow.parentRunId")
        for each in (run_id, parent):
            if each is not None:
                self._client.set_terminated(each, status)

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        run = self._client.create_run(self._experiment, run_name=name, tags=dict(tags))
        return str(run.info.run_id)

    def _find(self, tags: Mapping[str, str]) -> list[Any]:
        """Runs with these tags, the latest first."""
        words = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        order = ["attributes.start_time DESC", "attributes.run_id ASC"]
        return list(self._client.search_runs([self._experiment], words, order_by=order, max_results=200))

    def _take_over(self, made: str, source: Any, stage: str, params: Mapping[str, str]) -> None:
        """Copy to a new run what the stages before `stage` have logged to another one."""
        from mlflow.entities import Param, RunTag

        logged = {
            name: json.loads(value)
            for name, value in source.data.tags.items()
            if name.startswith(LOGGED) and name != LOGGED + stage and _comes_before(name, stage)
        }
        names = {name for each in logged.values() for name in each["params"]} - set(params)
        copied = [Param(name, source.data.params[name]) for name in sorted(names)]
        kept = {name: value for name, value in source.data.tags.items() if name in ("voice", *logged)}
        tags = [RunTag(name, value) for name, value in {**kept, "taken_from": source.info.run_id}.items()]
        for start in range(0, len(copied), 100):
            self._client.log_batch(made, params=copied[start : start + 100])
        self._client.log_batch(made, tags=tags)
        for name in sorted({name for each in logged.values() for name in each["metrics"]}):
            history = self._client.get_metric_history(source.info.run_id, name)
            for start in range(0, len(history), BATCH):
                self._client.log_batch(made, metrics=history[start : start + BATCH])
        if source.inputs.dataset_inputs:
            self._client.log_inputs(made, source.inputs.dataset_inputs)


def _comes_before(tag: str, stage: str) -> bool:
    order = [*VARIANT_STAGES, stage]
    name = tag.removeprefix(LOGGED)
    return name in order and order.index(name) < order.index(stage)
