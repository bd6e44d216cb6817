"""A step of inference computed by ONNX Runtime."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from diffsynth.errors import UserError, to_install
from diffsynth.synthesis.block_step import Array, Memory
from diffsynth.synthesis.export import export_onnx
from diffsynth.synthesis.voice import Voice


class OnnxStep:
    """See `diffsynth.synthesis.block_step.Step`.

    Args:
        path: file written by `diffsynth.synthesis.export`.
        threads: that one block is computed with.

    Raises:
        UserError: ONNX Runtime is not installed, or the file is not a network.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common class of their own
            raise UserError(f"{path} is not a readable ONNX file: {error}") from error
        inputs = self._session.get_inputs()
        self._names = [item.name for item in inputs]
        self._initial = tuple(np.zeros(item.shape, dtype=np.float32) for item in inputs[2:])

    @staticmethod
    def of(voice: Voice, steps: int = 1, threads: int = 1) -> "OnnxStep":
        """A step of a voice that has not been exported; takes some seconds."""
        _runtime()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            export_onnx(voice, path, steps)
            return OnnxStep(path, threads)

    def initial(self) -> Memory:
        """See `Step`."""
        return tuple(array.copy() for array in self._initial)

    def __call__(self, condition: Array, noise: Array, memory: Memory) -> tuple[Array, Memory]:
        """See `Step`."""
        feeds = dict(zip(self._names, (condition, noise, *memory), strict=True))
        x, *after = self._session.run(None, feeds)
        return x, tuple(after)


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"the backend onnx needs ONNX Runtime: {to_install('onnx')}") from error
    return onnxruntime
