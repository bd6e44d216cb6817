"""Sound cards and sound servers, through PortAudio (sounddevice)."""

import atexit
import os
from typing import Any

from diffsynth.audio.channels import converted
from diffsynth.errors import UserError, to_install
from diffsynth.live.clock import Clock, now
from diffsynth.live.ring import Tap

FACTORS = (1, 2, 3, 4)  # multiples of the rate of a voice, before the device's own rate
SETTLE = 0.5  # s of silence in which the clock learns the pace of the device
DEAD = 2.0  # s without a request after which a device counts as gone
LARGEST = 1 << 16  # samples that a device may ask for at once

os.environ.setdefault("JACK_NO_START_SERVER", "1")  # or libjack would start a server where there is none


def outputs() -> list[str]:
    """Names of all devices that play, the default one marked."""
    sounddevice = _library()
    chosen = sounddevice.default.device[1]
    return [
        f"{device['index']} {_name(device)}{' (default)' if device['index'] == chosen else ''}"
        for device in sounddevice.query_devices()
        if device["max_output_channels"]
    ]


class DeviceSink:
    """Answers the requests of a device; see `diffsynth.live.sinks.Sink`.

    Nothing is computed in the callback: it copies what is ready, or silence.

    Args:
        rate: of the voice, Hz; the device runs at this rate, a multiple of it, or its own rate.
        device: its name, a part of its name, or its number; None is the system's default.

    Raises:
        UserError: there is no such device, or it takes none of these rates.
    """

    def __init__(self, rate: int, device: str | None = None) -> None:
        self._sounddevice = _library()
        self._device = _find(self._sounddevice, device)
        self.name = _name(self._device)
        self._channels = min(2, self._device["max_output_channels"])
        self.rate = self._fitting(rate)
        self.clock = Clock()
        self.period = 1
        self._position = 0
        self._tap: Tap | None = None
        self._asked = now()
        self._stream: Any = None

    @property
    def delay(self) -> float:
        """See `Sink`."""
        return float(self._stream.latency)

    @property
    def late(self) -> int:
        """See `Sink`."""
        return self._tap.missed if self._tap else 0

    def open(self) -> None:
        """See `Sink`."""
        try:
            self._stream = self._sounddevice.OutputStream(
                device=self._device["index"],
                samplerate=self.rate,
                channels=self._channels,
                dtype="float32",
                latency="low",
                callback=self._answer,
            )
            self._stream.start()
        except self._sounddevice.PortAudioError as error:
            raise UserError(f"cannot play on {self.name}: {error}") from error
        self._asked = now()
        self._sounddevice.sleep(int(1000 * SETTLE))

    def begin(self, tap: Tap) -> None:
        """See `Sink`."""
        self._heard = tap.ring.empty(LARGEST)
        self._tap = tap

    def failure(self) -> str | None:
        """See `Sink`."""
        if self._stream.active and now() - self._asked < DEAD:
            return None
        return f"the audio device {self.name} is gone"

    def close(self) -> None:
        """See `Sink`."""
        if self._stream is None:
            return
        if self.failure() is None:
            self._stream.close()
        else:
            # PortAudio waits minutes for an answer of a JACK server that has ended, also in what
            # sounddevice does at exit. The system clears up instead.
            atexit.unregister(self._sounddevice._exit_handler)

    def _answer(self, out: Any, frames: int, _: Any, status: Any) -> None:  # noqa: ARG002
        """The device asks for `frames` samples, [frames, channels]."""
        self._asked = moment = now()
        self.period = max(self.period, frames)
        tap = self._tap
        self.clock.follow(tap.drawn / self.rate if tap else 0.0, frames / self.rate, moment)
        if tap is None:
            out[:] = 0.0
            return
        heard = self._heard[:frames]
        tap.fill(heard)
        # A device of one channel plays the mean of two; one of two plays one channel on both.
        out[:] = converted(heard, self._channels).reshape(frames, -1)

    def _fitting(self, rate: int) -> int:
        own = round(self._device["default_samplerate"])
        rates = list(dict.fromkeys([*(factor * rate for factor in FACTORS), own]))
        for tried in rates:
            try:
                self._sounddevice.check_output_settings(
                    self._device["index"], self._channels, "float32", samplerate=tried
                )
            except self._sounddevice.PortAudioError:
                continue
            return tried
        raise UserError(
            f"{self.name} takes none of {', '.join(map(str, rates))} Hz: choose another --device or its rate"
        )


def _find(sounddevice: Any, device: str | None) -> Any:
    """PortAudio's description of the device that was asked for."""
    if not any(d["max_output_channels"] for d in sounddevice.query_devices()):
        raise UserError(
            "there is no audio output: connect a sound card, start JACK or PipeWire, "
            "or play with --sink null or --sink FILE.wav"
        )
    try:
        meant = int(device) if device is not None and device.isdecimal() else device
        found = sounddevice.query_devices(meant, "output")
    except (ValueError, sounddevice.PortAudioError) as error:
        raise UserError(f"no audio output {device!r}: {'; '.join(outputs())}") from error
    return found


def _name(device: Any) -> str:
    return str(device["name"])


def _library() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise UserError(f"sound cards need sounddevice: {to_install('live')}") from error
    except OSError as error:
        raise UserError("there is no PortAudio library: apt-get install libportaudio2") from error
    return sounddevice
