"""Run a TFLite file with a runtime that devices use: accuracies are those of this, not of a simulation.

Conventions: log-mels (n, 1, mels, frames) in, float32 logits (n, classes) out; in between, the file's own integers.
"device" is LiteRT's reference kernels, which round as tflite-micro does on a microcontroller; "host" is LiteRT's
default with XNNPACK, which rounds otherwise and is some twenty times faster; "plain" is LiteRT without it; "micro" is
tflite-micro itself, where it is installed.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.damage import AGAIN
from data.errors import UserError, unknown
from students.quantize.integer import Quantity
from students.quantize.read import read_tflite
from students.quantize.tflite import to_tflite

KERNELS = {
    "device": "BUILTIN_REF",
    "host": "AUTO",
    "plain": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "micro": "BUILTIN_REF",
}


class TFLiteModel:
    """A TFLite file, loaded.

    Attributes:
        path: the file.
        metadata: what the file says of itself.
        input_shape: (1, mels, frames, 1).
    """

    def __init__(
        self, path: str | Path, *, kernels: str = "device", threads: int = 1, device: str | None = None
    ) -> None:
        """Load the file, or what is in it of a recording device that has tensors of its own.

        Runtimes trust what they are given and may end the process. They get the network that was read from the file,
        every number of which was checked, as scenelet writes it; for files of scenelet that is the file.

        Raises:
            UserError: the file is missing or damaged, is not one of scenelet's, or has numbers that these kernels
                refuse.
        """
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        if kernels not in KERNELS:
            unknown("kernels", kernels, KERNELS)
        self.path, self._micro = Path(path), None
        network, self.metadata = read_tflite(path)
        network = network if device is None else network.of_device(device)
        content = to_tflite(network, self.metadata)
        resolver = getattr(OpResolverType, KERNELS[kernels])
        try:
            if kernels == "micro":
                self._micro = _micro(content)
            self._interpreter = Interpreter(
                model_content=content, num_threads=threads, experimental_op_resolver_type=resolver
            )
            self._interpreter.allocate_tensors()
            (self._input,) = self._interpreter.get_input_details()
            (self._output,) = self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{path} has numbers that the kernels {kernels} refuse ({error}): {AGAIN}") from error
        self.input_shape = tuple(int(n) for n in self._input["shape"])

    def quantize(self, spectrograms: torch.Tensor) -> np.ndarray:
        """Log-mels as the file's integers, (n, mels, frames, 1); nearest, halves to even."""
        scale, zero_point = self._input["quantization"]
        mels, frames = self.input_shape[1:3]
        read = Quantity(scale, zero_point, (1, mels, frames), 8 * np.dtype(self._input["dtype"]).itemsize)
        q = read.quantize(spectrograms.detach().cpu())
        return q.permute(0, 2, 3, 1).contiguous().numpy()

    def run_integers(self, q: np.ndarray) -> np.ndarray:
        """Integer spectrograms (n, mels, frames, 1) -> integer logits (n, classes), clip by clip as on a device."""
        out = []
        for spectrogram in q:
            if self._micro is not None:
                self._micro.set_input(spectrogram[None], 0)
                self._micro.invoke()
                out.append(self._micro.get_output(0).reshape(-1))
                continue
            self._interpreter.set_tensor(self._input["index"], spectrogram[None])
            self._interpreter.invoke()
            out.append(self._interpreter.get_tensor(self._output["index"]).reshape(-1))
        return np.stack(out)

    def logits(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Log-mels (n, 1, mels, frames) -> float32 logits (n, classes).

        Raises:
            UserError: the spectrograms have another size than the file was made for.
        """
        if (found := tuple(spectrograms.shape[2:])) != self.input_shape[1:3]:
            raise UserError(
                f"{self.path} takes spectrograms of {self.input_shape[1:3]}, not {found}: "
                "use the mel arguments in its metadata"
            )
        scale, zero_point = self._output["quantization"]
        integers = torch.from_numpy(self.run_integers(self.quantize(spectrograms)))
        return (integers.float() - zero_point) * scale


def has_micro() -> bool:
    """Whether tflite-micro is installed; it has wheels for some platforms only."""
    return importlib.util.find_spec("tflite_micro") is not None


def _micro(content: bytes) -> Any:
    if not has_micro():
        raise UserError("kernels=micro needs the package tflite-micro")
    from tflite_micro import runtime

    return runtime.Interpreter.from_bytes(content)
