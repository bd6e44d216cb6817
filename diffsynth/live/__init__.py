"""Playing live: MIDI in, sound out, the engine between them on a thread of its own.

An event that arrives while the sink takes block i is put into the next block that is computed, at the
same place within it. That block waits in a ring of b blocks, so from the arrival of an event to the
sink taking its first sample there are always (1 + b) * N samples of N per block, and no jitter. What
the device buffers comes on top.

stream time: seconds of sound that the sink has taken since the start, silence for missing blocks
    included; `clock.Clock` relates it to the clock on the wall.
position: stream time of an event or a sample in samples of the voice.
missed block: one that was not ready when the sink needed it.
"""
