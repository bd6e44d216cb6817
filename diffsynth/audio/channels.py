"""Channels of audio: samples of one channel are [time], of c > 1 channels [time, c], as files hold them."""

import numpy as np
from numpy.typing import NDArray


def interleaved(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Audio as it is passed on, [time] or [time, c], of c channels, [c, time]."""
    return channels[0] if len(channels) == 1 else np.ascontiguousarray(channels.T)
