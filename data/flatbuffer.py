"""Open a TFLite file: its operators by name, its tensors, its constants.

Conventions: a file holds one graph; tensors are named by their index in it. Shapes are those of the file (NHWC).
Nothing is trusted: an open graph refers only to tensors and buffers that exist, reading takes time and memory in
proportion to the file, and its texts can be printed. What the numbers mean is for whoever uses them to check.
Importing this file does not import torch.
Source: the TensorFlow Lite schema, version 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import numpy as np

from data.damage import AGAIN, WrongValueError, explain_damage
from data.errors import UserError
from data.files import read_bounded
from data.names import printable

IDENTIFIER = b"TFL3"  # bytes 4 to 8 of each file
# Far more than any network for a microcontroller has. A table of a file may be referred to many times: without bounds
# a small file could say that it has a billion tensors.
LARGEST_FILE = 256 << 20  # bytes
MOST = {"operatorCodes": 1_000, "tensors": 10_000, "operators": 5_000, "metadata": 100, "inputs": 256, "shape": 8}
LONGEST_NAME = 300  # bytes
_NAME = 10  # where a tensor's table says where its name lies; the length of a text has no accessor
_OPERATORS = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
_TYPES = {number: name for name, number in vars(schema.TensorType).items() if isinstance(number, int)}


@dataclass(frozen=True, eq=False)
class Tensor:
    """An activation or a constant.

    Attributes:
        name: as it may be printed.
        shape: () of a scalar.
        dtype: of its values, such as INT8.
        scales: of its integers, float32: one, or one a channel; none of floats.
        zero_points: of its integers, int64.
        axis: of the channels that have scales of their own.
        data: the bytes of a constant, uint8 (n,); of an activation there are none.
        oddities: fields that are set and that nothing here takes into account, by name.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: np.ndarray
    zero_points: np.ndarray
    axis: int
    data: np.ndarray
    oddities: tuple[str, ...]


@dataclass(frozen=True)
class Operator:
    """One step of a graph.

    Attributes:
        kind: such as CONV_2D.
        version: of the kind.
        inputs: indices of tensors; an optional one that is left out is -1.
        outputs: indices of the tensors that it computes, at least one.
        options: the schema's object of them, such as Conv2DOptionsT; None if it has none.
    """

    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any

    @property
    def output(self) -> int:
        """The first tensor that it computes."""
        return self.outputs[0]


