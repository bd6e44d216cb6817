"""The frames of an MP3 file, counted: what its header promises, what is there, what a decoder has to be told.

Many files begin with a silent frame that tells the number of frames (a Xing, Info or VBRI tag). A decoder
believes it: where the number is too small it reads too little, and without one it guesses the length from
the bit rate of the first frame. So frames are counted here, and where the file tells nothing or too little,
the decoder gets to see the right number.

Frames after ISO 11172-3 and 13818-3, tags as LAME and mpg123 have them.
"""

import mmap
import struct
from dataclasses import dataclass
from functools import cache

from diffsynth.audio.layout import Content, Layout
from diffsynth.audio.splicing import Splice

# kbit/s by number: MPEG 1, layers I to III; MPEG 2 and 2.5, layers I to III.
RATES = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
HERTZ = (44100, 48000, 32000)
SLOWER = {3: 0, 2: 1, 0: 2}  # version as in the header: how often its sample rate is half of MPEG 1's
SAME = 0xFFFE0C00  # bits of a header that all frames of a stream share: sync, version, layer, sample rate
LAYER_3 = 1  # as in the header
SURE = 3  # frames one after the other that are no accident
SEARCHED = 1 << 16  # bytes in which the first frame is looked for ...
DAMAGED = 1 << 14  # ... and the next one after something else
VBRI_PLACE = 36  # in its frame
TOLD = 9  # number of the bit rate of frames that are put in front
DECODER_DELAY = 529  # samples


@dataclass(frozen=True)
class Tag:
    """Frames and bytes that a file tells (bytes with the tag's own frame), and the places of the numbers."""

    frames: int
    frames_at: int
    size: int | None
    size_at: int
    unknown: bool = False  # to mpg123


@cache
def frame_length(header: int) -> int:
    """Bytes of the frame with this header, 32 bits; 0 if it is none (or of a free bit rate)."""
    version, layer = header >> 19 & 3, 4 - (header >> 17 & 3)
    rate, hertz = header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or rate in (0, 15) or hertz == 3:
        return 0
    bits = 1000 * RATES[1 if version == 3 else 2, layer][rate]
    frequency, padding = HERTZ[hertz] >> SLOWER[version], header >> 9 & 1
    if layer == 1:
        return 4 * (12 * bits // frequency + padding)
    return (144 if version == 3 or layer == 2 else 72) * bits // frequency + padding


def mp3_layout(content: Content) -> Layout:
    """What is known of an MP3 file; nothing of what is none."""
    if content.size <= content.start:
        return Layout()
    with mmap.mmap(content.file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        first = _search(data, content.start, SEARCHED, None)
        if first is None:
            return Layout()
        header = _header(data, first)
        tag = _tag(data, first, header)
        count, end, lacking = _count(data, first + (frame_length(header) if tag else 0), header)
    if lacking:
        return Layout(missing=f"its last frame lacks {lacking} bytes")
    if tag is not None and _promised(tag, end - first, count) > count:
        return Layout(missing=f"its header promises {tag.frames} frames, it has {count}")
    if tag is not None and not tag.unknown:
        return Layout(splices=_retold(tag, count, end - first) if count != tag.frames else ())
    # mpg123 does not know VBRI and takes its frame for sound.
    told = _told(header, count + (tag is not None), end - first)
    return Layout(splices=(Splice(content.start, first, told),) if header >> 17 & 3 == LAYER_3 else ())


def _promised(tag: Tag, size: int, count: int) -> int:
    """Frames that a tag promises; some writers count the frame of the tag, too."""
    whole = tag.size is None or tag.size <= size
    return tag.frames - 1 if whole and tag.frames == count + 1 else tag.frames


def _header(data: mmap.mmap, place: int) -> int:
    return int.from_bytes(data[place : place + 4], "big")


def _search(data: mmap.mmap, start: int, reach: int, like: int | None) -> int | None:
    """Where the first of `SURE` frames begins (fewer if the file ends), of the stream of `like` if given."""
    place = start
    while (place := data.find(b"\xff", place, start + reach)) >= 0:
        header = _header(data, place)
        if (like is None or not (header ^ like) & SAME) and _certain(data, place, header):
            return place
        place += 1
    return None


def _certain(data: mmap.mmap, place: int, like: int) -> bool:
    for number in range(SURE):
        header = _header(data, place)
        length = frame_length(header)
        if not length or (header ^ like) & SAME:
            return number > 0 and place >= len(data)
        place += length
    return True


def _count(data: mmap.mmap, place: int, like: int) -> tuple[int, int, int]:
    """Frames from a place, where the last one ends, and how many bytes of another one are missing."""
    count, end = 0, place
    while place + 4 <= len(data):
        header = _header(data, place)
        length = 0 if (header ^ like) & SAME else frame_length(header)
        if not length:
            found = _search(data, place, DAMAGED, like)
            if found is None:
                break
            place = found
        elif place + length > len(data):
            return count, end, place + length - len(data)
        else:
            count, place = count + 1, place + length
            end = place
    return count, end, 0


def _side(header: int) -> int:
    """Bytes of the head of a layer III frame, behind which a Xing tag is."""
    mono, first = header >> 6 & 3 == 3, header >> 19 & 3 == 3
    return 4 + ((17 if mono else 32) if first else (9 if mono else 17))


def _tag(data: mmap.mmap, first: int, header: int) -> Tag | None:
    """The tag in the first frame, if it tells a number of frames."""
    place = first + _side(header)
    if data[place : place + 4] in (b"Xing", b"Info"):
        flags = int.from_bytes(data[place + 4 : place + 8], "big")
        if not flags & 1:
            return None
        frames = int.from_bytes(data[place + 8 : place + 12], "big")
        size = int.from_bytes(data[place + 12 : place + 16], "big") if flags & 2 else None
        return Tag(frames, place + 8, size, place + 12)
    place = first + VBRI_PLACE
    if data[place : place + 4] == b"VBRI":
        size, frames = struct.unpack(">II", data[place + 10 : place + 18])
        return Tag(frames, place + 14, size, place + 10, unknown=True)
    return None


def _retold(tag: Tag, count: int, size: int) -> tuple[Splice, ...]:
    """The tag with other numbers."""
    frames = Splice(tag.frames_at, tag.frames_at + 4, struct.pack(">I", count))
    if tag.size is None:
        return (frames,)
    return tuple(sorted((frames, Splice(tag.size_at, tag.size_at + 4, struct.pack(">I", size)))))


def _told(header: int, count: int, size: int) -> bytes:
    """What is put in front of a stream without a number of frames: a tag that tells it.

    With a tag, mpg123 leaves out the delay of a decoder and of the encoder that the tag names. Two frames
    of silence and their length make that nothing: all samples come as they do without a tag.
    """
    own = header & ~0xF200 | 0x10000 | TOLD << 12
    length = frame_length(own)
    silence = own.to_bytes(4, "big").ljust(length, b"\0")
    delay = 2 * (1152 if header >> 19 & 3 == 3 else 576) - DECODER_DELAY
    numbers = struct.pack(">III", 3, count + 2, size + 3 * length)
    encoder = b"LAME3.100" + bytes(12) + (delay << 12).to_bytes(3, "big")
    tag = own.to_bytes(4, "big").ljust(_side(header), b"\0") + b"Xing" + numbers + encoder
    return tag.ljust(length, b"\0") + 2 * silence
