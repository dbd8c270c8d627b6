"""Open a TFLite file: its operators by name, its tensors, its constants.

Conventions: a file holds one graph; tensors are named by their index in it. Indices that an open graph gives are those
of tensors and buffers that exist. Shapes are those of the file (NHWC). Importing this file does not import torch.
Source: the TensorFlow Lite schema, version 3.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import numpy as np

from data.errors import UserError

IDENTIFIER = b"TFL3"  # bytes 4 to 8 of each file
_OPERATORS = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
_TYPES = {number: name for name, number in vars(schema.TensorType).items() if isinstance(number, int)}


@dataclass(frozen=True)
class Operator:
    """One step of a graph.

    Attributes:
        kind: such as CONV_2D.
        inputs: indices of tensors; an optional one that is left out is -1.
        output: index of the (first) tensor that it computes.
        options: the schema's object of them, such as Conv2DOptionsT; None if it has none.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    options: Any


class Graph:
    """The network of a file.

    Attributes:
        inputs, outputs: indices of tensors.
        operators: in the order of execution.
    """

    def __init__(self, model: schema.ModelT) -> None:
        """Raise an exception of any kind if the file refers to what it does not hold."""
        (graph,) = model.subgraphs
        self._model = model
        self._tensors: list[schema.TensorT] = list(graph.tensors)
        for tensor in self._tensors:
            _check_index(tensor.buffer, len(model.buffers))
        self.inputs = tuple(self._check(i) for i in graph.inputs)
        self.outputs = tuple(self._check(i) for i in graph.outputs)
        kinds = [_operator_name(code) for code in model.operatorCodes]
        self.operators = tuple(
            Operator(
                kind=kinds[_check_index(operator.opcodeIndex, len(kinds))],
                inputs=tuple(-1 if i == -1 else self._check(i) for i in operator.inputs),
                output=self._check(operator.outputs[0]),
                options=operator.builtinOptions,
            )
            for operator in graph.operators
        )

    def name(self, tensor: int) -> str:
        """Of a tensor."""
        return (self._tensors[tensor].name or b"").decode(errors="replace")

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Of a tensor; () of a scalar."""
        shape = self._tensors[tensor].shape
        return () if shape is None else tuple(int(n) for n in shape)

    def dtype(self, tensor: int) -> str:
        """Of a tensor's values, such as INT8."""
        return _TYPES[self._tensors[tensor].type]

    def scales(self, tensor: int) -> np.ndarray:
        """Of a tensor's integers, float32: one, or one a channel; none of floats."""
        quantization = self._tensors[tensor].quantization
        return np.asarray([] if quantization is None or quantization.scale is None else quantization.scale, np.float32)

    def zero_points(self, tensor: int) -> np.ndarray:
        """Of a tensor's integers, int64, as many as scales."""
        quantization = self._tensors[tensor].quantization
        return np.asarray(
            [] if quantization is None or quantization.zeroPoint is None else quantization.zeroPoint, np.int64
        )

    def data(self, tensor: int) -> np.ndarray:
        """The bytes of a constant, uint8 (n,); of an activation there are none."""
        data = self._model.buffers[self._tensors[tensor].buffer].data
        return np.asarray([] if data is None else data, np.uint8)

    def is_constant(self, tensor: int) -> bool:
        """Whether the file holds the tensor's values."""
        return len(self.data(tensor)) > 0

    def metadata(self, name: str) -> bytes | None:
        """What the file's author stored under a name."""
        for note in self._model.metadata or []:
            if note.name == name.encode():
                return bytes(self._model.buffers[note.buffer].data)
        return None

    def _check(self, tensor: int) -> int:
        return _check_index(tensor, len(self._tensors))


def read_graph(path: str | Path) -> Graph:
    """The network of a TFLite file.

    Raises:
        UserError: the file is missing, damaged or no TFLite file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is no file: quantise a student first, or name another model.tflite")
    data = path.read_bytes()
    if data[4:8] != IDENTIFIER:
        raise UserError(f"{path} is no TFLite file: its identifier is {data[4:8]!r}, not {IDENTIFIER!r}")
    with explain_damage(path):
        return Graph(schema.ModelT.InitFromPackedBuf(bytearray(data), 0))


@contextmanager
def explain_damage(path: str | Path) -> Iterator[None]:
    """Turn any exception of code that reads a file's content into a UserError that names the file."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # flatbuffers raises whatever a wrong offset leads to
        raise UserError(
            f"{path} is damaged, or not written by scenelet ({error}): quantise the student again"
        ) from error


def _check_index(index: int, count: int) -> int:
    if not 0 <= index < count:
        raise IndexError(f"index {index} of {count}")
    return int(index)


def _operator_name(code: schema.OperatorCodeT) -> str:
    """Its number: old files hold it in the first field only, and numbers above 127 fit into the second only."""
    number = max(code.deprecatedBuiltinCode, code.builtinCode)
    if number not in _OPERATORS:
        raise UserError(f"it contains the operator number {number}, which the installed schema does not name")
    return _OPERATORS[number]
