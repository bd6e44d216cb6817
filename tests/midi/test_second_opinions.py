"""The reader beside others: FluidSynth's own player, by what is heard, and pretty_midi, by numbers."""

import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fluidsynth import SOUNDFONT, needs_fluidsynth
from support.midi_bytes import cc, off, on, song, tempo, track

from diffsynth.midi.events import NOTE_ON
from diffsynth.midi.files import read_midi

RATE, HOP = 48000, 96  # 2 ms
# Keys far apart, a tempo in a later track, a key struck again while it is held, one pedal in its own track.
LOW, MIDDLE, HIGH = 36, 64, 96
SONG = song(
    track(
        (480, on(LOW)),
        (720, off(LOW)),
        (960, on(MIDDLE)),
        (1440, on(HIGH)),
        (1500, off(HIGH)),
        (1920, on(MIDDLE)),
        (2000, off(MIDDLE)),
        (2000, off(MIDDLE)),
    ),
    track((0, tempo(400_000)), (960, tempo(900_000)), (1440, tempo(600_000))),
    track((600, cc(64, 127)), (1680, cc(64, 0))),
)


def player_audio(path, seconds):
    """Mono audio of FluidSynth's own MIDI player."""
    import fluidsynth

    options = {"synth.reverb.active": 0, "synth.chorus.active": 0, "player.timing-source": "sample"}
    synth = fluidsynth.Synth(gain=0.6, samplerate=RATE, **options)
    synth.sfload(str(SOUNDFONT), 1)  # and let channels use it
    assert synth.play_midi_file(str(path)) >= 0
    audio = synth.get_samples(int(seconds * RATE)).reshape(-1, 2).mean(axis=1) / 32768
    fluidsynth.delete_fluid_player(synth.player)
    synth.delete()
    return audio


def levels(audio, key, window=960):
    """dB of a key's fundamental in windows of 20 ms, one every `HOP`."""
    wave = np.exp(-2j * np.pi * 440 * 2 ** ((key - 69) / 12) / RATE * np.arange(len(audio)))
    total = np.cumsum(np.concatenate([[0], audio * wave]))
    return 20 * np.log10(abs(total[window:] - total[:-window])[::HOP] / window + 1e-9)


def rise(audio, around):
    """Time in s within 60 ms of another at which energy, that of high partials above all, rises most."""
    energy = np.log(np.add.reduceat(np.diff(audio, 2) ** 2, np.arange(0, len(audio) - 2, HOP)) + 1e-6)
    near = np.arange(int((around - 0.06) * RATE / HOP), int((around + 0.06) * RATE / HOP))
    return (near[np.argmax(np.diff(energy)[near])] + 1) * HOP / RATE


@needs_fluidsynth
def test_fluidsynth_plays_the_same(tmp_path):
    path = tmp_path / "x.mid"
    path.write_bytes(SONG)
    events = read_midi(path)
    onsets = events["time"][events["kind"] == NOTE_ON]
    assert onsets == pytest.approx([0.4, 0.8, 1.7, 2.3])
    audio = player_audio(path, 3.0)
    assert [rise(audio, onset) for onset in onsets] == pytest.approx(onsets, abs=0.006)
    low, high = levels(audio, LOW), levels(audio, HIGH)

    def at(level, time):
        return level[int(time * RATE / HOP)]

    # The pedal, down from 0.5 to 2.0 s, holds the low key, which is released at 0.6 s, and the high one.
    [damped] = events["time"][(events["kind"] == 1) & (events["value"] == 0)]
    assert damped == pytest.approx(2.0)
    assert at(low, 1.9) > -70  # without the pedal it would be silent long since
    assert at(low, 2.25) < at(low, 1.9) - 20
    assert at(high, 1.95) > at(high, 2.25) + 10


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 999), st.integers(1, 500), st.integers(21, 108)), min_size=1, max_size=30
    ),
    st.lists(
        st.tuples(st.integers(1, 2000), st.integers(100_000, 2_000_000)),
        max_size=4,
        unique_by=lambda at: at[0],
    ),
    st.sampled_from([24, 96, 480, 960]),
)
def test_pretty_midi_reads_the_same(tmp_path_factory, gaps, tempos, division):
    path = tmp_path_factory.getbasetemp() / "opinion.mid"
    notes, free, now = [], {}, 0
    for gap, length, key in gaps:
        now = max(now + gap, free.get(key, 0))
        free[key] = now + length
        notes += [(now + length, off(key)), (now, on(key))]
    notes.sort(key=lambda event: (event[0], event[1][0]))  # releases before strikes
    tempos = [(0, 500_000), *sorted(tempos)]
    path.write_bytes(
        song(track(*((tick, tempo(beat)) for tick, beat in tempos)), track(*notes), division=division)
    )
    other = pretty_midi.PrettyMIDI(str(path)).instruments[0].notes
    events = read_midi(path)
    ours = sorted((number, time) for time, kind, number, _ in events.tolist() if kind == NOTE_ON)
    theirs = sorted((note.pitch, note.start) for note in other)
    assert [key for key, _ in ours] == [key for key, _ in theirs]
    assert [time for _, time in ours] == pytest.approx([time for _, time in theirs], abs=1e-9)
