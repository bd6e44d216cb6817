import io

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from diffsynth.evaluation.figures import (
    HEADLINE,
    RANGE,
    ROWS,
    log_spectrogram,
    save_figure,
    spectrogram_figure,
)

RATE = 24000
SCORES = {"onset_f1": 0.942, "pitch_accuracy": 0.715, "l1": 0.1}

pytestmark = pytest.mark.filterwarnings("error")


def sine(frequency, seconds=2.0, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)).astype("f4")


@pytest.mark.parametrize("frequency", [55.0, 440.0, 3520.0, 11000.0])
def test_log_spectrogram_shows_a_sine_in_its_row_at_its_level(frequency):
    signal = sine(frequency)
    picture = log_spectrogram(signal, RATE, len(signal))
    column = picture[:, picture.shape[1] // 2]
    edges = 27.5 * (12000 / 27.5) ** (np.arange(ROWS + 1) / ROWS)
    centre = np.sqrt(edges[column.argmax()] * edges[column.argmax() + 1])
    assert centre == pytest.approx(frequency, rel=0.02)
    # half way between two bins of the interpolated spectrum 0.35 dB are lost
    assert column.max() == pytest.approx(20 * np.log10(0.5) - 0.175, abs=0.18)


def test_log_spectrogram_fills_up_with_silence():
    picture = log_spectrogram(sine(440, 1.0), RATE, 2 * RATE)
    columns = picture.shape[1]
    assert picture[:, : columns // 3].max() == pytest.approx(-6.02, abs=0.1)
    assert picture[:, 2 * columns // 3 :].max() == pytest.approx(-180.0)


def test_both_pictures_share_a_scale_and_keep_their_levels():
    figure = spectrogram_figure(sine(440), sine(440, amplitude=0.05), RATE, "piece, lstm", SCORES)
    above, below = (axis.images[0] for axis in figure.axes[:2])
    assert above.get_clim() == below.get_clim()
    low, high = above.get_clim()
    assert high - low == RANGE
    assert high == pytest.approx(20 * np.log10(0.5), abs=0.1)
    assert below.get_array().max() == pytest.approx(high - 20.0, abs=0.1)


def test_titles_and_time_axis():
    figure = spectrogram_figure(sine(440), sine(440), RATE, "piece, lstm", SCORES, seconds=1.5)
    assert figure.get_suptitle() == "piece, lstm"
    assert [axis.get_title(loc="left") for axis in figure.axes[:2]] == [
        "target",
        "prediction   onset F1 0.94   pitch 0.71",
    ]
    assert figure.axes[0].images[0].get_extent()[:2] == [0.0, 1.5]


def test_all_scores_stand_above_the_prediction():
    figure = spectrogram_figure(sine(440), sine(220), RATE, "piece", dict.fromkeys(HEADLINE, -10.55))
    figure.draw_without_rendering()
    axis = figure.axes[1]
    texts = [each for each in axis.get_children() if isinstance(each, Text)]
    (title,) = (text for text in texts if text.get_text().startswith("prediction"))
    assert len(title.get_text().split("   ")) == 1 + len(HEADLINE)
    assert title.get_window_extent().x1 <= axis.get_window_extent().x1


def test_same_picture_same_bytes_without_a_version(tmp_path):
    for name in ("a.png", "b.png"):
        save_figure(tmp_path / name, spectrogram_figure(sine(440), sine(220), RATE, "piece", SCORES))
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    image = Image.open(io.BytesIO(first))
    assert image.size == (1100, 700)
    assert "Software" not in image.info


def test_a_sine_is_a_bright_line_in_the_picture_and_silence_is_dark(tmp_path):
    save_figure(tmp_path / "a.png", spectrogram_figure(sine(440), np.zeros(10, "f4"), RATE, "piece", {}))
    brightness = np.asarray(Image.open(tmp_path / "a.png").convert("L")).astype(int)[:, 200:900]
    target, prediction = brightness[55:330], brightness[372:645]
    assert (target > 200).all(axis=1).any()
    assert prediction.max() < 20


def test_any_name_can_be_a_title(tmp_path):
    """Letters that the font lacks, and what matplotlib takes for formulas, are no reason to complain."""
    for title in ("夜想曲", r"cost $\frac{$ and $x^$"):
        save_figure(tmp_path / "a.png", spectrogram_figure(sine(440), sine(440), RATE, title, SCORES))
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.size == (1100, 700)
