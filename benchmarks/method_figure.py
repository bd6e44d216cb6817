"""The figure of docs/method.md: modes, strikes that meet, gains and the half circle, from the code itself.

    python benchmarks/method_figure.py weights/grand/512/lstm.safetensors docs/method.png

Nothing is timed or trained; the same voice gives the same picture.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # results and cores: see diffsynth.runs.parallel

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from diffsynth.audio.channels import apart
from diffsynth.audio.mel_bands import shares_of
from diffsynth.diffusion import sample, velocity
from diffsynth.midi.events import LOWEST_KEY, NOTE_OFF, NOTE_ON, make_events, to_samples
from diffsynth.midi.pitches import equal_tempered
from diffsynth.piano.interference import Interference
from diffsynth.piano.piano import Piano
from diffsynth.piano.playing import play_whole
from diffsynth.representation.gain_field import GainField, band_centres
from diffsynth.synthesis.gain_voice import Voice
from diffsynth.synthesis.weights import load_voice

KEY = 39  # middle C
VELOCITY = 90
SECONDS, DAMPED = 2.5, 1.8  # s of the note, and when its damper falls
QUIET = 1e-5  # amplitude (-100 dB), where levels are cut off
DATA, NOISE = 0.9, 0.55  # of the half circle


def level(amplitude: np.ndarray) -> np.ndarray:
    """Amplitude in dB of full scale."""
    return 20 * np.log10(np.maximum(np.abs(amplitude), QUIET))


def draw_note(axes: Axes, piano: Piano, rate: int, frame: int) -> None:
    """A note in the first channel, and the modes of its fundamental, which beat and decay in stages."""
    events = make_events(
        [(0.0, NOTE_ON, KEY + LOWEST_KEY, VELOCITY), (DAMPED, NOTE_OFF, KEY + LOWEST_KEY, 0)]
    )
    audio = apart(play_whole(piano, to_samples(events, rate), rate, frame, round(SECONDS * rate)))[0]
    peaks = np.abs(audio[: len(audio) // frame * frame]).reshape(-1, frame).max(axis=1)
    axes.plot(
        np.arange(len(peaks)) * frame / rate, level(peaks), color="0.75", label="note, peak of each frame"
    )
    of_key = piano.key == KEY
    near = of_key & (np.abs(piano.frequency - equal_tempered(KEY)) < 3)
    time = np.arange(0, SECONDS, 0.002)
    pole = 2j * np.pi * piano.frequency[near] - piano.decay[near]
    damping = piano.release[KEY] * np.maximum(time - DAMPED, 0)
    modes = piano.gain(KEY, VELOCITY) * piano.amplitude[near, None] * np.exp(np.outer(pole, time) - damping)
    axes.plot(time, level(modes.sum(axis=0)), color="C3", zorder=3, label="first partial")
    loudest = modes[np.argsort(-np.abs(modes[:, 0]), kind="stable")[:4]]
    lines = axes.plot(time, level(loudest).T, lw=0.8, color="C0")
    lines[0].set_label("its four loudest modes")
    axes.axvline(DAMPED, ls=":", color="0.3")
    axes.set(title="a. Modes of a key (middle C), damper at 1.8 s", xlabel="s", ylabel="dB", ylim=(-100, 0))
    axes.legend(fontsize=7, loc="lower left")


def draw_meeting(axes: Axes) -> None:
    """Level of two equal strikes in the phase of their exact sum, with and without scatter."""
    frequency = np.geomspace(30, 4000, 400)
    piano = Piano(
        key=np.zeros(1, np.int64),
        frequency=np.ones(1),
        decay=np.ones(1),
        amplitude=np.ones(1, np.complex128),
        release=np.ones(88),
        exponent=np.ones(88),
        jitter=4e-4,
    )
    one = np.ones(1, np.complex64)
    for phase, colour in ((0.0, "C0"), (2.1, "C1"), (3.0, "C3")):
        other = one * np.complex64(np.exp(1j * phase))
        expected = []
        for f in frequency:
            meeting = Interference(replace(piano, frequency=np.array([f])), slice(0, 1))
            expected.append((one + meeting.change(one, other) + other)[0])
        axes.semilogx(
            frequency, level(np.array(expected)), color=colour, label=f"phases differ by {phase:.1f}"
        )
        axes.axhline(level(one + other)[0], color=colour, ls=":", lw=0.8)
    axes.set(title="b. Two equal strikes, scattered by 0.4 ms", xlabel="Hz", ylabel="dB of one strike")
    axes.set_ylim(-25, 8)
    axes.legend(fontsize=7, title="dotted: the exact sum", title_fontsize=7)


def draw_gains(axes: Axes, voice: Voice) -> None:
    """Some gains in bands, and what they are for modes between the centres of bands."""
    features, field = voice.config.features, GainField(voice.piano, voice.config.audio, voice.config.features)
    centres = band_centres(features)
    generator = np.random.default_rng(3)
    gains = np.cumsum(generator.normal(0, 0.25, features.bands)).astype(np.float32)
    gains -= gains.mean()
    shares = shares_of(np.linspace(0, 2000, 2001), centres)
    for share in shares:
        axes.plot(np.arange(2001), 5 * share - 14, color="0.6", lw=0.5)
    linear = field.mode_gains(gains[None])[0]
    order = np.argsort(voice.piano.frequency)
    axes.plot(voice.piano.frequency[order], level(linear[order]), lw=0.9, color="C0", label="gains of modes")
    axes.plot(centres, gains * 20 / np.log(10), "o", ms=4, color="C3", label="gains of bands")
    axes.set(
        title="c. From gains in bands to gains of modes",
        xlabel="Hz",
        ylabel="dB",
        xlim=(0, 2000),
        ylim=(-14, 14),
    )
    axes.legend(fontsize=7, loc="upper right", title="grey, below: shares of bands", title_fontsize=7)


def draw_circle(axes: Axes) -> None:
    """x_t on its way from noise to data, in four steps and in one, with the right v."""
    x, noise = torch.full((1, 1, 1, 1), DATA), torch.full((1, 1, 1, 1), NOISE)
    angle = np.linspace(0, np.pi / 2, 100)
    axes.plot(angle * 2 / np.pi, np.cos(angle) * DATA + np.sin(angle) * NOISE, color="0.7", label="x_t")
    axes.plot(
        angle * 2 / np.pi, np.cos(angle) * NOISE - np.sin(angle) * DATA, color="0.7", ls="--", label="v"
    )
    for steps, mark in ((4, "o"), (1, "s")):
        seen = []

        def exact(x_t: torch.Tensor, sigma: torch.Tensor, seen: list = seen) -> torch.Tensor:
            seen.append((float(sigma), float(x_t)))
            return velocity(x, noise, sigma)

        seen.append((0.0, float(sample(exact, noise, steps))))
        axes.plot(*zip(*seen, strict=True), f"{mark}:", ms=5, label=f"DDIM, steps: {steps}")
    axes.set(title="d. The half circle: x_t = alpha x + beta n", xlabel="noise level sigma")
    axes.legend(fontsize=7)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("voice", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    voice = load_voice(given.voice)
    if not isinstance(voice, Voice):
        parser.error(f"{given.voice} is no voice of gains")
    figure, axes = plt.subplots(2, 2, figsize=(10, 6.6), layout="constrained")
    draw_note(axes[0, 0], voice.piano, voice.config.audio.sample_rate, voice.config.audio.frame)
    draw_meeting(axes[0, 1])
    draw_gains(axes[1, 0], voice)
    draw_circle(axes[1, 1])
    figure.savefig(given.out, dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    main()
