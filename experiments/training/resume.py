"""A training as it stood at the end of an epoch, so that one that was stopped goes on there.

Conventions: `resume.pt` holds tensors, numbers and strings only and is read as such (weights_only). Random numbers
need no place in it: what an epoch draws depends on the seed, the epoch and the process alone (see `seed_of`).
"""

import json
import os
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from data.errors import UserError, listed
from experiments.runs.layout import RESUME
from experiments.runs.record import Run, differences, is_first

STATE = {"epoch", "best", "kept", "network", "optimizer", "precision", "rows"}


def seed_of(seed: int, epoch: int, rank: int) -> int:
    """Seed of what an epoch draws in one of several processes."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1)


def save(run: Run, state: Mapping[str, Any]) -> None:
    """Write a state, under a temporary name first; the first process does.

    Raises:
        UserError: the disk is full, or cannot be written; the state before is kept.
    """
    if not is_first():
        return
    path = run.folder / RESUME
    temporary = path.with_name(f"{RESUME}.{os.getpid()}.tmp")
    try:
        torch.save({"identity": json.dumps(run.identity), **state}, temporary)
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # the latter: torch's writer on a disk that is full
        raise UserError(
            f"cannot write {path} ({str(error).splitlines()[0]}): free space there, and run the command again"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def load(run: Run, device: torch.device) -> dict[str, Any] | None:
    """The state that a stopped training of the same settings and inputs left, or None.

    Raises:
        UserError: the file is of other settings or inputs, or damaged; it is left as it is.
    """
    path = run.folder / RESUME
    if run.cfg.force or not path.is_file():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        before = json.loads(state.pop("identity"))
        if missing := STATE - state.keys():
            raise KeyError(f"it lacks {sorted(missing)}")
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged ({str(error).splitlines()[0]}): delete it, or give force=true, to begin again"
        ) from error
    if found := differences(before, run.identity):
        raise UserError(
            f"{run.folder} holds an unfinished training of other settings or inputs:\n{listed(found)}\n"
            "choose another name=..., or begin anew with force=true"
        )
    return state
