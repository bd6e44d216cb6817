"""The table of kinds of voices: a name, as a model states it, and the class."""

from diffsynth.synthesis.frame_voice import FrameVoice
from diffsynth.synthesis.gain_voice import GainVoice
from diffsynth.synthesis.voice import Voice

VOICES: dict[str, type[Voice]] = {"gains": GainVoice, "frames": FrameVoice}
