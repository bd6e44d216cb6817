import csv
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.noisy_piano import with_noise

from diffsynth.errors import UserError
from diffsynth.fitting.report import COLUMNS, write_report
from diffsynth.midi.events import NOTE_ON, SAMPLE_EVENT
from diffsynth.piano.modal_bank import Bank
from diffsynth.piano.piano import ARRAYS, Piano, load_piano, save_piano

PIANO = Piano(
    key=np.array([0, 48, 48]),
    frequency=np.array([27.5, 441.0, 882.5]),
    decay=np.array([0.3, 1.5, 4.25]),
    amplitude=np.array([0.1 - 0.2j, 0.01 + 0j, -0.1j]),
    release=np.linspace(5, 92, 88),
    exponent=np.linspace(1, 2.74, 88),
    sampled=True,
    jitter=4e-4,
)


def test_a_saved_piano_comes_back_exactly(tmp_path):
    path = tmp_path / "new" / "piano.safetensors"
    save_piano(path, PIANO)
    loaded = load_piano(path)
    for name in ARRAYS:
        value, again = getattr(PIANO, name), getattr(loaded, name)
        np.testing.assert_array_equal(again, value)
        assert np.asarray(again).dtype == np.asarray(value).dtype
    assert [file.name for file in path.parent.iterdir()] == ["piano.safetensors"]


def test_gain_is_a_power_of_velocity():
    piano = replace(PIANO, exponent=np.arange(88) / 10)
    assert piano.gain(20, 64) == 1
    assert piano.gain(20, 128) == pytest.approx(4)
    assert piano.gain(20, 16) == pytest.approx(1 / 16)
    assert piano.gain(0, 1) == 1


def test_strikes_below_the_softest_one_are_no_softer():
    piano = replace(PIANO, exponent=np.arange(88) / 10, softest=32.0)
    assert [piano.gain(20, velocity) for velocity in (1, 32, 64)] == pytest.approx([1 / 4, 1 / 4, 1])
    soft, softest, louder = (_struck(with_noise(piano, strike=1e-4), velocity) for velocity in (3, 32, 40))
    for values, same, more in zip(soft, softest, louder, strict=True):
        np.testing.assert_array_equal(values, same)
        assert np.abs(more).sum() > np.abs(same).sum()


def _struck(piano, velocity):
    """Amplitudes and levels of noise after a strike."""
    found = Bank(piano, 24000, 128).process(np.array([(0, NOTE_ON, 69, velocity)], dtype=SAMPLE_EVENT), 2)
    return found.strikes[0].amplitude, found.noise


def test_an_older_file_has_no_colour(tmp_path):
    tensors = PIANO.tensors()
    del tensors["colour"]
    save_file(tensors, str(tmp_path / "older.safetensors"))
    piano = load_piano(tmp_path / "older.safetensors")
    np.testing.assert_array_equal(piano.exponents, PIANO.exponent[PIANO.key])


def one_line(error):
    return "\n" not in str(error.value)


def test_a_missing_piano_names_the_command_to_run(tmp_path):
    with pytest.raises(UserError, match="does not exist; run `diffsynth fit` first"):
        load_piano(tmp_path / "none.safetensors")


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"{}" * 99])
def test_a_damaged_file_is_one_line(damage, tmp_path):
    path = tmp_path / "piano.safetensors"
    save_piano(path, PIANO)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"piano\.safetensors is not a safetensors file") as error:
        load_piano(path)
    assert one_line(error)


@pytest.mark.parametrize(
    "change",
    [
        {"decay": None},
        {"decay": np.ones(2)},
        {"release": np.ones(87)},
        {"exponent": np.ones(())},
        {"colour": np.ones(5)},
        {"amplitude": np.ones((3, 3))},
        {"amplitude": np.ones(())},
        {"amplitude": np.ones((2, 4))},
        {"key": np.array([48.0, 0.0, 48.0])},
        {"key": np.array([0.0, 48.0, 90.0])},
        {"frequency": np.array([27.5, np.nan, 882.5])},
    ],
)
def test_tensors_of_something_else_are_one_line_with_the_file(change, tmp_path):
    tensors = {**PIANO.tensors(), **change}
    save_file({k: v for k, v in tensors.items() if v is not None}, str(tmp_path / "other.safetensors"))
    with pytest.raises(UserError, match=r"other\.safetensors.* not a modal piano") as error:
        load_piano(tmp_path / "other.safetensors")
    assert one_line(error)


def test_the_report_has_a_row_per_key_with_modes(tmp_path):
    write_report(PIANO, tmp_path)
    with (tmp_path / "piano.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["midi"] for row in rows] == ["21", "69"]
    # Key 69: its loudest mode is the second (-20 dB); 441 Hz is 3.9 cents above 440 Hz.
    assert list(rows[1].values()) == ["69", "2", "882.5", "3.9", "-20.0", "4.25", "53.0", "1.96"]
    assert (tmp_path / "piano.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
