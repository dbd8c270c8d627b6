"""Clips a second of computing logits and of fine-tuning for each teacher, beside the naive way.

The naive way is the peers': the packages' own forward pass in float32, a mel bank built anew for every batch
(hear21passt's front end), or AST's own feature extractor, which takes one clip after the other. Weights are random:
they do not change the speed. A step of fine-tuning is front end, forward, backward and optimiser on clips that are in
memory already; reading has a bench of its own.
"""

import argparse
import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from hear21passt.models.passt import Attention
from hear21passt.models.preprocess import AugmentMelSTFT
from torch import nn
from torch.nn import functional as F
from torchaudio.functional import resample
from transformers import ASTFeatureExtractor

from data.errors import UserError, unknown
from data.front_ends import build_front_end
from experiments.bench.timing import Action, Row, in_turns, rates, row
from experiments.command.composition import group_choices
from experiments.command.schema import composed
from experiments.distributed.fabric import make_fabric
from experiments.settings.parts import Hardware
from experiments.settings.shared import TeacherSettings
from teachers import build_teacher

RATE, CLASSES = 32_000, 10
DEFAULT = "passt,ast,cp_resnet,timm"
ALL_CLIPS = 230_350  # of the development set
FEWEST_CLIPS = 16  # that a round takes; more on a GPU
HARDWARE = Hardware()  # one device, whatever is there
DATA = "data=tau22"  # the recipes as published, and not those of the synthetic miniature


def run(arguments: argparse.Namespace) -> list[Row]:
    """All rows: what, median, unit, rounds."""
    known = group_choices()["teacher"]
    chosen = (arguments.teachers or DEFAULT).split(",")
    for name in chosen:
        if name not in known:
            unknown("teacher", name, known)
    if arguments.rounds < 1 or (arguments.batch is not None and arguments.batch < 2):
        raise UserError(f"--rounds={arguments.rounds} must be at least 1, --batch={arguments.batch} at least 2")
    return [line for name in chosen for line in _bench(name, arguments.batch, arguments.rounds)]


def _bench(name: str, batch: int | None, rounds: int) -> list[Row]:
    warnings.filterwarnings("ignore", category=FutureWarning, module="hear21passt")
    fabric = make_fabric(HARDWARE)
    on_gpu = fabric.device.type == "cuda"
    size = batch or (256 if on_gpu else 16)
    batches = max(1, (20 * size if on_gpu else FEWEST_CLIPS) // size)
    teacher = settings_of(name)
    waves = torch.randn(size, RATE, device=fabric.device) / 10
    labels = torch.randint(CLASSES, (size,), device=fabric.device)

    ours = _network(teacher).to(fabric.device, memory_format=torch.channels_last)
    front_end = build_front_end(RATE, teacher.mel).to(fabric.device)

    def log_mels(sound: torch.Tensor) -> torch.Tensor:
        return front_end(sound).contiguous(memory_format=torch.channels_last)

    theirs = _unfused(_network(teacher)).to(fabric.device)
    naive_log_mels = naive_front_end(teacher.mel).to(fabric.device)
    ways = {"ours": (ours, log_mels, fabric.autocast), "naive": (theirs, naive_log_mels, torch.enable_grad)}
    actions: dict[str, Action] = {}
    for way, (network, front, precision) in ways.items():
        actions[f"logits {way}"] = _computing_logits(network, front, precision, waves, batches)
        actions[f"train {way}"] = _training(network, front, precision, waves, labels, batches)
    for action in actions.values():  # the first call plans and allocates
        action()
    clips = batches * size
    found = {what: rates(seconds, clips) for what, seconds in in_turns(actions, rounds).items()}
    rows = []
    for verb, text in (("logits", "logits"), ("train", "fine-tuning")):
        mine, other = found[f"{verb} ours"], found[f"{verb} naive"]
        rows.append(row(f"{name}: {text}, scenelet", mine, "clips/s"))
        rows.append(row(f"{name}: {text}, naive", other, "clips/s"))
        rows.append(row(f"{name}: {text}, scenelet / naive", np.divide(mine, other).tolist(), "times"))
    minutes = [ALL_CLIPS / rate / 60 for rate in found["logits ours"]]
    return [*rows, row(f"{name}: logits of {ALL_CLIPS:,} clips at this rate", minutes, "min")]


def settings_of(name: str) -> TeacherSettings:
    """What teacher=NAME means, with the recipe for the full data set."""
    return composed(f"teacher={name}", DATA).teacher


def _network(teacher: TeacherSettings) -> nn.Module:
    return build_teacher(teacher.builder, classes=CLASSES, pretrained=False, **teacher.arguments)


def _computing_logits(
    network: nn.Module, front_end: Callable, precision: Callable, waves: torch.Tensor, batches: int
) -> Action:
    def compute() -> None:
        network.eval()
        with torch.no_grad(), precision():
            for _ in range(batches):
                network(front_end(waves)).float().cpu()

    return compute


def _training(
    network: nn.Module,
    front_end: Callable,
    precision: Callable,
    waves: torch.Tensor,
    labels: torch.Tensor,
    batches: int,
) -> Action:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-6)

    def train() -> None:
        network.train()
        for _ in range(batches):
            with torch.no_grad():
                spectrograms = front_end(waves)
            with precision():
                loss = F.cross_entropy(network(spectrograms), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return train


def _unfused(network: nn.Module) -> nn.Module:
    """The same network with its package's own attention, where it has one."""
    inner = getattr(network, "network", None)
    if inner is not None and hasattr(inner, "set_attn_implementation"):
        inner.set_attn_implementation("eager")
    for block in getattr(inner, "blocks", []):
        own = Attention(block.attn.proj.in_features, block.attn.heads, qkv_bias=True)
        own.qkv, own.proj = block.attn.qkv, block.attn.proj
        block.attn = own
    return network


def naive_front_end(mel: Mapping[str, Any]) -> nn.Module:
    """The peers' front end of the same sizes as ours for these `mel` settings; ours, where their package is not
    installed."""
    if mel["kind"] == "kaldi_fbank":
        return _OneByOne()
    if mel["kind"] != "log_mel":
        return cast(nn.Module, build_front_end(RATE, mel))
    sizes = {"n_mels": mel["mels"], "win_length": mel["window"], "hopsize": mel["hop"], "n_fft": mel["fft"]}
    return _NewBank(**sizes, sr=RATE, fmin=mel["low"], fmax=mel["high"], freqm=0, timem=0)


class _NewBank(AugmentMelSTFT):
    """hear21passt's front end, which makes its mel bank anew in every call; (B, samples) -> (B, 1, mels, frames)."""

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        return super().forward(waves)[:, None]


class _OneByOne(nn.Module):
    """AST's own extractor on the CPU; (B, samples) -> (B, 1, mels, frames)."""

    def __init__(self) -> None:
        super().__init__()
        self.extract = ASTFeatureExtractor(max_length=98)

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        sound = resample(waves, RATE, self.extract.sampling_rate).cpu().numpy()
        found = self.extract(list(sound), sampling_rate=self.extract.sampling_rate, return_tensors="pt")
        return found.input_values.to(waves.device).transpose(1, 2)[:, None]
