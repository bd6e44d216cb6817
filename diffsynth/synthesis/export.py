"""A voice as one ONNX file: the network as graph, everything else that a host needs as metadata.

The graph is `diffsynth.synthesis.block_step.BlockStep`: its memory goes in and comes out, so that a host
only has to carry arrays. The metadata entry "diffsynth" is JSON: names and shapes of the tensors, sample
rate and latency, the modes of the piano and how bands of gains act on them. `examples/onnx_host.py`
plays such a file with NumPy and ONNX Runtime alone; it is the specification of what happens around the
graph. For the published network that is a piano roll and an inverse STFT (`diffsynth.synthesis.frame_voice`).
"""

import base64
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffsynth.errors import UserError, to_install
from diffsynth.runs.files import atomic_path
from diffsynth.synthesis.block_step import BlockStep
from diffsynth.synthesis.voice import Voice

FORMAT = "diffsynth network 9"
ENTRY = "diffsynth"  # name of the metadata entry


def export_onnx(voice: Voice, path: str | Path, steps: int = 1) -> dict[str, Any]:
    """Write a voice as an ONNX file, atomically; returns its description without the arrays.

    Raises:
        UserError: the packages that exporting takes are not installed, or the voice is not made for so many
            steps.
    """
    onnx = _onnx()
    voice.config.check_steps(steps)
    player, memory = voice.player(), voice.denoiser.initial_state(1)
    example = torch.zeros(player.condition_shape), torch.zeros(player.shape), *memory
    inputs = ["condition", "noise", *(f"memory_{i}" for i in range(len(memory)))]
    outputs = ["x", *(f"next_memory_{i}" for i in range(len(memory)))]
    shapes = [list(tensor.shape) for tensor in example]
    about = describe(voice, steps)
    about["inputs"] = dict(zip(inputs, shapes, strict=True))
    about["outputs"] = dict(zip(outputs, shapes[1:], strict=True))
    with atomic_path(path) as temporary:
        _export(BlockStep(voice.denoiser, steps).eval(), example, temporary, inputs, outputs)
        model = onnx.load(temporary)
        onnx.helper.set_model_props(model, {ENTRY: json.dumps({**about, **_arrays(voice)})})
        onnx.save(model, temporary)
    return about


def describe(voice: Voice, steps: int) -> dict[str, Any]:
    """The numbers of a voice that a host needs beside arrays."""
    config = voice.config
    about = {
        "format": FORMAT,
        "model": config.model,
        "block": config.block,
        "sample_rate": config.audio.sample_rate,
        "latency_samples": config.block,
        "steps": steps,
    }
    return about | voice.for_hosts()[0]


def _arrays(voice: Voice) -> dict[str, Any]:
    """What a voice has beside its network, encoded for JSON."""
    return {"arrays": {name: _encode(array) for name, array in voice.for_hosts()[1].items()}}


def _encode(array: NDArray[Any]) -> dict[str, Any]:
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "base64": data}


def _export(
    module: BlockStep, example: tuple[torch.Tensor, ...], path: Path, inputs: list[str], outputs: list[str]
) -> None:
    """The graph alone; messages of the exporter are suppressed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                example,
                path,
                input_names=inputs,
                output_names=outputs,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        logger.setLevel(level)


def _onnx() -> Any:
    try:
        import onnx
        import onnxscript  # noqa: F401  what the exporter of PyTorch is written in
    except ImportError as error:
        raise UserError(f"exporting needs {error.name}: {to_install('onnx')}") from error
    return onnx
