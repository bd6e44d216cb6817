"""Files that end before their header says, in every format: refused, or used to their true end."""

import io
import struct

import numpy as np
import pytest
import soundfile
from support.mp3 import frames_of, mp3_bytes, without_tag

from diffsynth.audio.files import audio_length, read_audio, survey_audio
from diffsynth.errors import UserError

RATE = 44100
# With a length in their header, or a decoder that fails where they are cut.
KNOWING = ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3", "SVX", "AVR", "NIST"]
KNOWING += ["VOC", "WVE", "MPC2K", "MAT4", "MAT5", "SDS", "HTK"]
UNKNOWING = ["IRCAM", "PAF", "PVF", "XI"]
SUBTYPES = [
    *(("WAV", name) for name in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")),
    *(("WAV", name) for name in ("IMA_ADPCM", "MS_ADPCM", "GSM610")),
    *(("RF64", name) for name in ("PCM_16", "PCM_24", "FLOAT")),
    *(("W64", name) for name in ("PCM_16", "FLOAT")),
    *(("AIFF", name) for name in ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW")),
    *(("AU", name) for name in ("PCM_16", "PCM_24", "FLOAT", "ULAW")),
    *(("CAF", name) for name in ("PCM_16", "PCM_24", "FLOAT", "ALAC_16")),
    *(("FLAC", name) for name in ("PCM_S8", "PCM_16", "PCM_24")),
    *(("OGG", name) for name in ("VORBIS", "OPUS")),
    ("MP3", "MPEG_LAYER_III"),
]


def music(seconds=0.5, rate=RATE):
    """Noise that swells and fades, so that no two places are alike."""
    rng = np.random.default_rng(0)
    swell = np.interp(np.arange(seconds * rate), np.linspace(0, seconds * rate, 9), rng.uniform(0, 1, 9))
    return (0.3 * swell * rng.standard_normal(len(swell))).clip(-1, 1).astype(np.float32)


def encoded(kind, samples, rate=RATE, **options):
    file = io.BytesIO()
    soundfile.write(file, samples, 8000 if kind == "WVE" else rate, format=kind, **options)
    return file.getvalue()


def outcome(folder, kind, content):
    """Samples of a file of this content, or why it cannot be used."""
    path = folder / f"x.{kind.lower()}"
    path.write_bytes(content)
    try:
        return read_audio(path)[0]
    except UserError as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", KNOWING)
def test_a_file_cut_anywhere_is_set_aside(tmp_path, kind):
    whole = encoded(kind, music())
    assert len(outcome(tmp_path, kind, whole)) == len(music())
    for kept in (0.98, 0.75, 0.5, 0.3):
        assert "is cut short" in outcome(tmp_path, kind, whole[: int(kept * len(whole))])
    for kept in (len(whole) // 20, 60, 20, 1, 0):
        assert isinstance(outcome(tmp_path, kind, whole[:kept]), str)


@pytest.mark.parametrize("kind", [kind for kind in KNOWING if kind not in ("VOC", "MAT5")])
def test_one_byte_is_missed(tmp_path, kind):
    # VOC ends with a byte that holds no sound; MAT5 as libsndfile writes it promises too much.
    assert "is cut short" in outcome(tmp_path, kind, encoded(kind, music())[:-1])


@pytest.mark.parametrize("kind", UNKNOWING)
def test_a_format_without_a_length_is_used_to_its_true_end(tmp_path, kind):
    whole = encoded(kind, music())
    samples = outcome(tmp_path, kind, whole)
    part = outcome(tmp_path, kind, whole[: len(whole) // 2])
    assert 0 < len(part) < len(samples) == len(music())
    assert (part == samples[: len(part)]).all()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("kind", "subtype"), SUBTYPES)
def test_good_files_are_read_as_they_are(tmp_path, kind, subtype, channels):
    rate = 8000 if subtype == "GSM610" else 48000
    if subtype == "GSM610" and channels == 2:
        pytest.skip("GSM has one channel")
    audio = np.stack([music(rate=rate), music(rate=rate)[::-1]][:channels], axis=1)
    content = encoded(kind, audio, rate, subtype=subtype)
    wanted, _ = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    found = outcome(tmp_path, kind, content)
    assert found.tolist() == (wanted.sum(axis=1, dtype=np.float32) / np.float32(channels)).tolist()
    assert audio_length(tmp_path / f"x.{kind.lower()}") == len(wanted)


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG"])
def test_a_file_of_no_length_holds_no_samples(tmp_path, kind):
    assert isinstance(outcome(tmp_path, kind, encoded(kind, np.zeros(0, np.float32))), str)


def with_length(content, name, offset, number):
    """Content in which a 32-bit length after a chunk's name is another."""
    place = content.index(name) + offset
    return content[:place] + number + content[place + len(number) :]


@pytest.mark.parametrize("number", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x7F000024, 0])
def test_a_wav_file_from_a_pipe_is_decoded_whole(tmp_path, number):
    content = encoded("WAV", music(), subtype="PCM_16")
    content = with_length(content, b"data", 4, struct.pack("<I", number))
    content = with_length(content, b"RIFF", 4, struct.pack("<I", number and 0xFFFFFFFF))
    assert (outcome(tmp_path, "WAV", content) * 32768).astype(int).tolist() == [
        int(x)
        for x in soundfile.read(io.BytesIO(encoded("WAV", music(), subtype="PCM_16")), dtype="int16")[0]
    ]


@pytest.mark.parametrize(
    ("kind", "name", "offset", "number"),
    [
        ("AU", b".snd", 8, b"\xff\xff\xff\xff"),
        ("AU", b".snd", 8, bytes(4)),
        ("AIFF", b"SSND", 4, b"\xff\xff\xff\xff"),
        ("CAF", b"data", 4, b"\xff" * 8),
        ("W64", b"data", 16, b"\xff" * 8),
    ],
)
def test_other_files_from_a_pipe_are_decoded_whole(tmp_path, kind, name, offset, number):
    content = encoded(kind, music(), subtype="PCM_16")
    whole = outcome(tmp_path, kind, content)
    assert outcome(tmp_path, kind, with_length(content, name, offset, number)).tolist() == whole.tolist()


def test_a_flac_file_that_does_not_know_its_length(tmp_path):
    content = bytearray(encoded("FLAC", music(8)))
    whole = outcome(tmp_path, "FLAC", bytes(content))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    assert outcome(tmp_path, "FLAC", bytes(content)).tolist() == whole.tolist()
    assert audio_length(tmp_path / "x.flac") == len(whole) == survey_audio(tmp_path / "x.flac").length
    assert "is cut short" in outcome(tmp_path, "FLAC", bytes(content[: len(content) // 2]))


def test_what_follows_the_sound_may_be_missing(tmp_path):
    content = encoded("WAV", music(), subtype="PCM_16")
    whole = outcome(tmp_path, "WAV", content)
    assert outcome(tmp_path, "WAV", content + b"LIST\x40\x00\x00\x00INFO").tolist() == whole.tolist()


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_file_is_read_without_a_seam(tmp_path, mode, monkeypatch):
    monkeypatch.setattr("diffsynth.audio.decoding.BLOCK", 1000)
    content = mp3_bytes(music(4), RATE, mode)
    wanted, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    assert outcome(tmp_path, "MP3", content).tolist() == wanted.tolist()


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("rate", [44100, 22050])
def test_an_mp3_file_without_a_number_of_frames_is_decoded_whole(tmp_path, mode, rate):
    content = mp3_bytes(music(4, rate), rate, mode)
    tagged, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    bare = outcome(tmp_path, "MP3", without_tag(content))
    a_frame = 1152 if rate == 44100 else 576
    assert len(bare) == a_frame * (len(frames_of(content)) - 1)
    # Nobody tells the delay of the encoder (576) and the decoder (529) now, so they stay in front.
    start = len(tagged) // 2
    assert bare[start + 1105 : start + 11105] == pytest.approx(tagged[start : start + 10000], abs=1e-5)
    assert audio_length(tmp_path / "x.mp3") == len(bare)
    for kept in (0.3, 0.8):
        assert "is cut short" in outcome(tmp_path, "MP3", without_tag(content)[: int(kept * len(content))])


def with_frames(content, number):
    place = max(content.find(b"Xing"), content.find(b"Info"))
    return content[: place + 8] + struct.pack(">I", number) + content[place + 12 :]


def test_an_mp3_file_with_a_wrong_number_of_frames(tmp_path):
    content = mp3_bytes(music(4), RATE, "VARIABLE")
    whole = outcome(tmp_path, "MP3", content)
    frames = frames_of(content)
    for number in (1, 20, len(frames) - 2, len(frames)):
        assert outcome(tmp_path, "MP3", with_frames(content, number)).tolist() == whole.tolist()
    assert "promises 900 frames" in outcome(tmp_path, "MP3", with_frames(content, 900))
    # Cut between two frames, with a number that is too small as well.
    cut = content[: frames[-9]]
    assert "is cut short: its header promises" in outcome(tmp_path, "MP3", cut)
    half = outcome(tmp_path, "MP3", with_frames(cut, 20))
    assert half[:80_000].tolist() == whole[:80_000].tolist()
    assert len(whole) > len(half) > len(whole) - 10 * 1152
    twice = outcome(tmp_path, "MP3", content + content)
    assert len(twice) > 1.9 * len(whole)


ID3 = b"ID3\x03\x00\x00\x00\x00\x01\x0a" + bytes(138)


@pytest.mark.parametrize("before", [ID3, ID3 + ID3, bytes(500), b"junk" * 50])
@pytest.mark.parametrize("after", [b"", b"TAG" + bytes(125)])
def test_tags_around_an_mp3_file(tmp_path, before, after):
    content = mp3_bytes(music(4), RATE, "VARIABLE")
    whole = outcome(tmp_path, "MP3", content)
    assert outcome(tmp_path, "MP3", before + content + after).tolist() == whole.tolist()
    bare = outcome(tmp_path, "MP3", without_tag(content))
    assert outcome(tmp_path, "MP3", before + without_tag(content) + after).tolist() == bare.tolist()
    for kept in (0.4, 0.9):
        part = content[: int(kept * len(content))]
        assert "is cut short" in outcome(tmp_path, "MP3", before + part + after)


def test_an_ogg_file_that_ends_between_two_pages(tmp_path):
    content = encoded("OGG", music(3))
    last = content.rindex(b"OggS")
    assert "it has no last page" in outcome(tmp_path, "OGG", content[:last])


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00", "MPEG-4"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(20), "Windows Media"),
        (b"\xff\xf1\x50\x80" + bytes(40), "AAC"),
        (b"wvpk" + bytes(40), "WavPack"),
    ],
)
def test_a_format_that_cannot_be_read_is_named(tmp_path, content, name):
    message = outcome(tmp_path, "WAV", content)
    assert name in message
    assert "cannot be read" in message
