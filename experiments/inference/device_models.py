"""A file of integers as the scripts of DCASE 2025 Task 1 ask for it: a torch module for each recording device.

Conventions: inputs are log-mels (1, 1, mels, frames) of a clip, outputs float32 logits (classes,). A device that the
file has no tensors of, "unknown" among them, gets the general network. A module's parameters are what the file stores
of its network, weights int8 and biases int32 (weights of 4 bits one a byte), and its convolutions are called so: the
organisers count both. Integers are computed on the CPU, the only place where they are exact to the last bit.
Source: https://github.com/CPJKU/dcase2025_task1_inference, README (the four functions and what they return) and
evaluate_submission.py (which also gives `use_cuda`, and saves `model.model`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from experiments.inference.classifier import IntegerClassifier, load_classifier
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import INPUT, Layer

TOGETHER = 256  # files that are read before they are classified


class IntegerConv2d(nn.Module):
    """A convolution of integers.

    Attributes:
        weight, bias: as the file stores them, see students/quantize/integer.py.
    """

    def __init__(self, network: IntegerNetwork, layer: Layer) -> None:
        super().__init__()
        self.network, self.layer, self.stored = network, layer, network.weights[layer.name]
        self.weight = nn.Parameter(torch.from_numpy(self.stored.weight.copy()), requires_grad=False)
        self.bias = nn.Parameter(torch.from_numpy(self.stored.bias.copy()), requires_grad=False)

    def forward(self, q: torch.Tensor) -> torch.Tensor:
        """Integers (B, C, H, W) of the layer, of those that it reads."""
        weights = replace(self.stored, weight=self.weight.numpy(), bias=self.bias.numpy())
        return self.network.compute(self.layer, [q], weights)


class IntegerModel(nn.Module):
    """The network of a device."""

    def __init__(self, network: IntegerNetwork) -> None:
        super().__init__()
        self.network = network
        convolutions = [layer for layer in network.layers if layer.has_weights]
        self.convolutions = nn.ModuleList(IntegerConv2d(network, layer) for layer in convolutions)

    @torch.no_grad()
    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Log-mels (B, 1, mels, frames) -> float32 logits (B, classes)."""
        network, convolutions = self.network, iter(self.convolutions)
        tensors = {INPUT: network.quantities[INPUT].quantize(spectrograms)}
        for layer in network.layers:
            inputs = [tensors[name] for name in layer.inputs]
            own = next(convolutions) if layer.has_weights else None
            tensors[layer.name] = network.compute(layer, inputs) if own is None else own(*inputs)
        return network.output.dequantize(tensors[network.layers[-1].name].flatten(1))


class DeviceModels(nn.Module):
    """The networks of all devices.

    Attributes:
        classifier: of the file.
        model: IntegerModel by device, and that of all others.
        devices: that the file has tensors of.
    """

    def __init__(self, classifier: IntegerClassifier) -> None:
        super().__init__()
        self.classifier, network = classifier, classifier.network
        self.devices = tuple(network.sets)
        networks = [network.of_device(""), *map(network.of_device, self.devices)]
        self.model = nn.ModuleList(map(IntegerModel, networks))

    def of_device(self, device: str) -> nn.Module:
        """The network for the sounds of a device."""
        return self.model[1 + self.devices.index(device) if device in self.devices else 0]

    def forward(self, spectrograms: torch.Tensor, devices: Sequence[str]) -> torch.Tensor:
        """Log-mels (B, 1, mels, frames) of clips of some devices -> float32 logits (B, classes)."""
        logits = torch.empty(len(devices), len(self.classifier.scenes))
        for device in dict.fromkeys(devices):
            rows = [row for row, other in enumerate(devices) if other == device]
            logits[rows] = self.of_device(device)(spectrograms[rows])
        return logits


@dataclass(frozen=True)
class Inference:
    """The four functions that the organisers' scripts call, for one file."""

    file: Path

    def load_model(self, model_file_path: str | None = None) -> DeviceModels:
        """The networks of a model.tflite, by default of the packaged one.

        Raises:
            UserError: there is no such file, or it is damaged.
        """
        return DeviceModels(load_classifier(self.file if model_file_path is None else model_file_path))

    def load_inputs(
        self, file_paths: Sequence[str], device_ids: Sequence[str], model: DeviceModels
    ) -> list[torch.Tensor]:
        """The log-mel (1, 1, mels, frames) of each file, in their order.

        Raises:
            ValueError: there are not as many devices as files.
            UserError: files cannot be read.
        """
        if len(file_paths) != len(device_ids):
            raise ValueError(
                f"{len(file_paths)} file_paths and {len(device_ids)} device_ids: give a device for each file"
            )
        classifier = model.classifier
        found = [classifier.spectrograms(waves) for waves in classifier.clips(file_paths, "reading")]
        return [spectrogram[None] for some in found for spectrogram in some]

    def get_model_for_device(self, model: DeviceModels, device_id: str) -> nn.Module:
        """The network for the sounds of a device; of an unknown one, the general network."""
        return model.of_device(device_id)

    def predict(
        self,
        file_paths: Sequence[str],
        device_ids: Sequence[str],
        model_file_path: str | None = None,
        use_cuda: bool = False,
    ) -> tuple[list[torch.Tensor], list[str]]:
        """The logits (classes,) of each file, in their order, and the names of the classes in theirs.

        Args:
            file_paths: of sounds of one clip each.
            device_ids: of the devices that recorded them.
            model_file_path: see load_model.
            use_cuda: makes no difference.

        Raises:
            ValueError, UserError: see load_inputs and load_model.
        """
        model, logits = self.load_model(model_file_path), list[torch.Tensor]()
        for start in range(0, max(len(file_paths), len(device_ids)), TOGETHER):
            files, devices = (names[start : start + TOGETHER] for names in (file_paths, device_ids))
            logits += [*model(torch.cat(self.load_inputs(files, devices, model)), devices)]
        return logits, list(model.classifier.scenes)
