"""MIDI files at random: several tracks and channels, tempos anywhere, notes that overlap, pedals anywhere."""

import mido

KEYS = (20, 21, 60, 60, 60, 62, 62, 64, 108)
PEDALS = (64, 64, 64, 66, 67)
VALUES = (0, 0, 1, 63, 64, 127, 127)


def random_file(rng):
    """A type 0 or 1 file, from a `random.Random`."""
    file = mido.MidiFile(type=rng.randint(0, 1), ticks_per_beat=rng.choice([1, 24, 96, 480, 32767]))
    channels = [rng.sample([0, 1, 2, 9, 15], rng.randint(1, 3)) for _ in range(4)]
    for index in range(1 if file.type == 0 else rng.randint(1, 4)):
        kinds = rng.choice(["notes", "notes", "notes", "pedals", "both", "both", "both", "both"])
        messages = [
            _message(rng, kinds, rng.choice(channels[index])) for _ in range(rng.choice([0, 5, 10, 20, 40]))
        ]
        track = mido.MidiTrack(message.copy(time=_delay(rng, file.ticks_per_beat)) for message in messages)
        track.append(mido.MetaMessage("end_of_track", time=_delay(rng, file.ticks_per_beat)))
        file.tracks.append(track)
    return file


def _delay(rng, ticks):
    """Many messages share a tick."""
    return rng.choice([0, 0, 1, 2, ticks // 2, rng.randint(0, 3 * ticks)])


def _message(rng, kinds, channel):
    if rng.random() < 0.1:
        return mido.MetaMessage("set_tempo", tempo=rng.choice([1, 300_000, 500_000, 1_000_000, 16_777_215]))
    if kinds == "pedals" or (kinds == "both" and rng.random() < 0.4):
        return mido.Message(
            "control_change", channel=channel, control=rng.choice(PEDALS), value=rng.choice(VALUES)
        )
    velocity = rng.choice([0, 0, 1, 64, 127])
    if rng.random() < 0.25:
        return mido.Message("note_off", channel=channel, note=rng.choice(KEYS), velocity=velocity)
    return mido.Message("note_on", channel=channel, note=rng.choice(KEYS), velocity=velocity)
