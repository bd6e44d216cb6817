"""The lengths that headers of seldom met audio formats promise, see `diffsynth.audio.containers`."""

import re
import struct

from diffsynth.audio.layout import Content, Layout, Parser

EXAMINED = 4096  # bytes in which the head of a text header is looked for


def _avr(content: Content) -> Layout:
    """Audio Visual Research: a head of 128 bytes with the number of frames."""
    stereo, bits = content.read(">hh", content.start + 12)
    return Layout(
        content.start + 128 + content.read(">I", content.start + 26)[0] * (2 if stereo else 1) * bits // 8
    )


def _mpc2000(content: Content) -> Layout:
    """Akai: a head of 42 bytes; 16 bits."""
    stereo, frames = content.read("<B", content.start + 21)[0], content.read("<I", content.start + 30)[0]
    return Layout(content.start + 42 + frames * 2 * (2 if stereo else 1))


def _nist(content: Content) -> Layout:
    """NIST Sphere: text that tells the size of itself and the number of samples."""
    text = content.bytes(content.start, EXAMINED).decode("latin-1")
    numbers = dict(re.findall(r"^(\w+) -i (\d+)\s*$", text, re.MULTILINE))
    head = re.match(r"NIST_1A\s+(\d+)", text)
    wanted = ("sample_count", "channel_count", "sample_n_bytes")
    if head is None or not all(name in numbers for name in wanted):
        return Layout()
    count, channels, width = (int(numbers[name]) for name in wanted)
    return Layout(content.start + int(head[1]) + count * channels * width)


def _voc(content: Content) -> Layout:
    """Creative Voice: blocks with lengths of 24 bits, up to one of type 0."""
    place = content.start + content.read("<H", content.start + 20)[0]
    while place + 4 <= content.size:
        kind, low, high = content.read("<BHB", place)
        if kind == 0:
            break
        place += 4 + low + (high << 16)
    return Layout(place)


def _sds(content: Content) -> Layout:
    """MIDI sample dump: packets of 127 bytes, 120 of them for samples of 7 bits a byte."""
    bits, low, middle, high = (content.read("B", content.start + place)[0] for place in (6, 10, 11, 12))
    a_packet = 120 // max(-(-bits // 7), 1)
    return Layout(content.start + 21 + 127 * -(-(low + (middle << 7) + (high << 14)) // a_packet))


def _psion(content: Content) -> Layout:
    return Layout(content.start + 32 + content.read(">I", content.start + 18)[0])


def _htk(content: Content) -> Layout:
    count, _, width = content.read(">IIH", content.start)
    return Layout(content.start + 12 + count * width)


def _matlab4(content: Content) -> Layout:
    """Two matrices, the rate and the sound; the head of each tells its size."""
    place = content.start
    order = "<" if content.read("<I", content.start)[0] < 5000 else ">"
    for _ in range(2):
        kind, rows, columns, complex_, name = content.read(order + "5I", place)
        width = (8, 4, 4, 2, 2, 1)[min(kind // 10 % 10, 5)]
        place += 20 + name + rows * columns * width * (2 if complex_ else 1)
    return Layout(place)


def _matlab5(content: Content) -> Layout:
    """Elements with their sizes, after a head of 128 bytes."""
    order = "<" if content.read("2s", content.start + 126)[0] == b"IM" else ">"
    place = content.start + 128
    while place + 8 <= content.size:
        place += 8 + content.read(order + "II", place)[1]
    # libsndfile itself writes a size that is 8 bytes too large.
    return Layout(place - 8)


def _unknown(_: Content) -> Layout:
    """A format without a length, or whose decoder itself fails where a file is cut."""
    return Layout()


# By the bytes that a file begins with.
RARE_FORMATS: dict[bytes, Parser] = {
    b"2BIT": _avr,
    b"\x01\x04": _mpc2000,
    b"NIST_1A": _nist,
    b"Creative Voice File": _voc,
    b"\xf0\x7e": _sds,
    b"ALawSoundFile**\0": _psion,
    b"MATLAB 5.0 MAT-file": _matlab5,
    struct.pack("<IIII", 0, 1, 1, 0): _matlab4,
    struct.pack(">IIII", 1000, 1, 1, 0): _matlab4,
    b"fLaC": _unknown,
    b" paf": _unknown,
    b"fap ": _unknown,
    b"PVF1": _unknown,
    b"Extended Instrument:": _unknown,
}
# By the suffix of its name, of a format that no bytes mark.
UNMARKED_FORMATS: dict[str, Parser] = {".htk": _htk}
