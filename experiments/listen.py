"""A trained teacher listens to every clip once and writes down what it thinks.

Conventions: logits are of the clean whole clips, or the mean over copies of them that are rolled in time
(`teacher.shifts`), which the file keeps one by one too. They depend on weights, waves, shifts and precision, which
the file says; what is already there of the same is reused, without loading the network.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from lightning_fabric import Fabric
from omegaconf import DictConfig
from torch import nn

from data.errors import UserError
from data.front_ends import FrontEnd, build_front_end
from data.logits import LogitsWriter, read_identity
from experiments import checkpoint
from experiments.energy import read_energy
from experiments.hardware import exchange, launch, make_fabric, precision_of
from experiments.paths import LOGITS, SCORES, sha256
from experiments.predict import logits_of
from experiments.prepare import Prepared
from experiments.runs import Run, is_first
from teachers import build_teacher

BATCH = 64
COMMIT = 16  # batches of each process that are written in one go: every time waits for the disk

log = logging.getLogger(__name__)


def listen(cfg: DictConfig, prepared: Prepared, run: Run, path: Path) -> None:
    """Write logits.h5 and the scores of a run, with the teacher of a checkpoint."""
    shifts, fingerprint = shifts_of(cfg.teacher.shifts, cfg.teacher.augment.roll), prepared.fingerprint
    identity = {
        "weights": sha256(path),
        "waves": fingerprint["waves"],
        "clips": fingerprint["clips"],
        "settings": json.dumps({"shifts": shifts, "precision": precision_of(cfg.fabric)}),
    }
    target = run.folder / LOGITS
    if not cfg.force and run.is_finished and (run.folder / SCORES).is_file() and _is_current(target, identity):
        log.info("%s: waves, weights and settings are unchanged, the logits are reused", target)
        return
    network, blueprint = checkpoint.load(path, build_teacher)
    if blueprint.scenes != prepared.clips.scenes or blueprint.sample_rate != prepared.store.sample_rate:
        raise UserError(
            f"{path} was trained for the scenes {list(blueprint.scenes)} at {blueprint.sample_rate} Hz, the data set "
            f"has {list(prepared.clips.scenes)} at {prepared.store.sample_rate} Hz: train a teacher on it"
        )
    if blueprint.clips != fingerprint["clips"]:
        log.warning("%s was trained on other clips or splits: it may have heard what is held out here", path)
    front_end = build_front_end(blueprint.sample_rate, blueprint.mel)
    require_room(blueprint.arguments, front_end, prepared.store.samples)
    identity |= {
        "teacher": blueprint.builder,
        "config": json.dumps(dataclasses.asdict(blueprint)),
        "trained_on": blueprint.clips,
    }
    fabric = make_fabric(cfg.fabric)
    launch(fabric)
    network = network.to(fabric.device, memory_format=torch.channels_last)
    front_end = front_end.to(fabric.device)
    if is_first():
        (run.folder / SCORES).unlink(missing_ok=True)  # they are of the logits that are replaced now
    scores = write_logits(fabric, target, prepared, network, front_end, identity=identity, shifts=shifts)
    if is_first():
        run.finish(scores | read_energy(run.folder))
        accuracy, loss = scores["test/accuracy"], scores["test/log_loss"]
        log.info("teacher: test accuracy %.3f, log loss %.3f (%s)", accuracy, loss, run.folder)
    exchange(fabric, None)  # what comes next reads the file


def shifts_of(count: int, widest: int) -> list[int]:
    """So many shifts in samples, evenly spaced over +-`widest`, the middle one 0.

    Raises:
        UserError: the number is even, so that the clean clip would not be among them, or the shifts are all 0.
    """
    if count < 1 or count % 2 == 0:
        raise UserError(f"teacher.shifts={count} must be odd: 1, the clean clip, or 3, 5, ... around it")
    if count > 1 and widest == 0:
        raise UserError(f"teacher.shifts={count} shifts by up to teacher.augment.roll, which is 0: set that")
    half = count // 2
    return [round(widest * step / max(half, 1)) for step in range(-half, half + 1)]


def require_room(arguments: Mapping[str, object], front_end: FrontEnd, samples: int) -> None:
    """Transformers know places for so many frames: refuse longer pictures, which they would cut, or fail at.

    Args:
        arguments: of the network's builder.
        samples: of the longest wave.
    """
    room = arguments.get("frames")
    if room is not None and (needed := front_end.frames(samples)) > room:
        seconds = samples / front_end.sample_rate
        raise UserError(f"teacher.arguments.frames={room} is too few for {seconds:g} s: train one with {needed}")


def write_logits(
    fabric: Fabric,
    path: Path,
    prepared: Prepared,
    network: nn.Module,
    front_end: FrontEnd,
    *,
    identity: dict[str, str],
    shifts: list[int],
) -> dict[str, float]:
    """Logits of every clip of the set to a file; returns the scores they have, in the first process.

    The processes take turns by batches, always the same ones, so that their number changes no bit of the result.
    """
    clips = prepared.clips
    batches = prepared.batches(None, batch_size=BATCH, device=fabric.device)
    writer = LogitsWriter(path, clips.filenames, clips.scenes, identity, shifts) if is_first() else None
    missing = exchange(fabric, None if writer is None else sorted({row // BATCH for row in writer.missing.tolist()}))[0]
    together = COMMIT * fabric.world_size
    for start in range(0, len(missing), together):
        numbers = missing[start : start + together][fabric.global_rank :: fabric.world_size]
        with fabric.autocast():
            mine = [
                (batch.rows.tolist(), logits_of(network, front_end, batch, shifts).cpu())
                for batch in batches.in_order(numbers)
            ]
        found = [piece for pieces in exchange(fabric, mine) for piece in pieces]
        logits = torch.cat([some for _, some in found])
        if not logits.isfinite().all():
            raise UserError(f"the teacher's logits are not numbers ({path}): train it anew, with force=true")
        if writer is not None:
            writer.fill([row for rows, _ in found for row in rows], logits.numpy())
    if writer is None:
        return {}
    scores = prepared.score_logits(writer.values(), path.parent)
    writer.seal(validation_accuracy=scores["validation/accuracy"], test_accuracy=scores["test/accuracy"])
    return scores


def _is_current(path: Path, identity: dict[str, str]) -> bool:
    try:
        return identity.items() <= read_identity(path).items()
    except UserError:
        return False
