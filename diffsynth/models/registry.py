"""The table of models: a name, as in `params.yaml` and `--model`, and the section that makes its network."""

from diffsynth.models.lstm import Lstm
from diffsynth.models.parts.parameters import ModelConfig
from diffsynth.models.s6 import S6
from diffsynth.models.unet import Unet

MODELS: dict[str, type[ModelConfig]] = {"lstm": Lstm, "s6": S6, "unet": Unet}
