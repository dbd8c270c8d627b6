"""TFLite files as converters of others write them: random weights, any operator, any age."""

from pathlib import Path
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np

TYPES = {"INT8": np.int8, "UINT8": np.uint8, "INT32": np.int32, "INT16": np.int16, "FLOAT32": np.float32}
PLACEHOLDER = 127  # stands in the old field for numbers that do not fit into it


class ForeignNetwork:
    """Add operators one after another, each of which returns the index of the tensor that it computes; then `write`.

    Args:
        shape: of the input.
        kind: type of activations and weights.
        named: whether tensors have names.
    """

    def __init__(self, shape: tuple[int, ...], kind: str = "INT8", *, named: bool = True) -> None:
        self.kind, self.named, self.draw = kind, named, np.random.default_rng(0)
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.subgraphs, self.model.operatorCodes = 3, [self.graph], []
        self.model.buffers, self.graph.tensors, self.graph.operators = [schema.BufferT()], [], []
        self.graph.inputs = np.array([self.tensor(shape)], np.int32)

    def tensor(self, shape: tuple[int, ...], kind: str | None = None, data: np.ndarray | None = None) -> int:
        tensor, kind = schema.TensorT(), kind or self.kind
        tensor.shape, tensor.type = np.array(shape, np.int32), getattr(schema.TensorType, kind)
        tensor.name = f"t{len(self.graph.tensors)}" if self.named else None
        if kind != "FLOAT32":
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = np.ones(1, np.float32), np.zeros(1, np.int64)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, shape: tuple[int, ...], kind: str | None = None) -> int:
        kind = kind or self.kind
        return self.tensor(shape, kind, self.draw.integers(0, 100, shape).astype(TYPES[kind]))

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(n) for n in self.graph.tensors[tensor].shape)

    def add(self, operator: str, inputs: list[int], *shapes: tuple[int, ...], kind: str = "", **options: Any) -> int:
        """An operator with outputs of some shapes; its options are those of the schema, which are named `of`."""
        step, number = schema.OperatorT(), getattr(schema.BuiltinOperator, operator)
        if (of := options.pop("of", None)) is not None:
            step.builtinOptionsType = getattr(schema.BuiltinOptions, of)
            step.builtinOptions = getattr(schema, f"{of}T")()
            for name, value in options.items():
                setattr(step.builtinOptions, name, value)
        numbers = [code.builtinCode for code in self.model.operatorCodes]
        if number not in numbers:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, PLACEHOLDER), 1
            self.model.operatorCodes.append(code)
            numbers.append(number)
        outputs = [self.tensor(shape, kind or None) for shape in shapes]
        step.opcodeIndex = numbers.index(number)
        step.inputs, step.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        self.graph.operators.append(step)
        return outputs[0]

    def windows(self, x: int, size: tuple[int, int], stride: tuple[int, int], same: bool) -> tuple[dict, tuple]:
        """Options of windows, and batch, height and width of what they give."""
        batch, *plane, _ = self.shape(x)
        free = plane if same else [n - k + 1 for n, k in zip(plane, size, strict=True)]
        options = {"strideH": stride[0], "strideW": stride[1], "padding": 0 if same else 1}
        return options, (batch, *(-(-n // s) for n, s in zip(free, stride, strict=True)))

    def conv(self, x: int, out: int, size: tuple[int, int], stride: tuple[int, int] = (1, 1), same: bool = True) -> int:
        options, shape = self.windows(x, size, stride, same)
        inputs = [x, self.constant((out, *size, self.shape(x)[3])), self.constant((out,), "INT32")]
        return self.add("CONV_2D", inputs, (*shape, out), of="Conv2DOptions", **options)

    def depthwise(self, x: int, size: tuple[int, int], stride: tuple[int, int] = (1, 1), multiplier: int = 1) -> int:
        options, shape = self.windows(x, size, stride, same=True)
        out = self.shape(x)[3] * multiplier
        inputs = [x, self.constant((1, *size, out)), self.constant((out,), "INT32")]
        options["depthMultiplier"] = multiplier
        return self.add("DEPTHWISE_CONV_2D", inputs, (*shape, out), of="DepthwiseConv2DOptions", **options)

    def pool(self, x: int, size: tuple[int, int], kind: str = "MAX_POOL_2D") -> int:
        options, shape = self.windows(x, size, size, same=False)
        options |= {"filterHeight": size[0], "filterWidth": size[1]}
        return self.add(kind, [x], (*shape, self.shape(x)[3]), of="Pool2DOptions", **options)

    def dense(self, x: int, out: int) -> int:
        inputs = [x, self.constant((out, int(np.prod(self.shape(x))))), self.constant((out,), "INT32")]
        return self.add("FULLY_CONNECTED", inputs, (1, out), of="FullyConnectedOptions")

    def write(self, path: Path, output: int, *, old: bool = False) -> Path:
        """The file; old: as converters before TensorFlow 2.4 wrote it, with the operators in the old field alone."""
        self.graph.outputs = np.array([output], np.int32)
        if old:
            for code in self.model.operatorCodes:
                code.builtinCode = 0
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path