class Graph:
    """The network of a file.

    Attributes:
        tensors: by index.
        inputs, outputs: indices of tensors.
        operators: in the order of execution.
    """

    def __init__(self, model: schema.Model) -> None:
        """Raise an exception of any kind if the file refers to what it does not hold."""
        if (count := model.SubgraphsLength()) != 1:
            raise ValueError(f"it holds {count} graphs, not one: branches and loops cannot be read")
        graph, self._model = model.Subgraphs(0), model
        self.tensors = tuple(self._tensor(graph.Tensors(i), i) for i in _range("tensors", graph.TensorsLength()))
        self.inputs, self.outputs = self._indices(graph, "Inputs"), self._indices(graph, "Outputs")
        codes = [model.OperatorCodes(i) for i in _range("operatorCodes", model.OperatorCodesLength())]
        named = [(_operator_name(code), code.Version()) for code in codes]
        steps = [graph.Operators(i) for i in _range("operators", graph.OperatorsLength())]
        self.operators = tuple(self._operator(step, named) for step in steps)

    def name(self, tensor: int) -> str:
        """Of a tensor."""
        return self.tensors[tensor].name

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Of a tensor; () of a scalar."""
        return self.tensors[tensor].shape

    def dtype(self, tensor: int) -> str:
        """Of a tensor's values, such as INT8."""
        return self.tensors[tensor].dtype

    def scales(self, tensor: int) -> np.ndarray:
        """Of a tensor's integers, float32: one, or one a channel; none of floats."""
        return self.tensors[tensor].scales

    def zero_points(self, tensor: int) -> np.ndarray:
        """Of a tensor's integers, int64, as many as scales."""
        return self.tensors[tensor].zero_points

    def data(self, tensor: int) -> np.ndarray:
        """The bytes of a constant, uint8 (n,); of an activation there are none."""
        return self.tensors[tensor].data

    def is_constant(self, tensor: int) -> bool:
        """Whether the file holds the tensor's values."""
        return len(self.data(tensor)) > 0

    def metadata(self, name: str) -> bytes | None:
        """What the file's author stored under a name."""
        for i in _range("metadata", self._model.MetadataLength()):
            if (note := self._model.Metadata(i)).Name() == name.encode():
                return self._buffer(note.Buffer()).tobytes()
        return None

    def _tensor(self, tensor: schema.Tensor, index: int) -> Tensor:
        _range("shape", tensor.ShapeLength())
        quantization = tensor.Quantization()
        odd = {
            "isVariable": tensor.IsVariable(),
            "sparsity": tensor.Sparsity() is not None,
            "variantTensors": tensor.VariantTensorsLength() > 0,
            "externalBuffer": tensor.ExternalBuffer() > 0,
            "quantization.details": quantization is not None and quantization.DetailsType() > 0,
        }
        return Tensor(
            name=_name(tensor) or f"tensor {index}",
            shape=tuple(_vector(tensor, "Shape", np.int32).tolist()),
            dtype=_TYPES.get(tensor.Type(), f"type {tensor.Type()}"),
            scales=_vector(quantization, "Scale", np.float32),
            zero_points=_vector(quantization, "ZeroPoint", np.int64),
            axis=0 if quantization is None else quantization.QuantizedDimension(),
            data=self._buffer(tensor.Buffer()),
            oddities=tuple(name for name, is_there in odd.items() if is_there),
        )

    def _operator(self, operator: schema.Operator, codes: Sequence[tuple[str, int]]) -> Operator:
        kind, version = codes[_index(operator.OpcodeIndex(), len(codes))]
        outputs = self._indices(operator, "Outputs")
        if not outputs:
            raise WrongValueError(f"an operator {kind} has no output")
        options = schema.BuiltinOptionsCreator(operator.BuiltinOptionsType(), operator.BuiltinOptions())
        return Operator(kind, version, self._indices(operator, "Inputs", optional=True), outputs, options)

    def _indices(self, table: Any, field: str, optional: bool = False) -> tuple[int, ...]:
        """A vector of a table that refers to tensors."""
        _range("inputs", getattr(table, f"{field}Length")())
        found = _vector(table, field, np.int32).tolist()
        return tuple(-1 if optional and i == -1 else _index(i, len(self.tensors)) for i in found)

    def _buffer(self, index: int) -> np.ndarray:
        """The bytes of a buffer, uint8 (n,)."""
        buffer = self._model.Buffers(_index(index, self._model.BuffersLength()))
        if buffer.Offset() > 1:  # 0 and 1 stand for none
            raise WrongValueError(
                f"buffer {index} lies behind the network, at {buffer.Offset()}: such files are not read"
            )
        return _vector(buffer, "Data", np.uint8)


def read_graph(path: str | Path, remedy: str = AGAIN) -> Graph:
    """The network of a TFLite file.

    Args:
        path: of the file.
        remedy: the end of the message about a file that is damaged.

    Raises:
        UserError: the file is missing, damaged or no TFLite file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is no file: quantise a student first, or name another model.tflite")
    data = read_bounded(path, LARGEST_FILE)
    if data[4:8] != IDENTIFIER:
        raise UserError(f"{path} is no TFLite file: its identifier is {data[4:8]!r}, not {IDENTIFIER!r}")
    with explain_damage(path, remedy):
        return Graph(schema.Model.GetRootAs(data))


def _range(field: str, count: int) -> range:
    """The positions of a vector's elements, if there are not too many."""
    if count > MOST[field]:
        raise WrongValueError(f"{field} has {count:,} elements, at most {MOST[field]:,} are read")
    return range(count)


def _vector(table: Any, field: str, dtype: type) -> np.ndarray:
    """A vector of numbers, which is part of the file's bytes; an empty one where there is none."""
    if table is None or getattr(table, f"{field}IsNone")():
        return np.empty(0, dtype)
    return getattr(table, f"{field}AsNumpy")()


def _name(tensor: schema.Tensor) -> str:
    """As it may be shown; "" of a tensor without one."""
    if (at := tensor._tab.Offset(_NAME)) and (length := tensor._tab.VectorLen(at)) > LONGEST_NAME:
        raise WrongValueError(f"a tensor's name has {length:,} bytes, at most {LONGEST_NAME} are read")
    return printable((tensor.Name() or b"").decode(errors="replace"))


def _index(index: int, count: int) -> int:
    if not 0 <= index < count:
        raise IndexError(f"index {index} of {count}")
    return index


def _operator_name(code: schema.OperatorCode) -> str:
    """Its number: old files hold it in the first field only, and numbers above 127 fit into the second only."""
    number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
    if number not in _OPERATORS:
        raise UserError(f"it contains the operator number {number}, which the installed schema does not name")
    return _OPERATORS[number]
