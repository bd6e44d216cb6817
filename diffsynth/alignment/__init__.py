"""MIDI and audio of a performance on one clock: onsets, matching, offset and drift, tuning."""
