"""The published metrics, between a target and a prediction of it.

Others, which tell more of real recordings, have modules of their own beside this one (`log_mel`, `quiet`,
`jumps`, `perceptual`). docs/metrics.md lists all of them.

Both are mono float32 at one rate, cut to their common length, the prediction scaled to the RMS of
the target, with no shift in time. "Full scale" is a sine of amplitude 1.

=====================  ====================================================================
l1, l2                 mean |difference|; mean squared difference, of the waveforms
spectral_convergence   Frobenius || |R| - |G| || / || |R| ||, Hann, hop a quarter; mean over FFT sizes
onset_precision, ...   librosa onsets (hop 256), matched one to one by mir_eval within a tolerance
pitch_accuracy         share of frames whose strongest pitch agrees; `pitch_accuracy` says of which
polyphony_accuracy     1 - mean |difference| of librosa's chroma (FFT 2048, hop 512)
log_spectral_distance  RMS over bins of the difference of log10 power, floored; mean over frames
level_difference_db    largest |difference| in dB of the RMS over 10 s, before the levels are matched
=====================  ====================================================================

Silence has defined results: two silent signals agree perfectly. A silent prediction has a spectral
convergence of 1 and scores 0 for onsets and pitch where the target has any; a target that is
silent counts the same, and nothing is scaled. Signals shorter than the longest FFT are padded with
silence.

Below, `magnitudes` are [bins, frames], |STFT| divided so that full scale is 1.
"""

import warnings

import mir_eval
import numpy as np
from numpy.typing import NDArray

from diffsynth.evaluation.compiled import librosa

FFT = 2048  # samples, of the analysis that onsets, pitch, chroma and log spectra share
HOP = 512
ONSET_HOP = 256
LOWEST_PITCH, HIGHEST_PITCH = 80.0, 2000.0  # Hz
PITCH_THRESHOLD = 0.1  # of the strongest bin of a frame
LEVEL_WINDOW, LEVEL_STEP = 10.0, 1.0  # s
SILENCE = 1e-5  # RMS; a single bit of a 16-bit file is 3e-5
# -100 dB of full scale per bin, as white noise -75 dB in all: the edge of what can be heard, and
# 26 dB above the rounding of 16-bit files.
FLOOR = 1e-5
LEVEL_FLOOR = 1e-8  # mean square, -80 dB

Array = NDArray[np.floating]


def match_level(target: Array, prediction: Array) -> Array:
    """`prediction` scaled to the RMS of `target`; unchanged if one of them is silent.

    Scaling to the level of a silent target would hide whatever noise was predicted in its place.
    """
    target_rms, prediction_rms = _rms(target), _rms(prediction)
    if min(target_rms, prediction_rms) < SILENCE:
        return prediction
    return (prediction * np.float64(target_rms / prediction_rms)).astype(np.float32)


def level_difference(target: Array, prediction: Array, rate: int) -> float:
    """Largest |difference| in dB of the RMS levels over 10 s windows, a second apart.

    A shorter signal is one window. Levels below -80 dB (RMS 1e-4) count as -80 dB.
    """
    levels = [_window_levels(signal, rate) for signal in (target, prediction)]
    return float(np.abs(levels[0] - levels[1]).max())


def _window_levels(signal: Array, rate: int) -> Array:
    """Levels in dB, [window]; the last window ends with the signal."""
    width = min(len(signal), round(LEVEL_WINDOW * rate))
    energy = np.concatenate([[0.0], np.cumsum(np.square(signal, dtype=np.float64))])
    last = len(signal) - width
    starts = np.append(np.arange(0, last, round(LEVEL_STEP * rate)), last)
    power = (energy[starts + width] - energy[starts]) / width
    return 10.0 * np.log10(np.maximum(power, LEVEL_FLOOR))


def magnitudes(signal: Array, size: int, hop: int) -> Array:
    """|STFT| of `signal` [time], Hann, frames centred on multiples of `hop` samples, float32.

    The signal holds at least `size` samples; beyond its ends it counts as silent.
    """
    return np.abs(librosa.stft(signal, n_fft=size, hop_length=hop)) * np.float32(4.0 / size)


