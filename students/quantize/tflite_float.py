"""The folded network as a TFLite file of floats: to compare speed with, and for runtimes that want one.

Conventions: the same operators as the file of integers (tflite.py), nothing rounded.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import numpy as np
import torch

from data.errors import UserError
from data.files import write_whole
from students.quantize.integer import IntegerNetwork, Quantity
from students.quantize.layers import GRU, FoldedNetwork, Layer
from students.quantize.tflite import Writer
from students.quantize.tflite_operators import VERSIONS


def write_float_tflite(
    network: FoldedNetwork, integers: IntegerNetwork, path: str | Path, metadata: Mapping[str, object]
) -> Path:
    """Write the file, under a temporary name first; the shapes of its maps are those of `integers`.

    Raises:
        UserError: there is a GRU, which is written in integers alone.
    """
    if gru := [layer.name for layer in network.layers if layer.kind == GRU]:
        raise UserError(f"{gru[0]} is a GRU, which TFLite files have in integers alone: use another student")
    return write_whole(path, _FloatWriter(network, integers).build(metadata))


class _FloatWriter(Writer):
    versions = dict.fromkeys(VERSIONS, 1)

    def __init__(self, folded: FoldedNetwork, integers: IntegerNetwork) -> None:
        self.folded = folded
        super().__init__(replace(integers, sets={}))

    def parameters(self, layer: Layer, code: str, name: str, filters: slice) -> tuple[int, int, int]:
        convolution = self.folded.convolutions[layer.name]
        weight, bias = (value.detach().cpu().numpy()[filters] for value in (convolution.weight, convolution.bias))
        weight = weight.transpose((1, 2, 3, 0) if code == "DEPTHWISE_CONV_2D" else (0, 2, 3, 1))
        return self._float(f"{name}/weight", weight), self._float(f"{name}/bias", bias), self.versions[code]

    def _float(self, name: str, values: np.ndarray) -> int:
        buffer = self._buffer(np.ascontiguousarray(values, np.float32).tobytes())
        return self._tensor(name, values.shape, schema.TensorType.FLOAT32, buffer, None, 0)

    def activation(self, name: str, quantity: Quantity) -> int:
        channels, height, width = quantity.shape
        return self._tensor(name, (1, height, width, channels), schema.TensorType.FLOAT32, 0, None, 0)


def float_logits(path: str | Path, spectrograms: torch.Tensor) -> torch.Tensor:
    """Log-mels (n, 1, mels, frames) -> logits (n, classes), by LiteRT, one clip at a time on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()
    out = []
    for spectrogram in spectrograms.permute(0, 2, 3, 1).numpy():
        interpreter.set_tensor(given["index"], spectrogram[None])
        interpreter.invoke()
        out.append(torch.from_numpy(interpreter.get_tensor(found["index"]).reshape(-1)))
    return torch.stack(out)
