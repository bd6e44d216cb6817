"""What is heard where the target is quietest: the noise of the room, or hiss that should not be there."""

import numpy as np

from diffsynth.evaluation.compiled import librosa
from diffsynth.evaluation.metrics import FFT, HOP, SILENCE, Array

SHARE = 0.05  # of the frames


def quiet_floor(target: Array, prediction: Array) -> float:
    """Level of the prediction over that of the target in dB, in the target's quietest 5 % of frames.

    0 is perfect, more is noise that is not in the target, less is silence where the target has a floor.
    Levels are means of the RMS of frames (2048 samples, a quarter apart). One below -100 dB of full scale
    counts as -100 dB, or what cannot be heard beside digital silence would count most.

    Args:
        target: samples, [time].
        prediction: samples, [time], at the level of the target.
    """
    levels = [
        librosa.feature.rms(y=signal, frame_length=FFT, hop_length=HOP)[0].clip(SILENCE)
        for signal in (target, prediction)
    ]
    quiet = levels[0] <= np.quantile(levels[0], SHARE)
    target_level, level = (frames[quiet].mean(dtype=np.float64) for frames in levels)
    return float(20.0 * np.log10(level / target_level))
