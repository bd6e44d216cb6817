"""How long an audio file is by its own header, in the places where libsndfile does not say.

libsndfile takes a sound to end where the file ends: a WAV, AIFF, AU, W64 or OGG file that was cut short looks
whole. Here the length that the header promises is read and compared with the bytes that are there. Lengths
that a writer could not know (it wrote to a pipe) are no promise: the whole is decoded then.
"""

import struct
from typing import BinaryIO

from diffsynth.audio.layout import Content, Layout, Parser
from diffsynth.audio.mp3 import mp3_layout
from diffsynth.audio.rare_containers import RARE_FORMATS, UNMARKED_FORMATS
from diffsynth.audio.splicing import Splice

# Writers to a pipe leave 0xFFFFFFFF, 0x7FFFFFFF or a little less (SoX: 0x7F000008) for a length.
UNKNOWN = 0x7F000000


def examine(file: BinaryIO, suffix: str = "") -> Layout:
    """The extent of the sound in a file that can be sought; nothing is known of formats not listed here.

    Args:
        file: on disk, at any place.
        suffix: of its name, in lower case: one format has no other mark.
    """
    start = _after_tags(file)
    size = file.seek(0, 2)
    file.seek(start)
    head = file.read(32)
    marked = next((parser for mark, parser in _FORMATS.items() if head.startswith(mark)), None)
    parser = marked or UNMARKED_FORMATS.get(suffix, mp3_layout)
    try:
        found = parser(Content(file, start, size))
    except struct.error:
        return Layout()  # the header itself is cut: libsndfile says so
    if not found.missing and found.end is not None and found.end > size:
        return Layout(found.end, f"its header promises {found.end} bytes, the file has {size}")
    return found


def foreign_format(head: bytes) -> str:
    """The name of a known audio format that libsndfile cannot read, by a file's first 16 bytes; or ""."""
    for place, mark, name in _FOREIGN:
        if head[place : place + len(mark)] == mark:
            return name
    return ""


def _after_tags(file: BinaryIO) -> int:
    """Where a file begins behind ID3v2 tags; there may be several."""
    place = 0
    while True:
        file.seek(place)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3":
            return place
        length = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        place += 10 + length + (10 if head[5] & 0x10 else 0)


def _with_length(place: int, form: str, length: int) -> Layout:
    """A length that the header does not know, told to the decoder."""
    told = struct.pack(form, length)
    return Layout(splices=(Splice(place, place + len(told), told),))


def _riff(content: Content) -> Layout:
    """WAV, little-endian (RIFF) and big-endian (RIFX)."""
    order = ">" if content.bytes(content.start, 4) == b"RIFX" else "<"
    whole = content.read(order + "I", content.start + 4)[0]
    place = content.start + 12
    while place + 8 <= content.size:
        name, length = content.read(order + "4sI", place)
        if name == b"data":
            if length >= UNKNOWN:
                return Layout()
            # A length of 0 that was never filled in: the form ends here, but the file goes on.
            if length == 0 and (whole == 0 or content.start + 8 + whole <= place + 8 < content.size):
                return _with_length(place + 4, order + "I", content.size - place - 8)
            return Layout(place + 8 + length)
        place += 8 + length + length % 2
    return Layout()


def _rf64(content: Content) -> Layout:
    """RF64 and BW64: 64-bit lengths in a chunk of their own."""
    place, promised = content.start + 12, None
    while place + 8 <= content.size:
        name, length = content.read("<4sI", place)
        if name == b"ds64":
            promised = content.read("<Q", place + 16)[0]
        elif name == b"data":
            length = promised if promised is not None and length == 0xFFFFFFFF else length
            return Layout(None if length in (0, 0xFFFFFFFF, 2**64 - 1) else place + 8 + length)
        place += 8 + length + length % 2
    return Layout()


def _wave64(content: Content) -> Layout:
    """Sony Wave64: chunks have 16-byte names, and lengths that include their head."""
    place = content.start + 40
    while place + 24 <= content.size:
        name, length = content.read("<16sQ", place)
        if name[:4] == b"data":
            return Layout(place + length if 24 < length < 2**62 else None)
        place += max(length + -length % 8, 24)
    return Layout()


def _form(content: Content) -> Layout:
    """AIFF and AIFC, whose sound is SSND, and 8SVX and 16SV, whose sound is BODY."""
    place = content.start + 12
    while place + 8 <= content.size:
        name, length = content.read(">4sI", place)
        if name in (b"SSND", b"BODY"):
            return Layout(place + 8 + length if 0 < length < UNKNOWN else None)
        place += 8 + length + length % 2
    return Layout()


def _au(content: Content) -> Layout:
    order = "<" if content.bytes(content.start, 4) == b"dns." else ">"
    place, length = content.read(order + "II", content.start + 4)
    if length == 0 and content.size > content.start + place:
        return _with_length(content.start + 8, order + "I", content.size - content.start - place)
    return Layout(content.start + place + length if length < UNKNOWN else None)


def _caf(content: Content) -> Layout:
    place = content.start + 8
    while place + 12 <= content.size:
        name, length = content.read(">4sq", place)
        if name == b"data" and length < 0:
            return _with_length(place + 4, ">q", content.size - place - 12)
        if name == b"data":
            return Layout(place + 12 + length)
        place += 12 + max(length, 0)
    return Layout()


def _ogg(content: Content) -> Layout:
    """Vorbis, Opus and others in Ogg: every stream that begins has a page that is marked as its last."""
    place, running = content.start, set()
    while place + 27 <= content.size:
        head = content.bytes(place, 27)
        if head[:4] != b"OggS":
            break
        lengths = content.bytes(place + 27, head[26])
        end = place + 27 + head[26] + sum(lengths)
        if len(lengths) < head[26] or end > content.size:
            return Layout(missing="its last page is not whole")
        running.add(head[14:18])
        if head[5] & 4:
            running.discard(head[14:18])
        place = end
    if running:
        return Layout(missing="it has no last page")
    return Layout()


_FORMATS: dict[bytes, Parser] = {
    b"RIFF": _riff,
    b"RIFX": _riff,
    b"RF64": _rf64,
    b"BW64": _rf64,
    b"riff\x2e\x91\xcf\x11": _wave64,
    b"FORM": _form,
    b".snd": _au,
    b"dns.": _au,
    b"caff": _caf,
    b"OggS": _ogg,
    **RARE_FORMATS,
}

_FOREIGN = (
    (4, b"ftyp", "MPEG-4 audio (m4a)"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media Audio (wma)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM audio"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf9", "AAC"),
    (0, b"ADIF", "AAC"),
    (0, b"MAC ", "Monkey's Audio (ape)"),
    (0, b"wvpk", "WavPack (wv)"),
    (0, b"MPCK", "Musepack (mpc)"),
    (0, b"DSD ", "DSD (dsf)"),
    (0, b"FRM8", "DSD (dff)"),
    (0, b"TTA1", "True Audio (tta)"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"#!AMR", "AMR"),
)
