"""What a model file costs for one clip, by the rules of the challenge's own tool: of integers, or of floats.

Conventions: those of students/complexity.py; bytes are those of the numbers as they are stored, 4 or 2 each of floats.
All that a file holds counts: what every recording device has of its own, too, and a front end that has parameters, as
a network that makes features has. Branches that become one convolution cost the multiply-accumulates and parameters of
that, and the bytes of all of them.
Source: DCASE 2023 Task 1, "System complexity requirements".
"""

from pathlib import Path

import torch

from data.tensors import read_safetensors
from experiments.models.classifiers import FloatClassifier, load_floats
from experiments.runs.anew import made_anew
from experiments.runs.layout import is_float
from experiments.training.checkpoint import name_of_own
from students.complexity import tflite_complexity
from students.layer_costs import LayerCost, StoredLayer, layer_costs
from students.limits import Complexity

FRONT_END = "front end"


def model_complexity(path: Path) -> Complexity:
    """Costs of a model file.

    Raises:
        UserError: see tflite_complexity and load_floats.
    """
    return checkpoint_costs(path)[0] if is_float(path) else tflite_complexity(path)


def checkpoint_costs(path: Path) -> tuple[Complexity, list[StoredLayer]]:
    """The costs of a student's checkpoint and of its layers; what devices have of their own is a row for each device.

    Raises:
        UserError: see load_floats.
    """
    found = load_floats(path)
    numbers = {name: tensor.dtype.itemsize for name, tensor in read_safetensors(path, made_anew(path)).items()}
    sizes = {name: parameter.numel() for name, parameter in found.network.named_parameters()}
    waves = torch.zeros(1, round(found.clip_seconds * found.sample_rate))
    shape = tuple(found.spectrograms(waves).shape)
    total, layers = layer_costs(found.network, shape)
    rest = {name: size * numbers[name] for name, size in sizes.items()}
    rows = [] if (learnt := _learnt(found, waves, shape)) is None else [learnt]
    for each in layers:
        inside = f"{each.name}." if each.name else ""  # the branches of a convolution that is counted as one, too
        of_layer = [name for name in rest if not each.shape or name.startswith(inside)]
        rows.append(StoredLayer(each, sum(rest.pop(name) for name in of_layer)))
    for number, (device, own) in enumerate(found.sets.items()):
        names = [name for name in own if name in sizes]
        cost = LayerCost(f"of device {device}", "", (), 0, sum(sizes[name] for name in names), 0)
        rows.append(StoredLayer(cost, sum(sizes[name] * numbers[name_of_own(number, name)] for name in names)))
    costs = [row.cost for row in rows]
    together = Complexity(
        macs=sum(cost.macs for cost in costs),
        parameters=sum(cost.parameters for cost in costs),
        parameter_bytes=sum(row.bytes for row in rows),
        peak_bytes=max(total.peak_bytes, *(cost.alive_bytes for cost in costs)),
    )
    return together, rows


def _learnt(found: FloatClassifier, waves: torch.Tensor, shape: tuple[int, ...]) -> StoredLayer | None:
    """The costs of a front end that has parameters, which makes spectrograms of this shape; None: it has none."""
    front_end = found.front_end
    if not (isinstance(front_end, torch.nn.Module) and any(True for _ in front_end.parameters())):
        return None
    cost, _ = layer_costs(front_end, tuple(waves.shape))
    row = LayerCost(FRONT_END, type(front_end).__name__, shape, cost.macs, cost.parameters, cost.peak_bytes)
    return StoredLayer(row, cost.parameter_bytes)
