"""The pages of `mlflow ui`, driven as a reader uses them; also makes the pictures of docs/mlflow.md.

PYTHONPATH=.:tests python tests/support/mlflow_pages.py sqlite:///mlflow.db docs
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect

ROOT = Path(__file__).parents[2]
ROWS = ".ag-center-cols-container .ag-row"
COLUMNS = (
    ("tags", "model"),
    ("tags", "block"),
    ("metrics", "onset_f1"),
    ("metrics", "log_mel_db"),
    ("metrics", "rtf"),
)
AXES = {"Parameters": ("model", "block"), "Metrics": ("onset_f1", "log_mel_db")}
WINDOW = (1900, 860)
PATIENCE = 60000  # ms; the code of charts is large, and machines are busy


@contextmanager
def mlflow_ui(store, folder):
    """Address of an `mlflow ui` over a store; its log goes to a folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--backend-store-uri", store]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with open(Path(folder) / "ui.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "ui", *words],
            env={**os.environ, **quiet},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/health", process)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _wait_for(address, process, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("mlflow ui does not answer")


class Pages:
    """A reader of the experiment `diffsynth`."""

    def __init__(self, page, address):
        self.page, self.address = page, address

    def open_training_view(self, experiment):
        """By the address in docs/mlflow.md; `experiment` is the id."""
        self.page.goto(f"{self.address}/#/experiments/{experiment}/runs?workflowType=machine_learning")
        expect(self.page.locator(ROWS).first).to_be_visible(timeout=PATIENCE)
        close = self.page.get_by_role("button", name="Close")
        if close.count():  # an advertisement of an assistant
            close.first.click()

    def switch(self):
        """From the first page to "Model training", which the browser remembers, and to the experiment."""
        self.page.goto(self.address)
        self.page.get_by_text("Model training", exact=True).first.click()
        self.page.get_by_role("link", name="diffsynth", exact=True).first.click()
        self.page.wait_for_url("**/runs?workflowType=machine_learning**", timeout=PATIENCE)

    def open_voice(self, name, version):
        """The page of a version of a registered model."""
        self.page.goto(f"{self.address}/#/models/{name}/versions/{version}")

    def expand(self):
        """Show the runs below the first parent."""
        self.page.locator(".ag-row button").first.click()
        expect(self.page.locator(ROWS).nth(1)).to_be_visible(timeout=PATIENCE)

    def show_columns(self):
        """Add the columns."""
        self.page.get_by_role("button", name="Columns", exact=True).click()
        search = self.page.get_by_placeholder("Search columns")
        for _, name in COLUMNS:
            search.fill(name)
            # Other names hold this one, and what was searched for stands in an element of its own.
            exact = re.compile(rf"^\s*{name}\s*$")
            self.page.locator("[class*=tree-title]").filter(has_text=exact).last.click()
        self.page.keyboard.press("Escape")
        self.page.mouse.click(WINDOW[0] / 2, WINDOW[1] - 60)

    def table(self):
        """Texts of `COLUMNS` of all runs that are shown, by their names."""
        texts = {}
        for index in range(self.page.locator(ROWS).count()):
            cells = self.page.locator(f".ag-row[row-index='{index}'] [role=gridcell]")
            row = {
                cell.get_attribute("col-id"): cell.inner_text().split("\n")[-1].strip()
                for cell in cells.all()
            }
            texts[row["attributes.`Run Name`"]] = [row[f"{kind}.`{name}`"] for kind, name in COLUMNS]
        return texts

    def show_charts(self):
        """The charts of all runs that are shown."""
        self.page.locator("label:has(input[value=CHART])").click()
        expect(self.page.locator(".js-plotly-plot").first).to_be_visible(timeout=PATIENCE)

    def show_table(self):
        """Back from the charts."""
        self.page.locator("label:has(input[value=TABLE])").click()

    def compare(self, names):
        """Choose runs in the table and open their comparison."""
        for name in names:
            row = self.page.locator(".ag-row").filter(
                has=self.page.get_by_role("link", name=name, exact=True)
            )
            row.locator("input.ag-checkbox-input").click(force=True)
        self.page.get_by_role("button", name="Compare").click()
        expect(self.page.get_by_text(f"Comparing {len(names)} Runs from 1 Experiment")).to_be_visible(
            timeout=PATIENCE
        )
        expect(self.page.locator(".js-plotly-plot").first).to_be_visible(timeout=PATIENCE)

    def choose_axes(self, **names):
        """Choose what parallel coordinates show: `Parameters` and `Metrics`, by their names."""
        self.page.get_by_role("button", name="Clear All").click()
        for label, wanted in names.items():
            after = "xpath=following::*[contains(@class, 'select-selector')][1]"
            self.page.get_by_text(f"{label}:", exact=True).locator(after).click()
            for name in wanted:
                option = self.page.locator("[class*=select-item-option]").get_by_text(name, exact=True)
                self.page.keyboard.type(name)
                expect(option.first).to_be_visible(timeout=PATIENCE)
                self.page.keyboard.press("Enter")
            self.page.keyboard.press("Escape")
        last = next(reversed(names.values()))[-1]
        expect(self.page.locator(".js-plotly-plot").get_by_text(last)).to_be_visible(timeout=PATIENCE)


def take_pictures(page, address, experiment, folder, names):
    """Screenshots of the training view, charts, a comparison and a registered voice, as PNG files."""
    pages = Pages(page, address)
    pages.switch()
    pages.open_training_view(experiment)
    pages.expand()
    pages.show_columns()
    expect(page.get_by_text("onset_f1", exact=True).first).to_be_visible(timeout=PATIENCE)
    page.screenshot(path=folder / "mlflow-runs.png")
    pages.show_charts()
    page.wait_for_timeout(3000)  # the charts come one after the other
    page.screenshot(path=folder / "mlflow-charts.png")
    pages.show_table()
    pages.compare(names)
    pages.choose_axes(**AXES)
    page.wait_for_timeout(1000)
    page.screenshot(path=folder / "mlflow-compare.png")
    pages.open_voice(f"diffsynth-{names[0]}", 1)
    expect(page.get_by_text('"train"')).to_be_visible(timeout=PATIENCE)  # of the card
    page.screenshot(path=folder / "mlflow-voice.png")


if __name__ == "__main__":
    from mlflow import MlflowClient

    from support.browser import chromium, watched

    experiment = MlflowClient(sys.argv[1]).get_experiment_by_name("diffsynth").experiment_id
    variants = [f"{model}-{block}" for model in ("lstm", "s6") for block in (512, 1024, 2048, 4096)]
    with (
        mlflow_ui(sys.argv[1], os.environ.get("TMPDIR", "/tmp")) as ui,
        chromium() as browser,
        watched(browser, size=WINDOW) as seen,
    ):
        take_pictures(seen.page, ui, experiment, Path(sys.argv[2]), variants)