def spectral_convergence(target: Array, prediction: Array) -> float:
    """Frobenius || |R| - |G| || / || |R| || of magnitudes; 0 is perfect, silence scores 1.

    Against a silent target anything but silence scores 1, as predicting silence does elsewhere.
    """
    distance, norm = np.linalg.norm(target - prediction), np.linalg.norm(target)
    return float(distance / norm) if norm > 0.0 else float(distance > 0.0)


def log_spectral_distance(target: Array, prediction: Array) -> float:
    """RMS over bins of the difference of log10 power, mean over frames; 1 is 10 dB.

    Bins below -100 dB of full scale count as -100 dB: what cannot be heard makes no difference.
    """
    # log10 power is twice log10 magnitude
    difference = 2.0 * np.log10(np.maximum(target, FLOOR) / np.maximum(prediction, FLOOR))
    return float(np.sqrt(np.square(difference).mean(axis=0)).mean())


def onset_times(magnitudes: Array, rate: int) -> Array:
    """Onsets in seconds, as librosa's `onset_detect` finds them, from magnitudes at hop 256."""
    power = np.square(magnitudes * np.float32(FFT / 4.0))  # librosa's own scale: its dB has a floor
    mel = librosa.feature.melspectrogram(S=power, sr=rate, n_fft=FFT, fmax=0.5 * rate)
    strength = librosa.onset.onset_strength(
        S=librosa.power_to_db(mel), sr=rate, n_fft=FFT, hop_length=ONSET_HOP
    )
    return librosa.onset.onset_detect(onset_envelope=strength, sr=rate, hop_length=ONSET_HOP, units="time")


def onset_scores(target: Array, prediction: Array, tolerance: float) -> tuple[float, float, float]:
    """Precision, recall and F1 of onset times in seconds; (1, 1, 1) where neither has any."""
    if not len(target) or not len(prediction):
        score = float(len(target) == len(prediction))
        return score, score, score
    f1, precision, recall = mir_eval.onset.f_measure(target, prediction, window=tolerance)
    return float(precision), float(recall), float(f1)


def pitch_track(magnitudes: Array, rate: int) -> Array:
    """Strongest `librosa.piptrack` pitch of each frame in Hz, [frames]; 0 where there is none.

    A frame in which no bin reaches the floor has none.
    """
    pitches, strengths = librosa.piptrack(
        S=_gate(magnitudes),
        sr=rate,
        n_fft=FFT,
        fmin=LOWEST_PITCH,
        fmax=HIGHEST_PITCH,
        threshold=PITCH_THRESHOLD,
    )
    return np.take_along_axis(pitches, strengths.argmax(axis=0)[None], axis=0)[0]


def pitch_accuracy(target: Array, prediction: Array, tolerance: float) -> float:
    """Share of frames whose pitches in Hz lie within `tolerance` cents of each other.

    Frames where neither has a pitch do not count; where only one has, the frame is wrong, since
    a note is missing or was made up. 1 where no frame counts.
    """
    counted = (target > 0.0) | (prediction > 0.0)
    both = (target > 0.0) & (prediction > 0.0)
    if not counted.any():
        return 1.0
    cents = 1200.0 * np.abs(np.log2(prediction[both] / target[both]))
    return float(np.count_nonzero(cents <= tolerance) / np.count_nonzero(counted))


def chroma(magnitudes: Array, rate: int) -> Array:
    """`librosa.feature.chroma_stft`, [12, frames] in 0..1, tuning estimated; 0 in silent frames."""
    power = np.square(_gate(magnitudes))
    with warnings.catch_warnings():
        # the tuning of silence and of pure bass cannot be estimated, and is 0
        warnings.filterwarnings("ignore", message="Trying to estimate tuning from empty")
        return librosa.feature.chroma_stft(S=power, sr=rate, n_fft=FFT, hop_length=HOP)


def polyphony_accuracy(target: Array, prediction: Array) -> float:
    """1 - mean |difference| of two chroma [12, frames]."""
    return 1.0 - float(np.abs(target - prediction).mean())


def _gate(magnitudes: Array) -> Array:
    """`magnitudes` with 0 in silent frames, in which no bin reaches the floor."""
    return np.where(magnitudes.max(axis=0) >= FLOOR, magnitudes, np.float32(0.0))


def _rms(signal: Array) -> float:
    return float(np.sqrt(np.square(signal, dtype=np.float64).mean()))
