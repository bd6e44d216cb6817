"""The excitation: a bank of decaying sinusoids per key, played from MIDI."""
