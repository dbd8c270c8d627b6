"""YAMNet's weights in the files in which they are published, written anew from a state dict."""

from collections.abc import Iterator
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import h5py
import numpy as np
import torch
from foreign import ForeignNetwork

State = dict[str, torch.Tensor]
Layer = tuple[str, np.ndarray, np.ndarray]  # name, weight as torch has it, bias


def layers(state: State) -> Iterator[Layer]:
    """From the input to the output."""
    for name in [name.removesuffix(".weight") for name in state if name.endswith(".weight")]:
        yield name, state[f"{name}.weight"].numpy().astype(np.float64), state[f"{name}.bias"].numpy()


def ordered(state: State) -> State:
    """A state dict in the order of the layers, which files need not have."""

    def place(name: str) -> tuple[int, str]:
        parts = name.split(".")
        return (int(parts[1]) if parts[0] == "body" else 99), name

    return {name: state[name] for name in sorted(state, key=place)}


def write_keras(path: Path, state: State, seed: int = 0) -> Path:
    """As Keras' save_weights writes it: BatchNorm without a scale, whose statistics are drawn; the arrays of a layer
    lie below its name, under their own names, which begin with it."""
    draw = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:

        def put(layer: str, name: str, array: np.ndarray) -> None:
            file.create_dataset(f"{layer}/{layer}/{name}:0", data=array.astype(np.float32))

        for name, weight, bias in layers(ordered(state)):
            if name == "head":
                put("logits", "kernel", weight.T)
                put("logits", "bias", bias)
                continue
            _, block, *part = name.split(".")
            kind = {"": "conv", "0": "depthwise_conv", "1": "pointwise_conv"}["".join(part)]
            layer = f"layer{int(block) + 1}/{kind}"
            mean, variance = draw.normal(size=len(bias)), draw.uniform(0.5, 2, len(bias))
            deviation = np.sqrt(variance + 1e-4)
            kernel = weight * deviation[:, None, None, None]
            depthwise = kind == "depthwise_conv"
            order = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            put(layer, "depthwise_kernel" if depthwise else "kernel", kernel.transpose(order))
            put(f"{layer}/bn", "beta", bias + mean / deviation)
            put(f"{layer}/bn", "moving_mean", mean)
            put(f"{layer}/bn", "moving_variance", variance)
        file.attrs["layer_names"] = [b"layer1/conv"]
        file.create_dataset("optimizer/step", data=np.int64(3))
    return path


def write_tflite(path: Path, state: State, *, integers: bool = False) -> Path:
    """A network of floats from patches (1, 96, 64, 1) to logits, with ReLU in the convolutions, behind a dense layer
    such as files have that compute log-mels themselves; integers: weights are int8, with a scale a channel."""
    network = ForeignNetwork((1, 96, 64, 1), "FLOAT32")

    def constant(weight: np.ndarray, axis: int) -> int:
        if not integers:
            return network.tensor(weight.shape, "FLOAT32", weight.astype(np.float32))
        rest = tuple(n for n in range(weight.ndim) if n != axis)
        scale = np.abs(weight).max(rest, keepdims=True) / 127
        index = network.tensor(weight.shape, "INT8", np.round(weight / scale).astype(np.int8))
        quantization = network.graph.tensors[index].quantization
        quantization.scale, quantization.zeroPoint = scale.ravel().astype(np.float32), np.zeros(scale.size, np.int64)
        quantization.quantizedDimension = axis
        return index

    frame = network.tensor((1, 4), "FLOAT32", np.zeros(4, np.float32))
    bank = [frame, constant(np.eye(4), 0), network.tensor((4,), "FLOAT32", np.zeros(4, np.float32))]
    network.add("FULLY_CONNECTED", bank, (1, 4), of="FullyConnectedOptions")
    x, relu = network.graph.inputs[0], schema.ActivationFunctionType.RELU
    for number, (name, weight, bias) in enumerate(layers(ordered(state))):
        biases = network.tensor(bias.shape, "FLOAT32", bias.astype(np.float32))
        if name == "head":
            axes = network.tensor((2,), "INT32", np.array([1, 2], np.int32))
            x = network.add("MEAN", [x, axes], (1, weight.shape[1]), of="ReducerOptions", keepDims=False)
            dense = [x, constant(weight, 0), biases]
            x = network.add("FULLY_CONNECTED", dense, (1, len(bias)), of="FullyConnectedOptions")
            continue
        stride = 2 if number in (0, 3, 7, 11, 23) else 1  # the stem and blocks 2, 4, 6, 12
        options, shape = network.windows(x, weight.shape[2:], (stride, stride), same=True)
        options["fusedActivationFunction"] = relu
        if name.endswith(".0") and name != "body.0":
            inputs = [x, constant(weight.transpose(1, 2, 3, 0), 3), biases]
            options["depthMultiplier"] = 1
            x = network.add("DEPTHWISE_CONV_2D", inputs, (*shape, len(bias)), of="DepthwiseConv2DOptions", **options)
        else:
            inputs = [x, constant(weight.transpose(0, 2, 3, 1), 0), biases]
            x = network.add("CONV_2D", inputs, (*shape, len(bias)), of="Conv2DOptions", **options)
    return network.write(path, x)
