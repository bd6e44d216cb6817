"""What a reader sees in `mlflow ui` of a finished pipeline: a real server, a real browser."""

import json
import shutil

import numpy as np
import pytest
from mlflow import MlflowClient
from playwright.sync_api import expect
from support.finished_runs import BLOCKS, MODELS, log_finished
from support.mlflow_pages import AXES, PATIENCE, ROOT, WINDOW, Pages, mlflow_ui

from diffsynth.runs.files import write_json

VOICE = "diffsynth-s6-4096"
NAMES = [f"{model}-{block}" for model in MODELS for block in BLOCKS]


@pytest.fixture(scope="module")
def store(tmp_path_factory, mlflow_store):
    """A store with the runs of a pipeline, whose numbers are those of the demo's run in this repository."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "empty")  # makes the tables of the store
        from diffsynth.runs.tracking import track

        with track("align", {}, {}):
            shutil.copy(mlflow_store.removeprefix("sqlite:///"), folder / "mlflow.db")
        patch.delenv("MLFLOW_EXPERIMENT_NAME")
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("DIFFSYNTH_PIPELINE_RUN", "finished")
        client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        if known := client.get_experiment_by_name("diffsynth"):
            client.rename_experiment(known.experiment_id, "of other tests")
        shutil.copy(ROOT / "params.yaml", folder)
        for name in ("timings", "metrics"):
            shutil.copytree(ROOT / "results" / name, folder / "results" / name)
        write_json(folder / "data" / "aligned" / "index.json", {"dataset": "demo", "performances": []})
        log_finished(folder, lambda model, block: _made(folder, model, block))
        yield f"sqlite:///{folder}/mlflow.db"


def _made(folder, model, block):
    """A file in place of a voice, and a curve that falls."""
    path = folder / f"{model}-{block}.safetensors"
    path.write_bytes(f"{model} {block}".encode())
    losses = 2 + np.exp(-np.arange(10) / 3)
    return path, [{"step": str(40 * n), "validation_loss": f"{loss:.4f}"} for n, loss in enumerate(losses, 1)]


def value(model, block, name):
    """A number of the demo's run, as MLflow shows it."""
    kind, field = ("timings", ()) if name == "rtf" else ("metrics", ("metrics",))
    report = json.loads((ROOT / "results" / kind / str(block) / f"{model}.json").read_text())
    for key in field:
        report = report[key]
    return report[name]


def test_the_training_view_has_eight_whole_runs_and_compares_them(store, open_page, tmp_path):
    with mlflow_ui(store, tmp_path) as address:
        seen = open_page(size=WINDOW)
        pages, client = Pages(seen.page, address), MlflowClient(store)
        pages.open_training_view(client.get_experiment_by_name("diffsynth").experiment_id)
        pages.expand()
        pages.show_columns()
        expect(seen.page.locator("[role=gridcell][col-id='metrics.`rtf`']").nth(2)).to_have_text(
            f"{value('s6', 4096, 'rtf')}", timeout=PATIENCE
        )
        table = pages.table()
        assert {"pipeline finished", "align", "compare", *NAMES} == set(table)
        for model in MODELS:
            for block in BLOCKS:
                shown = table[f"{model}-{block}"]
                assert shown[:2] == [model, str(block)]
                expected = [value(model, block, name) for name in ("onset_f1", "log_mel_db", "rtf")]
                assert [float(text) for text in shown[2:]] == pytest.approx(expected, rel=1e-3)
        pages.show_charts()
        for name in ("jumps_per_minute", "l1", "l2"):  # of voices, before those of other stages
            chart = seen.page.get_by_text(name, exact=True).first
            assert chart.bounding_box()["y"] < WINDOW[1] / 2
        pages.show_table()
        pages.compare(NAMES)
        pages.choose_axes(**AXES)
        axes = seen.page.locator(".js-plotly-plot .axis-title").all_text_contents()
        assert axes == [name for names in AXES.values() for name in names]
        text = seen.page.inner_text("main")
        assert all(name in text for name in NAMES)
        for name in ("train.learning_rate", "onset_f1", "rtf", "validation_loss"):
            assert len(seen.page.get_by_role("row", name=name).get_by_role("cell").all_inner_texts()) >= 8
        (voice,) = client.search_model_versions(f"tags.pipeline_run = 'finished' and name = '{VOICE}'")
        pages.open_voice(VOICE, voice.version)
        expect(seen.page.get_by_text('"block": 4096')).to_be_visible(timeout=PATIENCE)  # of the card
        assert seen.outside == []
