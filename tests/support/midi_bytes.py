"""MIDI files byte by byte, and what is read of them."""

import struct

from diffsynth.midi.files import read_midi
from support.slow_midi import played_soundings

END = b"\x00\xff\x2f\x00"


def quantity(value):
    low = [value & 127]
    while value := value >> 7:
        low.append(value & 127 | 128)
    return bytes(reversed(low))


def track(*events, end=None):
    """A chunk of messages at absolute ticks; `end` is the tick of its end, or b"" for none."""
    data, now = b"", 0
    for tick, message in sorted(events, key=lambda event: event[0]):
        data, now = data + quantity(tick - now) + message, tick
    if end is None:
        data += END
    elif end:
        data += quantity(end - now) + END[1:]
    return chunk(b"MTrk", data)


def chunk(name, data):
    return name + struct.pack(">I", len(data)) + data


def song(*tracks, division=480, kind=1, count=None):
    header = struct.pack(">HHH", kind, len(tracks) if count is None else count, division)
    return chunk(b"MThd", header) + b"".join(tracks)


def on(key, channel=0, velocity=90):
    return bytes([0x90 | channel, key, velocity])


def off(key, channel=0):
    return bytes([0x80 | channel, key, 64])


def cc(number, value, channel=0):
    return bytes([0xB0 | channel, number, value])


def meta(kind, data):
    return bytes([0xFF, kind]) + quantity(len(data)) + data


def tempo(microseconds):
    return meta(0x51, microseconds.to_bytes(3, "big"))


def read(path, data, **options):
    """Times at which dampers are up, by key, and what is said."""
    path.write_bytes(data)
    said = []
    events = read_midi(path, say=said.append, **options)
    spans = {key: spans for key, (_, spans) in played_soundings(events).items()}
    return spans, [line.removeprefix(f"{path}: ") for line in said]


NOTE = track((480, on(60)), (960, off(60)))
HEARD = {60: [(0.5, 1.0)]}
SECOND = track((480, on(64)), (960, off(64)))
BOTH = {60: [(0.5, 1.0)], 64: [(0.5, 1.0)]}
