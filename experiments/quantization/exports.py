"""The files beside model.tflite that are asked for."""

from collections.abc import Collection
from pathlib import Path

from torch import nn

from experiments.runs.claims import claim
from experiments.runs.layout import MODEL, ONNX, PROGRAM
from students.quantize.export import export_float, write_onnx
from students.quantize.read import read_tflite

_FILES = {"torch": PROGRAM, "onnx": ONNX}


def export_missing(kinds: Collection[str], folder: Path, network: nn.Module, shape: tuple[int, ...]) -> None:
    """Write those files that are asked for and not there.

    Args:
        kinds: torch, the float network; onnx, the integers of model.tflite.
        folder: of the run.
        network: the float network.
        shape: of a log-mel, (1, 1, mels, frames).

    Raises:
        UserError: another command is writing to the folder, or a file cannot be written.
    """
    wanted = [path for kind, path in _FILES.items() if kind in kinds and not (folder / path).exists()]
    if wanted:
        claim(folder)
    if PROGRAM in wanted:
        export_float(network, shape, folder / PROGRAM)
    if ONNX in wanted:
        write_onnx(read_tflite(folder / MODEL)[0], folder / ONNX)
