"""From the bytes of a MIDI file to its tracks, whatever a header says about lengths and numbers.

A file may be wrapped in RIFF (.rmi) or follow a header of some other program. It may hold chunks that nobody
knows, and tracks that are longer or shorter than they say.
"""

import re
from dataclasses import dataclass, field

from diffsynth.midi.tracks import CUT, GOES_ON, Track, parse_track

HEADER, TRACK = b"MThd", b"MTrk"
PREFACE = 1024  # bytes that may stand before the header where a file is not RIFF; MacBinary has 128
IN_RIFF = re.compile(rb"data....(MThd)", re.DOTALL)  # after an identity and a length
START = 8  # bytes of an identity and a length before the content of a chunk


@dataclass
class Chunks:
    """What is in a file.

    Attributes:
        kind: 0 (one track), 1 (tracks at once) or 2 (tracks one after the other).
        division: 16 bits that tell how long a tick is.
        tracks: as far as they could be read.
        lost: what could not be read, and what the header says that is not so.
    """

    kind: int
    division: int
    tracks: list[Track] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def read_chunks(data: bytes) -> Chunks:
    """The header and all tracks.

    Raises:
        ValueError: there is no header or no track; says what is wrong.
    """
    begin = _find_header(data)
    if begin < 0:
        raise ValueError("it does not begin like one" if data else "it is empty")
    length, kind, count, division = (_number(data, begin + at, size) for at, size in _HEADER_FIELDS)
    if len(data) < begin + START + 6:
        raise ValueError("it is cut short in its header")
    chunks = Chunks(kind, division)
    if kind > 2:
        chunks.kind = 1
        chunks.lost.append(f"there is no type {kind}: its tracks are played at once")
    position = begin + START + length
    if data[position : position + 4] != TRACK and not _is_chunk(data, position):
        position = begin + START + 6
    _read_tracks(data, position, chunks)
    if not chunks.tracks:
        raise ValueError("there is no track in it")
    if len(chunks.tracks) != count:
        chunks.lost.append(f"its header counts {_tracks(count)}, there are {len(chunks.tracks)}")
    return chunks


_HEADER_FIELDS = ((4, 4), (8, 2), (10, 2), (12, 2))  # position from the identity, bytes


def _find_header(data: bytes) -> int:
    """Position of the header, -1 if there is none."""
    if data[:4] == b"RIFF":
        wrapped = IN_RIFF.search(data)  # texts before it may hold anything
        return wrapped.start(1) if wrapped else data.find(HEADER)
    return data.find(HEADER, 0, PREFACE)


def _read_tracks(data: bytes, position: int, chunks: Chunks) -> None:
    while 0 <= position < len(data):
        identity = data[position : position + 4]
        if identity == HEADER:
            chunks.lost.append("another file follows in it")
            return
        if identity == TRACK:
            position = _read_track(data, position, chunks)
        elif _is_chunk(data, position):
            position += START + _number(data, position + 4, 4)
        else:
            # Neither a track nor a chunk begins here: go on where the next track does.
            position = data.find(TRACK, position)


def _read_track(data: bytes, position: int, chunks: Chunks) -> int:
    """Append the track at a position; returns where the next chunk should begin."""
    begin = position + START
    declared = border = begin + _number(data, position + 4, 4)
    number = len(chunks.tracks) + 1
    if border != len(data) and not _is_chunk(data, border):
        # The length is wrong: the track goes on to its own end, or to where another one begins.
        following = data.find(TRACK, begin)
        border = following if following > 0 else len(data)
    track = parse_track(data, begin, border)
    chunks.tracks.append(track)
    problem = track.problem or ("" if track.ended or declared <= len(data) else CUT)
    # What its length spans beyond its end: tracks, or what no player plays.
    beyond = data[track.stop : border] if track.ended and border == declared else b""
    if any(beyond) and TRACK not in beyond:
        problem = GOES_ON
    if problem:
        chunks.lost.append(f"track {number} {problem}")
    return track.stop if TRACK in beyond or (track.ended and border == len(data)) else border


def _is_chunk(data: bytes, position: int) -> bool:
    """Whether a chunk of a known or unknown kind can begin at a position."""
    identity = data[position : position + 4]
    if identity == TRACK:
        return True
    named = len(identity) == 4 and all(32 <= byte < 127 for byte in identity)
    return named and position + START + _number(data, position + 4, 4) <= len(data)


def _number(data: bytes, position: int, size: int) -> int:
    return int.from_bytes(data[position : position + size], "big")


def _tracks(count: int) -> str:
    return f"{count} track{'' if count == 1 else 's'}"
