"""Channels of audio: samples of one channel are [time], of c > 1 channels [time, c], as files hold them."""

import numpy as np
from numpy.typing import NDArray

from diffsynth.errors import UserError

Audio = NDArray[np.float32]


def interleaved(channels: Audio) -> Audio:
    """Audio as it is passed on, [time] or [time, c], of c channels, [c, time]."""
    return channels[0] if len(channels) == 1 else np.ascontiguousarray(channels.T)


def apart(audio: Audio) -> Audio:
    """[c, time] the channels of audio; the inverse of `interleaved`."""
    return audio[None] if audio.ndim == 1 else np.ascontiguousarray(audio.T)


def count(audio: Audio) -> int:
    """Number of channels of audio."""
    return 1 if audio.ndim == 1 else audio.shape[1]


def mixed(audio: Audio) -> Audio:
    """[time] the mean of all channels."""
    if audio.ndim == 1:
        return audio
    return sum(audio.T[1:], start=audio.T[0]) / np.float32(audio.shape[1])


def converted(audio: Audio, channels: int) -> Audio:
    """Audio of so many channels: the mean of all for one, one twice for two.

    Raises:
        UserError: there are more than two of which to make two.
    """
    given = count(audio)
    if channels == 1:
        return mixed(audio)
    if given == 1:
        return np.repeat(audio.reshape(-1, 1), channels, axis=1)
    if given != channels:
        raise UserError(f"audio of {given} channels cannot be heard in {channels}: mix it first")
    return audio
