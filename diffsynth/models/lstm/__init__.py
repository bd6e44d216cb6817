"""The LSTM denoiser."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffsynth.models.parts.parameters import RecurrentConfig

if TYPE_CHECKING:
    from diffsynth.models.parts.recurrence import Recurrence


@dataclass(frozen=True)
class Lstm(RecurrentConfig):
    """Size of the LSTM denoiser."""

    def new_recurrence(self, inputs: int, units: int, layers: int) -> "Recurrence":
        """See `RecurrentConfig`."""
        from diffsynth.models.lstm.network import LstmLayers

        return LstmLayers(inputs, units, layers)
