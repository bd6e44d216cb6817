"""Validation by ear: an excerpt streamed through the engine and compared with its recording."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from diffsynth.audio.channels import apart
from diffsynth.midi.events import Events
from diffsynth.shards.segments import Segment
from diffsynth.synthesis.synthesizer import Synthesizer, blocks_of
from diffsynth.synthesis.voice import Voice

FFT, HOP = 2048, 512
FLOOR = 1e-10  # power: -100 dB below full scale


@dataclass(frozen=True)
class Excerpt:
    """The beginning of a performance: events (s) and the recording, [time] samples, or [time, c]."""

    events: Events
    audio: NDArray[np.float32]

    @staticmethod
    def of(segment: Segment, seconds: float, rate: int) -> "Excerpt":
        """The first `seconds` of a segment, at `rate` Hz, that begins its performance."""
        audio = segment.audio[: int(seconds * rate)]
        events = segment.events[segment.events["time"] < seconds]
        return Excerpt(events, audio)

    def play(self, voice: Voice) -> NDArray[np.float32]:
        """Stream the excerpt; as many samples as the recording has."""
        synthesizer = Synthesizer(voice)
        parts = blocks_of(self.events, synthesizer.rate, synthesizer.block, len(self.audio))
        return np.concatenate([synthesizer.process(part) for part in parts])[: len(self.audio)]

    def listen(self, voice: Voice) -> dict[str, float]:
        """Stream the excerpt; the distance of its spectra and levels from the recording."""
        audio = self.play(voice)
        wanted, made = _log_power(self.audio), _log_power(audio)
        energy = np.mean(np.square(audio)) + FLOOR, np.mean(np.square(self.audio)) + FLOOR
        return {
            "streamed_lsd": float((wanted - made).square().mean(1).sqrt().mean()),
            "streamed_level_db": float(10 * np.log10(energy[0] / energy[1])),
        }


def _log_power(samples: NDArray[np.float32]) -> torch.Tensor:
    """Common logarithm of the power spectra, [c, bins, frames], a sinusoid at full scale near 0."""
    window = torch.hann_window(FFT)
    spectrum = torch.stft(torch.from_numpy(apart(samples)), FFT, HOP, window=window, return_complex=True)
    return ((2 * spectrum.abs() / window.sum()).square() + FLOOR).log10()
