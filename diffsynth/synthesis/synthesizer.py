"""The streaming engine: events in, one block of audio out, all memory explicit.

Every block goes the same way, live or offline: the voice's player makes a condition of the events, the
network sees it and turns noise into data, the player makes audio of the data
(`diffsynth.synthesis.player`). The delay is one block, which has to be filled with events before it can be
made; the model adds none.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.midi.events import SAMPLE_EVENT, Events, to_samples
from diffsynth.synthesis.block_step import Step, TorchStep
from diffsynth.synthesis.fading import Fading
from diffsynth.synthesis.voice import Voice


class Synthesizer:
    """Plays a voice block by block.

    Args:
        voice: what to play.
        steps: of the diffusion sampler for each block; 1 is the default and usually best.
        seed: of the diffusion noise. Block i of a stream gets the same noise in every run.
        network: computes the network in place of PyTorch, with a sampler of its own.

    Raises:
        UserError: the voice is not made for so many steps.
    """

    def __init__(self, voice: Voice, steps: int = 1, seed: int = 0, network: Step | None = None) -> None:
        config = voice.config
        config.check_steps(steps)
        self.voice, self.steps, self.seed = voice, steps, seed
        self.block, self.rate = config.block, config.audio.sample_rate
        self.channels = config.audio.channels
        self._player = player = voice.player()
        self._step = network or TorchStep(voice.denoiser, player.condition_shape, player.shape, steps)
        self.reset()

    @property
    def latency(self) -> dict[str, float]:
        """Buffering (events are collected for one block) and delay of the model, samples and ms."""
        return {
            "buffer_samples": self.block,
            "model_samples": 0,
            "total_samples": self.block,
            "total_ms": 1000 * self.block / self.rate,
        }

    @property
    def rest(self) -> float:
        """Amplitude that samples of the last block have at most where only the room is heard."""
        return self._player.rest

    def reset(self) -> None:
        """Silence, all keys and pedals up, the noise from its beginning."""
        self._player.reset()
        self._memory = self._step.initial()
        self._index = 0

    def state(self) -> dict[str, Any]:
        """A copy of everything that the next block depends on."""
        return {
            "player": self._player.state(),
            "memory": tuple(array.copy() for array in self._memory),
            "index": self._index,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state taken with `state`; what follows replays identically."""
        self._player.restore(state["player"])
        self._memory = tuple(array.copy() for array in state["memory"])
        self._index = state["index"]

    def process(self, events: Events) -> NDArray[np.float32]:
        """The next block of audio, [block] samples in about -1..1, or [block, c] of c > 1 channels.

        Args:
            events: `SAMPLE_EVENT` array in any order; `position` counts samples from the start of
                this block, and one outside of it is moved to its nearest sample.
        """
        order = np.argsort(events["position"], kind="stable")
        condition = self._player.condition(events[order])
        x, self._memory = self._step(condition, self._noise(), self._memory)
        return self._player.audio(x)

    def _noise(self) -> NDArray[np.float32]:
        """Standard normal noise of the block to come, [f, k]."""
        generator = np.random.default_rng(_noise_seed(self.seed, self._index))
        self._index += 1
        return generator.standard_normal(self._player.shape, dtype=np.float32)


def _noise_seed(seed: int, block: int) -> np.random.SeedSequence:
    """A stream of its own for every seed and block.

    A seed beyond 32 bits takes two words in a list, and would be mistaken for a smaller seed and a block.
    """
    if seed < 1 << 32:
        return np.random.SeedSequence([seed, block])
    return np.random.SeedSequence(seed, spawn_key=(block,))


WARM_UP = 8  # blocks played before the first that is timed or heard, which are slow
NO_EVENTS = np.zeros(0, dtype=SAMPLE_EVENT)


def blocks_of(events: Events, rate: int, block: int, length: int) -> list[NDArray[np.void]]:
    """What `stream_blocks` yields."""
    return list(stream_blocks(events, rate, block, length))


def stream_blocks(events: Events, rate: int, block: int, length: int) -> Iterator[NDArray[np.void]]:
    """Split an event stream (times in s) into one `SAMPLE_EVENT` array per block of `length` samples.

    What comes before the start belongs to the first block.
    """
    events = to_samples(events, rate)
    index = (events["position"] // block).clip(0)
    events["position"] -= index * block
    borders = np.searchsorted(index, np.arange(-(-length // block) + 1))
    for first, last in pairwise(borders):
        yield events[first:last]


def play(synthesizer: Synthesizer, events: Events) -> Iterator[NDArray[np.float32]]:
    """Blocks of a whole performance from a fresh start, until its sound has died away.

    Args:
        synthesizer: is reset first.
        events: times in seconds, in order.
    """
    synthesizer.reset()
    fading = Fading(synthesizer.rate)
    last = int(to_samples(events[-1:], synthesizer.rate)["position"].max(initial=0))
    for part in stream_blocks(events, synthesizer.rate, synthesizer.block, last + 1):
        audio = synthesizer.process(part)
        fading.add(audio, len(part), synthesizer.rest)
        yield audio
    while not fading.silent:
        audio = synthesizer.process(NO_EVENTS)
        fading.add(audio, 0, synthesizer.rest)
        yield audio


def render(synthesizer: Synthesizer, events: Events, tail: float | None = None) -> NDArray[np.float32]:
    """A whole performance, block by block from a fresh start, [time] samples, or [time, c].

    Args:
        synthesizer: is reset first.
        events: times in seconds, in order.
        tail: seconds after the last event; None: until its sound has died away, in whole blocks.
    """
    if tail is None:
        return np.concatenate(list(play(synthesizer, events)))
    synthesizer.reset()
    end = float(events["time"][-1]) if len(events) else 0.0
    length = int((end + tail) * synthesizer.rate)
    blocks = blocks_of(events, synthesizer.rate, synthesizer.block, length)
    return np.concatenate([synthesizer.process(part) for part in blocks])[:length]
