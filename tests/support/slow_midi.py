"""A slow, obvious reader of MIDI files: mido's messages, fractions for time, one note at a time.

Every note is followed through all later messages for as long as it sounds. It was written after docs/midi.md,
not after the code that it checks.
"""

from fractions import Fraction

import mido
import numpy as np

from diffsynth.errors import UserError
from diffsynth.midi.dampers import Dampers
from diffsynth.midi.events import SAMPLE_EVENT
from diffsynth.midi.files import read_midi

SUSTAIN, SOSTENUTO = 64, 66


def merged(path):
    """(track, seconds, message) of all messages in the order of the file."""
    file = mido.MidiFile(path, clip=True)
    rows = []
    for index, track in enumerate(file.tracks):
        tick = 0
        for message in track:
            tick += message.time
            rows.append((tick, index, message))
    rows.sort(key=lambda row: row[0])
    time, before, tempo, result = Fraction(0), 0, 500_000, []
    for tick, index, message in rows:
        time += Fraction((tick - before) * tempo, file.ticks_per_beat * 1_000_000)
        before = tick
        if message.type == "set_tempo":
            tempo = message.tempo
        result.append((index, time, message))
    return result


def is_strike(message):
    return message.type == "note_on" and message.velocity > 0


def is_release(message):
    return message.type == "note_off" or (message.type == "note_on" and message.velocity == 0)


def played(message):
    return is_strike(message) and message.channel != 9 and 21 <= message.note <= 108


def finger_ends(rows):
    """For the place of every strike, the place of its release: the first in, the first out."""
    ends, waiting = {}, {}
    for place, (track, _, message) in enumerate(rows):
        if is_strike(message):
            waiting.setdefault((message.channel, message.note), []).append((track, place))
        elif is_release(message):
            queue = waiting.get((message.channel, message.note), [])
            # Its own track's first, else that of the first track that has one.
            for entry in ([entry for entry in queue if entry[0] == track] or sorted(queue))[:1]:
                queue.remove(entry)
                ends[entry[1]] = place
        elif message.type == "end_of_track":
            for queue in waiting.values():
                for entry in [entry for entry in queue if entry[0] == track]:
                    queue.remove(entry)
                    ends[entry[1]] = place
    return ends


def positions(rows, number):
    """For every channel, whether a pedal that acts on its notes is down after each message."""
    channels = {message.channel for _, _, message in rows if is_strike(message)}
    tracks = {track for track, _, message in rows if is_strike(message)}
    down = {channel: [] for channel in range(16)}
    now = {}  # (channel of the pedal, channel of the notes or None for all): value
    for track, _, message in rows:
        if message.type == "control_change" and message.control == number:
            alone = message.channel in channels and track in tracks
            now[message.channel, message.channel if alone else None] = message.value
        for channel, history in down.items():
            history.append(any(value >= 64 for (_, to), value in now.items() if to in (channel, None)))
    return down


def last_place(rows, place, finger, sustain, sostenuto):
    """Place of the message with which a note ends; None if it never does."""
    caught = False
    for at in range(place + 1, len(rows)):
        if sostenuto[at] != sostenuto[at - 1]:
            caught = sostenuto[at]
        if not (at < finger or sustain[at] or caught):
            return at
    return None


def soundings(path):
    """For every key, its strikes [(time, velocity)] and the times [(from, to)] at which its damper is up.

    A note that never ends goes `to` None.
    """
    rows = merged(path)
    fingers, sustain, sostenuto = finger_ends(rows), positions(rows, SUSTAIN), positions(rows, SOSTENUTO)
    keys = {}
    for place, (_, time, message) in enumerate(rows):
        if not played(message):
            continue
        channel = message.channel
        last = last_place(rows, place, fingers[place], sustain[channel], sostenuto[channel])
        strikes, spans = keys.setdefault(message.note, ([], []))
        strikes.append((float(time), message.velocity))
        last = len(rows) if last is None else last
        if spans and place < spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], last)
        else:
            spans.append([place, last])
    end = [float(time) for _, time, _ in rows] + [None]
    return {
        key: (strikes, [(end[first], end[last]) for first, last in spans])
        for key, (strikes, spans) in keys.items()
    }


def played_soundings(events):
    """The same of an event stream, as the engine's dampers move."""
    rows = [(place, *row[1:]) for place, row in enumerate(events.tolist())]
    times, keys, damped = events["time"].tolist(), {}, {}
    for place, what, key, velocity in Dampers().actions(np.array(rows, dtype=SAMPLE_EVENT)):
        strikes, spans = keys.setdefault(key + 21, ([], []))
        if what == "strike":
            strikes.append((times[place], velocity))
            if damped.get(key, True):
                spans.append((times[place], None))
        else:
            spans[-1] = (spans[-1][0], times[place])
        damped[key] = what == "damp"
    return keys


def differences(path):
    """What `read_midi` makes of a file that this reader does not: lines, none if all is the same."""
    wanted = soundings(path)
    try:
        found = played_soundings(read_midi(path))
    except UserError:
        found = {}
    return [
        f"key {key}: {found.get(key)} instead of {wanted.get(key)}"
        for key in sorted({*wanted, *found})
        if not _same(found.get(key), wanted.get(key))
    ]


def _same(one, other):
    if one is None or other is None:
        return one is other
    rows = [[*strikes, *spans] for (strikes, spans) in (one, other)]
    return len(rows[0]) == len(rows[1]) and all(
        a is b or (a is not None and b is not None and abs(a - b) <= 1e-9 * max(1, abs(b)))
        for first, second in zip(*rows, strict=True)
        for a, b in zip(first, second, strict=True)
    )
