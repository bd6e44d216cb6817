"""Noise as levels: memories by hand, and files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from support.noisy_piano import with_noise

from diffsynth.errors import UserError
from diffsynth.piano.noise import DECAYS, DRIVES, SILENCE, drive, remember
from diffsynth.piano.piano import Piano, load_piano, save_piano

SECONDS = 0.005


def drives_at_random(seed, frames, bands=3):
    random = np.random.default_rng(seed)
    strikes = random.exponential(size=(frames, bands)) * (random.random((frames, 1)) < 0.1)
    return drive(strikes, random.poisson(0.1, frames) / SECONDS, random.poisson(0.01, frames) / SECONDS)


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(0, 59))
def test_memories_are_sums_over_the_past(seed, frames, border):
    drives = drives_at_random(seed, frames)
    memories, last = remember(drives, np.zeros((len(DRIVES), 3)), SECONDS)
    ages = SECONDS * (np.arange(frames)[:, None] - np.arange(frames))
    for i, decay in enumerate(DECAYS):
        kernel = np.where(ages >= 0, np.exp(-2 * ages.clip(0) / decay), 0) * -np.expm1(-2 * SECONDS / decay)
        np.testing.assert_allclose(memories[i], kernel @ drives[i], atol=1e-12)
    np.testing.assert_array_equal(last, memories[:, -1])
    border = min(border, frames - 1)
    if border:
        first, between = remember(drives[:, :border], np.zeros((len(DRIVES), 3)), SECONDS)
        second, _ = remember(drives[:, border:], between, SECONDS)
        np.testing.assert_allclose(np.concatenate([first, second], axis=1), memories, atol=1e-12)


def test_a_memory_holds_the_same_of_one_event_whatever_the_frame():
    for seconds in (0.002, 0.008):
        frames = round(4.0 / seconds)
        strikes = np.zeros((frames, 1))
        strikes[0] = 1 / seconds
        memories, _ = remember(drive(strikes, np.zeros(frames), np.zeros(frames)), np.zeros((8, 1)), seconds)
        of_strikes = np.array(DRIVES) == "strike"
        np.testing.assert_allclose(memories[of_strikes].sum(axis=1) * seconds, 1, atol=0.01)
        assert not memories[~of_strikes].any()


def test_a_piano_with_noise_comes_back_from_its_file(piano, tmp_path):
    noisy = with_noise(piano)
    save_piano(tmp_path / "piano.safetensors", noisy)
    loaded = load_piano(tmp_path / "piano.safetensors")
    for name, value in vars(noisy.noise).items():
        np.testing.assert_array_equal(getattr(loaded.noise, name), value)
    np.testing.assert_array_equal(loaded.amplitude, piano.amplitude)
    save_piano(tmp_path / "silent.safetensors", piano)
    assert load_piano(tmp_path / "silent.safetensors").noise.floor.size == 0


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("noise_floor", lambda floor: floor[:-1], "do not fit together"),
        ("noise_weight", lambda weight: weight[:, :-1], "do not fit together"),
        ("noise_weight", lambda weight: -weight, "negative or not finite"),
        ("noise_floor", lambda floor: floor * np.nan, "negative or not finite"),
        ("noise_centre", lambda centre: centre[::-1], "not in order"),
        ("noise_centre", None, "'centre'"),
    ],
)
def test_noise_that_cannot_be_is_one_line(piano, tmp_path, name, change, message):
    tensors = with_noise(piano).tensors()
    array = tensors.pop(name)
    if change:
        tensors[name] = np.ascontiguousarray(change(array))
    save_file(tensors, str(tmp_path / "piano.safetensors"))
    with pytest.raises(UserError, match=message) as error:
        load_piano(tmp_path / "piano.safetensors")
    assert "\n" not in str(error.value)


def test_older_pianos_have_no_noise(piano):
    tensors = {name: array for name, array in piano.tensors().items() if not name.startswith("noise_")}
    assert Piano.from_tensors(tensors).noise is SILENCE
