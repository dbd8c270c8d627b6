"""A training as it stands at the end of an epoch, in memory and on file, so that one that was stopped goes on there.

Conventions: `resume.pt` holds tensors, numbers and strings only and is read as such (weights_only). Random numbers
need no place in it: what an epoch draws depends on the seed, the epoch and the process alone (see `seed_of`).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.errors import UserError, listed
from data.files import cannot_write, replacing
from data.scenes import ClipSet
from data.tensors import read_torch
from experiments.runs.identity import differences
from experiments.runs.layout import RESUME

IDENTITY = "identity"  # of the run, as JSON, beside the state
NEEDED = {IDENTITY, "epoch", "best", "kept", "network", "optimizer", "precision", "rows"}
BEGIN_AGAIN = "delete it, or give force=true, to begin again"
# The metrics of an epoch, and those that it has where clips are held out: with one class each, or without labels.
ROW = ("epoch", "learning_rate", "loss", "clips_per_second")
TERMS = ("hard_loss", "soft_loss", "similarity_loss", "feature_loss")  # of a distilled student's loss
HELD_OUT, DIVERGENCE = ("validation/accuracy", "validation/log_loss"), "validation/divergence"
MULTI_LABEL = ("validation/mean_average_precision", "validation/binary_cross_entropy")  # of clips of several classes
CHOSEN_BY = (DIVERGENCE, HELD_OUT[1], MULTI_LABEL[1])  # the first of these that a row has

Weights = dict[str, torch.Tensor]


@dataclass
class TrainingState:
    """What the training loop needs to go on; the loop alone changes it.

    Attributes:
        epoch: how many epochs are done.
        best: lowest held_out_loss so far.
        kept: weights of that epoch, where the recipe keeps the best.
        network, optimizer: their state dicts.
        precision: of fp16: how much the loss is scaled.
        average: state dict of the average of the weights, where the recipe has one.
        rows: the metrics of the epochs that are done.
    """

    epoch: int = 0
    best: float = math.inf
    kept: Weights | None = None
    network: Weights = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    precision: dict[str, Any] = field(default_factory=dict)
    average: Weights | None = None
    rows: list[dict[str, float]] = field(default_factory=list)


def held_out_loss(row: Mapping[str, float]) -> float:
    """That by which the best epoch is chosen: the log loss of the clips held out, or the binary cross-entropy, where
    they may have several classes, or, where they have no labels, the divergence from their targets."""
    return next(row[name] for name in CHOSEN_BY if name in row)


def held_out_metrics(clips: ClipSet) -> Sequence[str]:
    """The names of the metrics that a training on a data set is validated by; none if no clips are held out."""
    if not clips.has_validation:
        return ()
    return [DIVERGENCE] if not clips.is_labelled else MULTI_LABEL if clips.is_multi_label else HELD_OUT


def seed_of(seed: int, epoch: int, rank: int) -> int:
    """Seed of what an epoch draws in one of several processes."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1)


def save_state(folder: Path, identity: Mapping[str, Any], state: TrainingState) -> None:
    """Write a state of a run with that identity to its folder.

    Raises:
        UserError: the file cannot be written; the state before is kept.
    """
    content = {name: value for name, value in vars(state).items() if name != "average" or value is not None}
    try:
        # To an open file, because torch's own writer does not say why it cannot write.
        with replacing(folder / RESUME) as temporary, open(temporary, "wb") as file:
            torch.save({IDENTITY: json.dumps(identity), **content}, file)
    except RuntimeError as error:
        raise cannot_write(folder / RESUME, error) from error


def load_state(folder: Path, identity: Mapping[str, Any]) -> TrainingState | None:
    """The state that a stopped training of the same settings and inputs left in a run's folder, or None.

    What is read are tensors, numbers and texts by the names of TrainingState; whether they make a state of this
    training is for consistency.py to say.

    Raises:
        UserError: the file is of other settings or inputs, or damaged; it is left as it is.
    """
    path = folder / RESUME
    if not path.is_file():
        return None
    content = read_torch(path, BEGIN_AGAIN)
    names = {each.name for each in fields(TrainingState)}
    if not isinstance(content, dict) or not NEEDED <= content.keys() <= names | {IDENTITY}:
        raise damaged(folder, "it is not the state of a training")
    try:
        before = json.loads(content.pop(IDENTITY))
        if not isinstance(before, dict):
            raise ValueError("no mapping")
        found = differences(before, identity)
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(folder, "its identity is no JSON of settings and inputs") from error
    if found:
        raise UserError(
            f"{folder} holds an unfinished training of other settings or inputs:\n{listed(found)}\n"
            "choose another name=..., or begin anew with force=true"
        )
    return TrainingState(**content)


def damaged(folder: Path, reason: str) -> UserError:
    """The error about a run's state that cannot be gone on from."""
    return UserError(f"{folder / RESUME} is damaged ({reason}): {BEGIN_AGAIN}")
