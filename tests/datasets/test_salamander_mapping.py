"""The SFZ of the Salamander Grand Piano, of fake samples, by value."""

import re

import numpy as np
import pytest
import soundfile
from support.salamander import NAMES, RATE, fake_sample
from support.sfz import needs_sfizz

from diffsynth.datasets.salamander.bringing import SFZ
from diffsynth.datasets.salamander.mapping import sound_begins, write_sfz
from diffsynth.datasets.sfz import check_sfz, render_sfz
from diffsynth.errors import UserError
from diffsynth.midi.events import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN, make_events


@pytest.fixture(scope="module")
def piano(tmp_path_factory):
    """All samples as WAV files, and the SFZ."""
    folder = tmp_path_factory.mktemp("piano")
    (folder / "samples").mkdir()
    for name in NAMES:
        soundfile.write(folder / "samples" / f"{name}.wav", fake_sample(name), RATE)
    write_sfz(folder / SFZ)
    return folder / SFZ


def groups(text):
    """Pairs of the opcodes of a group and the opcodes of its regions, as dicts."""
    text = re.sub(r"//.*", "", text)
    for part in text.split("<group>")[1:]:
        head, *regions = ([tuple(o.split("=")) for o in piece.split()] for piece in part.split("<region>"))
        yield dict(head), [dict(region) for region in regions]


def played(text, trigger, key, velocity):
    """The samples that an action plays, with all their opcodes."""
    found = []
    for head, regions in groups(text):
        for region in ({**head, **region} for region in regions):
            low, high = (int(region.get(name, region.get("key", -1))) for name in ("lokey", "hikey"))
            loud = int(region.get("lovel", 0)) <= velocity <= int(region.get("hivel", 127))
            if region.get("trigger", "attack") == trigger and low <= key <= high and loud:
                found.append(region)
    return found


def test_every_key_and_velocity_has_one_strike_of_the_nearest_sample(piano):
    text = piano.read_text()
    for key in range(21, 109):
        for velocity in range(1, 128):
            (region,) = played(text, "attack", key, velocity)
            assert abs(int(region["pitch_keycenter"]) - key) <= 1
    # Values of the SFZ that comes with the recordings.
    for key, velocity, sample, release in (
        (21, 1, "A0v1", "1"),
        (60, 26, "C4v1", "1"),
        (61, 27, "C4v2", "1"),
        (62, 36, "D#4v3", "1"),
        (69, 64, "A4v8", "1"),
        (88, 112, "D#6v14", "1"),
        (89, 120, "F#6v15", "5"),
        (108, 127, "C8v16", "5"),
    ):
        (region,) = played(text, "attack", key, velocity)
        assert (region["sample"], region["ampeg_release"]) == (f"{sample}.wav", release)
        assert region["amp_veltrack"] == "73"


def test_a_strike_begins_5_ms_before_its_sound(piano):
    for layer, velocity in ((1, 1), (9, 70), (16, 127)):
        (region,) = played(piano.read_text(), "attack", 60, velocity)
        assert int(region["offset"]) == 100 + 10 * layer - 80  # 5 ms at 16 kHz
    rise = np.concatenate([np.zeros(100), np.linspace(0, 1, 1001)])[:, None]  # a fifth after 200 samples
    assert sound_begins(rise, 40000) == 100 + 200 - 200
    assert sound_begins(np.ones((10, 1), np.float32), 48000) == 0


def test_what_a_released_key_plays(piano):
    text = piano.read_text()

    def facts(key, velocity):
        names = ("volume", "amp_veltrack", "rt_decay")
        return {r["sample"]: [r.get(name) for name in names] for r in played(text, "release", key, velocity)}

    assert facts(60, 100) == {
        "harmLC4.wav": ["-4", "90", "9"],
        "harmV3C4.wav": [None, "96", "2"],
        "rel40.wav": ["-37", "82", "2"],
    }
    assert facts(22, 44) == {
        "harmSA0.wav": [None, "95", "7"],
        "harmV3A0.wav": [None, "96", "2"],
        "rel2.wav": ["-37", "82", "2"],
    }
    assert facts(39, 45)["harmLD#2.wav"] == ["-4", "90", "8"]
    assert facts(37, 45)["harmLC2.wav"] == ["-4", "94", "7"]
    assert facts(28, 45)["harmLD#1.wav"] == ["-4", "94", "6"]
    assert facts(44, 1)["harmSA2.wav"] == [None, "90", "7"]
    assert facts(89, 100) == {"rel69.wav": ["-37", "82", "2"]}  # no damper, no resonance
    assert all(r["pitch_keytrack"] == "0" for r in played(text, "release", 89, 100))


def test_the_pedal_has_noises_of_its_own(piano):
    down, up = list(groups(piano.read_text()))[-2:]
    for (head, regions), letter in ((down, "D"), (up, "U")):
        assert [(r["sample"], r["lorand"], r["hirand"]) for r in regions] == [
            (f"pedal{letter}1.wav", "0", "0.5"),
            (f"pedal{letter}2.wav", "0.5", "1"),
        ]
        facts = [head[name] for name in ("on_locc64", "on_hicc64", "volume")]
        assert facts == {"D": ["126", "127", "-20"], "U": ["0", "1", "-19"]}[letter]
    assert (down[0]["off_by"], up[0]["off_by"]) == (up[0]["group"], down[0]["group"])


def played_at(piano, off, controls):
    """A note from .1 s, released at `off`, and movements of pedals; the left channel."""
    rows = [(0.1, NOTE_ON, 60, 100), (off, NOTE_OFF, 60, 0), *controls]
    return render_sfz(make_events(rows), piano, 48000)[:, 0]


@needs_sfizz
def test_sfizz_plays_all_of_it(piano):
    assert check_sfz(piano) == []
    pedal = [(0.3, CONTROL, SUSTAIN, 127), (0.6, CONTROL, SUSTAIN, 0)]
    audio = np.abs(played_at(piano, 0.9, pedal))
    begins = [round(48000 * time) for time in (0.1, 0.3, 0.6)]
    for begin in begins:
        assert audio[begin - 2400 : begin - 100].max() < 1e-5 < audio[begin + 300 : begin + 2400].max()
    released, off = np.abs(played_at(piano, 0.14, [])), round(0.14 * 48000)
    assert np.array_equal(released[:off], audio[:off])
    assert released[off + 2700 : off + 4800].max() < 1e-3  # the samples of a release are 50 ms long, too ...
    assert released[off : off + 2000].max() > 1.2 * audio[off : off + 2000].max()  # ... and heard
    first = int(np.argmax(audio > 0.2 * audio.max()))
    assert first - begins[0] == pytest.approx(240, abs=4)  # 5 ms


def test_a_missing_sample_is_named(piano, tmp_path):
    (tmp_path / "samples").mkdir()
    for path in (piano.parent / "samples").iterdir():
        if path.name not in ("C4v7.wav", "rel3.wav"):
            (tmp_path / "samples" / path.name).symlink_to(path)
    with pytest.raises(UserError, match=r"samples lacks 2 samples, the first is C4v7\.wav"):
        write_sfz(tmp_path / SFZ)
