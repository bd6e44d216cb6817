"""The renderer, played for real: these tests need libfluidsynth and the SoundFont FluidR3 GM."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fluidsynth import SOUNDFONT, needs_fluidsynth

from diffsynth.audio.files import read_audio
from diffsynth.datasets.composer.generator import generate
from diffsynth.datasets.instrument import Instrument
from diffsynth.datasets.rendered import Job, render_all
from diffsynth.datasets.soundfont import (
    GRID,
    GRID_RESOLUTION,
    GRID_TEMPO,
    RENDER_RATE,
    TAIL,
    TICK,
    render_soundfont,
    snap,
)
from diffsynth.errors import UserError
from diffsynth.midi.events import (
    CONTROL,
    NOTE,
    SOSTENUTO,
    SUSTAIN,
    UNA_CORDA,
    from_notes,
    make_events,
    to_notes,
    to_samples,
)
from diffsynth.midi.files import read_midi, write_midi


def note_events(*notes, controls=()):
    rows = [(time, CONTROL, number, value) for time, number, value in controls]
    return from_notes(np.array(list(notes), NOTE), make_events(rows))


def render(events, rate=RENDER_RATE, **options):
    return render_soundfont(events, SOUNDFONT, rate, **options)


def level(audio, start, end, rate=RENDER_RATE):
    """Root mean square of a stretch given in seconds."""
    return float(np.sqrt(np.mean(audio[int(start * rate) : int(end * rate)].astype(np.float64) ** 2)))


def by_sample(events):
    return sorted(to_samples(events, RENDER_RATE).tolist())


# snap and MIDI


def test_snap_moves_events_to_multiples_of_64_samples():
    events = note_events((0.0, 0.1, 60, 64), (1.0, 1.0001, 62, 70), controls=[(0.5, SUSTAIN, 127)])
    snapped = snap(events)
    # 0.1 s is 75 ticks exactly, 0.5 s is 375, 1 s is 750; a note of no length gets one tick.
    assert (snapped["time"] / TICK).round(6).tolist() == [0, 75, 375, 750, 751]


def test_snap_keeps_repetitions_apart():
    events = note_events((0.0, 0.9999, 60, 64), (1.0, 1.5, 60, 70), (2.0, 2.1, 61, 5), (2.0004, 2.2, 61, 6))
    ticks = [
        (round(n["onset"] / TICK), round(n["offset"] / TICK), int(n["velocity"]))
        for n in to_notes(snap(events))
    ]
    # Both notes at 2 s are one key, which the first release lets go.
    assert ticks == [(0, 750, 64), (750, 1125, 70), (1500, 1575, 6)]


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_midi_files_hold_snapped_times_exactly(seed, tmp_path_factory):
    events = snap(generate(seed, 20))
    path = tmp_path_factory.getbasetemp() / "snapped.mid"
    write_midi(path, events, GRID_RESOLUTION, GRID_TEMPO)
    back = read_midi(path)
    position = to_samples(back, RENDER_RATE)["position"]
    assert np.all(position % GRID == 0)
    assert by_sample(back) == by_sample(events)


# rendering


@needs_fluidsynth
@pytest.mark.parametrize("key", [21, 40, 60, 84, 108])
def test_a_voice_starts_at_the_sample_of_its_label(key):
    for tick in (300, 301, 377):
        audio = render(note_events((tick * TICK, tick * TICK + 0.5, key, 90)))
        first = int(np.flatnonzero(audio)[0])
        assert first - tick * GRID in (0, 1)


@needs_fluidsynth
def test_resampling_does_not_delay():
    events = note_events((0.4, 1.2, 60, 100))
    full, half = render(events), render(events, 24000)
    assert abs(len(full) - 2 * len(half)) <= 1
    lags = range(-4, 5)
    piece = half[12000:24000].astype(np.float64)
    # The fine signal at even samples is the coarse one, if nothing moved.
    errors = [np.abs(full[24000 + lag : 48000 + lag : 2][: len(piece)] - piece).max() for lag in lags]
    assert lags[int(np.argmin(errors))] == 0
    assert min(errors) < 0.01 * np.abs(piece).max()


@needs_fluidsynth
def test_louder_velocities_are_louder_and_nothing_is_normalised():
    levels = [level(render(note_events((0.1, 1.1, 60, v))), 0.1, 1.1) for v in (15, 40, 64, 90, 120)]
    assert np.all(np.diff(levels) > 0)
    assert levels[-1] > 25 * levels[0]
    double = level(render(note_events((0.1, 1.1, 60, 64)), gain=1.2), 0.1, 1.1)
    assert double == pytest.approx(2 * levels[2], rel=1e-4)


@needs_fluidsynth
@pytest.mark.parametrize(
    ("controls", "rings"),
    [
        ([], False),
        ([(0.3, SUSTAIN, 127), (2.0, SUSTAIN, 0)], True),
        ([(0.3, SUSTAIN, 30), (2.0, SUSTAIN, 0)], False),
        ([(0.3, SOSTENUTO, 127), (2.0, SOSTENUTO, 0)], True),
        ([(0.05, SOSTENUTO, 127), (2.0, SOSTENUTO, 0)], False),
    ],
)
def test_pedals_hold_a_released_note_until_they_are_lifted(controls, rings):
    audio = render(note_events((0.1, 0.5, 60, 80), controls=controls))
    assert (level(audio, 1.4, 1.9) > 1e-3) == rings
    assert not audio[-RENDER_RATE // 4 :].any()


@needs_fluidsynth
def test_una_corda_is_written_but_not_heard():
    plain = render(note_events((0.1, 0.5, 60, 80)))
    soft = render(note_events((0.1, 0.5, 60, 80), controls=[(0.0, UNA_CORDA, 127), (0.5, UNA_CORDA, 0)]))
    assert np.array_equal(plain, soft)


@needs_fluidsynth
def test_the_pitch_is_right_and_silence_is_silent():
    audio = render(note_events((1.0, 3.0, 69, 80)))
    assert not audio[:RENDER_RATE].any()
    assert len(audio) == pytest.approx((3.0 + TAIL) * RENDER_RATE, abs=GRID)
    spectrum = np.abs(np.fft.rfft(audio[RENDER_RATE : 3 * RENDER_RATE] * np.hanning(2 * RENDER_RATE)))
    low = spectrum[: 2 * 600]
    assert np.argmax(low) / 2 == pytest.approx(440, abs=1.0)


@needs_fluidsynth
def test_ten_loud_keys_do_not_clip():
    chord = note_events(*((0.1, 3.0, key, 120) for key in (28, 40, 47, 52, 56, 59, 64, 68, 71, 76)))
    assert 0.4 < np.abs(render(chord)).max() < 1


@needs_fluidsynth
def test_the_number_of_processes_changes_nothing(tmp_path):
    jobs = [Job(f"m{seed}", "train", generate(seed, 6), f"seed {seed}") for seed in range(3)]
    results = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        results.append(render_all(jobs, folder, Instrument(str(SOUNDFONT)), workers, progress=False))
    assert results[0] == results[1]  # with SHA-256 of every file
    assert [p.name for p in results[0]] == ["m0", "m1", "m2"]
    audio, rate = read_audio(tmp_path / "1" / "m1.flac")
    assert rate == 24000
    again = render_soundfont(read_midi(tmp_path / "1" / "m1.mid"), SOUNDFONT)
    np.testing.assert_allclose(audio, again, atol=1 / 32768)


# wrong input


@needs_fluidsynth
def test_a_soundfont_that_is_missing_or_none_or_lacks_the_program(tmp_path, capfd):
    events = note_events((0.1, 0.5, 60, 80))
    with pytest.raises(UserError, match="apt install fluid-soundfont-gm"):
        render_soundfont(events, tmp_path / "none.sf2")
    (tmp_path / "text.sf2").write_text("not a SoundFont")
    with pytest.raises(UserError, match="not a readable SoundFont"):
        render_soundfont(events, tmp_path / "text.sf2")
    (tmp_path / "short.sf2").write_bytes(SOUNDFONT.read_bytes()[:5000])
    with pytest.raises(UserError, match="not a readable SoundFont"):
        render_soundfont(events, tmp_path / "short.sf2")
    with pytest.raises(UserError, match="has no program 200"):
        render_soundfont(events, SOUNDFONT, program=200)
    assert capfd.readouterr() == ("", "")  # the library itself would write some lines


def test_without_fluidsynth_the_message_names_the_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "fluidsynth", None)  # what a missing library looks like to `import`
    with pytest.raises(UserError, match="apt install libfluidsynth3 fluid-soundfont-gm"):
        render_soundfont(note_events((0.1, 0.5, 60, 80)), SOUNDFONT)
