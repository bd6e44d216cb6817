"""A small comparison with sound: clicks at known times, the same in every system.

PYTHONPATH=.:tests python tests/support/report_page.py results/compare/report.html docs

makes the pictures of docs/compare.md of a report.
"""

import json
import sys
from pathlib import Path

import numpy as np
import soundfile

from support.scores import BOUNDS, VARIANTS, all_scores

RATE, SECONDS, EVERY = 24000, 6.0, 0.5
NAMES = ("first", "second_piece")
PLACES = [
    *(f"{block}/{model}" for model, block in VARIANTS),
    *(f"bounds/{name}" for name in BOUNDS if name != "recording"),
]


def clicks(seed=0):
    """Bursts of noise of 10 ms, one every half second from a quarter of a second on."""
    burst = np.random.default_rng(seed).standard_normal(240) * np.hanning(240)
    signal = np.zeros(round(SECONDS * RATE), "f4")
    for place in np.arange(0.25, SECONDS, EVERY):
        start = round(place * RATE)
        signal[start : start + 240] += 0.3 * burst[: len(signal) - start]
    return signal


def write_sound(folder):
    """`aligned` and `renders` below a folder: the recordings, and every system half as loud."""
    for seed, name in enumerate(NAMES):
        _write(folder / "aligned" / f"{name}.flac", clicks(seed))
        for place in PLACES:
            _write(folder / "renders" / place / f"{name}.wav", clicks(seed) / 2)


def write_segments(folder, better="512/s6"):
    """`figures` below a folder: metrics of segments that all systems share, and one system that is lower."""
    random = np.random.default_rng(0)
    hard = {name: random.uniform(0.3, 0.6, 8) for name in NAMES}
    keys = list(all_scores()[0].values)
    for place in PLACES:
        effect = 0.2 if place == better else 0.0
        own = {
            name: {key: (hard[name] - effect + 0.01 * random.standard_normal(8)).tolist() for key in keys}
            for name in NAMES
        }
        path = folder / "figures" / place / "segments.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"seconds": 5.0, "performances": own}))


def _write(path, signal):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, RATE)


def take_pictures(page, report, folder):
    """Screenshots of a report in a folder: its findings, and the players at a worst moment."""
    page.goto(report.absolute().as_uri())
    page.wait_for_selector("#chart-rtf svg")
    page.wait_for_function("document.getElementById('difference').width > 100")
    page.locator("#told").screenshot(path=folder / "report-findings.png")
    page.keyboard.press("1")
    page.keyboard.press("w")
    page.keyboard.press(" ")  # to where it is, and there it stops
    page.wait_for_timeout(1500)
    page.keyboard.press(" ")
    page.locator("#listen").screenshot(path=folder / "report-listen.jpg", type="jpeg", quality=85)


if __name__ == "__main__":
    from support.browser import chromium, watched

    with chromium() as browser, watched(browser) as seen:
        take_pictures(seen.page, Path(sys.argv[1]), Path(sys.argv[2]))
