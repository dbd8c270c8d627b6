"""CP-Mobile in the format of the public code bases, made by the names, shapes and formulas that they describe: tensors,
files, and the logits that follow from them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch.nn import functional as F

Tensors = dict[str, torch.Tensor]
Stride = tuple[int, int]

WIDTHS = {  # of the published networks: the stages', and of the inner channels of each block
    "6k": ([8, 16, 32], [16, 16, 16, 16, 32, 32]),
    "61k": ([32, 56, 104], [64, 64, 64, 64, 120, 120]),
    "127k": ([32, 72, 168], [96, 96, 96, 96, 216, 216]),
}
STRIDES = {2023: {"b2": (2, 2), "b4": (2, 1)}, 2024: {"b3": (1, 2), "b4": (2, 1)}}


def public_tensors(
    stages: Sequence[int],
    inner: Sequence[int],
    *,
    blocks: Sequence[int] = (3, 2, 1),
    grn: bool = False,
    classes: int = 10,
    seed: int = 0,
) -> Tensors:
    """A network with random weights and statistics.

    Args:
        stages: channels of each; the first ones are those of the second convolution, too.
        inner: channels within each block.
        blocks: of each stage.
        grn: with Global Response Normalization.
        classes: number of logits.
        seed: of the numbers.
    """
    g, found = torch.Generator().manual_seed(seed), Tensors()

    def add(convolution: str, norm: str, *shape: int) -> None:
        spread = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        found[f"{convolution}.weight"] = torch.randn(shape, generator=g) * spread
        found[f"{norm}.weight"] = torch.rand(shape[0], generator=g) + 0.5
        found[f"{norm}.bias"] = torch.randn(shape[0], generator=g) / 4
        found[f"{norm}.running_mean"] = torch.randn(shape[0], generator=g) / 4
        found[f"{norm}.running_var"] = torch.rand(shape[0], generator=g) + 0.5
        found[f"{norm}.num_batches_tracked"] = torch.tensor(seed + 7)

    add("in_c.0.0", "in_c.0.1", stages[0] // 4, 1, 3, 3)
    add("in_c.1.0", "in_c.1.1", stages[0], stages[0] // 4, 3, 3)
    channels, number = stages[0], 0
    for stage, count in enumerate(blocks):
        for _ in range(count):
            name, wide = f"stages.s{stage + 1}.b{number + 1}", inner[number]
            for place, shape in enumerate(((wide, channels, 1, 1), (wide, 1, 3, 3), (stages[stage], wide, 1, 1))):
                add(f"{name}.block.{place}.0", f"{name}.block.{place}.1", *shape)
            if grn:
                for letter in ("gamma", "beta"):
                    found[f"{name}.after_block_norm.{letter}"] = torch.randn(1, generator=g) / 8
            channels, number = stages[stage], number + 1
    add("feed_forward.0", "feed_forward.1", classes, channels, 1, 1)
    return found


def public_logits(tensors: Mapping[str, torch.Tensor], x: torch.Tensor, strides: Mapping[str, Stride]) -> torch.Tensor:
    """What the public network of these tensors answers to log-mels (B, 1, mels, frames), in evaluation mode: written
    out from its description, without a module."""

    def convolved(x: torch.Tensor, convolution: str, norm: str, stride: Stride = (1, 1)) -> torch.Tensor:
        weight = tensors[f"{convolution}.weight"]
        groups = x.shape[1] // weight.shape[1]  # as many as channels where each has a filter of its own
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        mean, var, gain, offset = (tensors[f"{norm}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        scale = gain / (var + 1e-5).sqrt()
        return x * scale[:, None, None] + (offset - mean * scale)[:, None, None]

    for place in (0, 1):
        x = convolved(x, f"in_c.{place}.0", f"in_c.{place}.1", (2, 2)).clamp_min(0)
    for name in dict.fromkeys(".".join(key.split(".")[:3]) for key in tensors if key.startswith("stages.")):
        stride = strides.get(name.split(".")[2], (1, 1))
        y = convolved(x, f"{name}.block.0.0", f"{name}.block.0.1").clamp_min(0)
        y = convolved(y, f"{name}.block.1.0", f"{name}.block.1.1", stride).clamp_min(0)
        y = convolved(y, f"{name}.block.2.0", f"{name}.block.2.1")
        if y.shape[1] == x.shape[1]:
            y = y + (x if stride == (1, 1) else F.avg_pool2d(x, 3, stride, 1))
        if (gamma := tensors.get(f"{name}.after_block_norm.gamma")) is not None:
            norm = y.square().sum((2, 3), keepdim=True).sqrt()
            relative = norm / (norm.mean(1, keepdim=True) + 1e-6)
            y = gamma * y * relative + tensors[f"{name}.after_block_norm.beta"] + y
        x = y.clamp_min(0)
    return convolved(x, "feed_forward.0", "feed_forward.1").mean((2, 3))


def lightning(tensors: Mapping[str, torch.Tensor], *, mel: Mapping[str, torch.Tensor] | None = None) -> dict:
    """The content of a checkpoint of Lightning with these tensors, and those of a log-mel beside them."""
    state = {**{f"mel.{name}": tensor for name, tensor in (mel or {}).items()}}
    return {
        "epoch": 149,
        "global_step": 81_900,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": state | {f"model.{name}": tensor for name, tensor in tensors.items()},
        "loops": {"fit_loop": {"epoch_progress": {"total": {"ready": 150}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(1.2), "dirpath": "x"}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 5e-4}]}],
        "lr_schedulers": [{"last_epoch": 150}],
    }


def save(path: Path, content: object) -> Path:
    """Write it as torch does; returns the path."""
    torch.save(content, path)
    return path
