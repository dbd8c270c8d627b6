"""Milliseconds a clip, and clips a second, of one student in all its forms: float, integers, by several runtimes.

Conventions: one clip at a time on one thread is what a device does; many at once on all threads is what scoring does.
Weights are random: speed does not depend on them. Every way gets the same spectrograms.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import torch

from data.errors import UserError
from data.front_ends import build_front_end
from experiments.bench.teacher import DATA, RATE
from experiments.bench.timing import Action, Row, in_turns, rates, row
from experiments.command.schema import composed
from experiments.distributed.fabric import compile_mode
from students import build_student
from students.quantize.calibrate import calibrate
from students.quantize.export import write_onnx
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.runtime import TFLiteModel
from students.quantize.tflite import write_tflite
from students.quantize.tflite_float import float_logits, write_float_tflite

CLIPS = 64
ALONE = 8  # clips that are computed one after the other


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> list[Row]:
    """All rows: what, median, unit, rounds."""
    if arguments.rounds < 1:
        raise UserError(f"--rounds={arguments.rounds} must be at least 1")
    student = composed("student=cp_mobile", DATA).student
    front_end = build_front_end(RATE, student.mel)
    spectrograms = front_end(torch.randn(CLIPS, RATE) / 10)
    network = build_student(student.builder, size=arguments.size).eval()
    network = network.to(memory_format=torch.channels_last)
    folded = fold(network)
    integers = {
        bits: calibrate(folded, [spectrograms], bits=dict.fromkeys(folded.convolutions, bits)) for bits in (8, 4)
    }
    with tempfile.TemporaryDirectory() as folder:
        alone, together = _ways(network, integers, spectrograms, Path(folder))
        for action in [*alone.values(), *together.values()]:
            action()
        one = in_turns(alone, arguments.rounds)
        many = in_turns(together, arguments.rounds)
    milliseconds = {name: [1000 * s / ALONE for s in seconds] for name, seconds in one.items()}
    return [
        *(row(f"one clip: {name}", values, "ms") for name, values in milliseconds.items()),
        *(row(f"{CLIPS} clips: {name}", rates(seconds, CLIPS), "clips/s") for name, seconds in many.items()),
    ]


def _ways(
    network: torch.nn.Module, integers: dict[int, IntegerNetwork], spectrograms: torch.Tensor, folder: Path
) -> tuple[dict[str, Action], dict[str, Action]]:
    """What computes clips one by one on one thread, and what computes all of them at once."""
    some, batch = spectrograms[:ALONE], spectrograms.contiguous(memory_format=torch.channels_last)
    alone: dict[str, Action] = {}
    for bits, network_of_bits in integers.items():
        path = write_tflite(network_of_bits, folder / f"{bits}.tflite", {})
        for kernels in ("device", "host"):
            model = TFLiteModel(path, kernels=kernels)
            alone[f"LiteRT, weights of {bits} bits, {kernels} kernels"] = partial(model.logits, some)
    floats = write_float_tflite(fold(network), integers[8], folder / "float.tflite", {})
    alone["LiteRT, float, host kernels"] = lambda: float_logits(floats, some)
    alone["PyTorch, float, 1 thread"] = _one_by_one(network, some)
    together: dict[str, Action] = {
        "PyTorch, float": lambda: network(batch),
        "integer network in PyTorch, as the device": lambda: integers[8].logits(spectrograms),
        "LiteRT, host kernels": lambda: TFLiteModel(folder / "8.tflite", kernels="host").logits(spectrograms),
    }
    if (mode := compile_mode("auto", torch.device("cpu"), clips=10**9)) is not None:
        compiled = torch.compile(network, mode=mode)
        together["PyTorch, float, compiled"] = lambda: compiled(batch)
    try:
        import onnxruntime
    except ImportError:
        return alone, together
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = write_onnx(integers[8], folder / "8.onnx")
    single = onnxruntime.InferenceSession(str(path), options)
    alone["onnxruntime, int8"] = lambda: [single.run(None, {"input": p[None].numpy()}) for p in some]
    session = onnxruntime.InferenceSession(str(path))
    together["onnxruntime, int8"] = lambda: session.run(None, {"input": spectrograms.numpy()})
    return alone, together


def _one_by_one(network: torch.nn.Module, spectrograms: torch.Tensor) -> Action:
    def compute() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for spectrogram in spectrograms:
            network(spectrogram[None].contiguous(memory_format=torch.channels_last))
        torch.set_num_threads(threads)

    return compute
