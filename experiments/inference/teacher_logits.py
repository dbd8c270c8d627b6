"""A teacher's logits of every clip of a data set, in one file, and its features beside them where they are wanted.

Conventions: logits are of the clean whole clips, or the mean over copies of them that are rolled in time, which the
file keeps one by one too; features are the mean over these copies. They depend on weights, waves, shifts, layer and
precision, which the file says; what is already there of the same is reused, without loading the network.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from data.errors import UserError
from data.front_ends import FrontEnd
from data.logits import LogitsWriter
from data.logits_file import FeatureColumn
from data.progress import progress
from data.scenes import ClipSet
from experiments.datasets.datamodule import DataModule
from experiments.distributed.fabric import exchange
from experiments.distributed.processes import is_first
from experiments.evaluation.evaluate import evaluate_and_save, headline, split_metrics, split_probabilities
from experiments.inference.features import WithFeatures, channels_of
from experiments.inference.network import in_order, logits_of, require_applicable
from experiments.runs.energy import measured
from experiments.runs.meter import LOGITS_PHASE

BATCH = 64
COMMIT = 16  # batches of each process that are written in one go: every time waits for the disk

log = logging.getLogger(__name__)


def shifts_of(count: int, widest: int) -> list[int]:
    """So many shifts in samples, evenly spaced over +-`widest`, the middle one 0.

    Raises:
        UserError: the number is even, so that the clean clip would not be among them, or several are the same.
    """
    if count < 1 or count % 2 == 0:
        raise UserError(f"teacher.shifts={count} must be odd: 1, the clean clip, or 3, 5, ... around it")
    if count > 1 and widest == 0:
        raise UserError(f"teacher.shifts={count} shifts by up to teacher.augment.roll, which is 0: set that")
    if count > 2 * widest + 1:
        raise UserError(
            f"teacher.shifts={count} is more than the {2 * widest + 1} shifts by whole samples, up to "
            f"teacher.augment.roll={widest} either way"
        )
    half = count // 2
    return [round(widest * step / max(half, 1)) for step in range(-half, half + 1)]


def require_room(arguments: Mapping[str, object], front_end: FrontEnd, samples: int) -> None:
    """Transformers have positional embeddings for so many frames: refuse longer log-mels.

    Args:
        arguments: of the network's builder.
        front_end: waves to log-mels.
        samples: of the longest wave.

    Raises:
        UserError: the log-mel of that wave has more frames.
    """
    room = arguments.get("frames")
    if isinstance(room, int) and (needed := front_end.frames(samples)) > room:
        seconds = samples / front_end.sample_rate
        raise UserError(f"teacher.arguments.frames={room} is too few for {seconds:g} s: train one with {needed}")


def evaluate_and_seal(writer: LogitsWriter, clips: ClipSet, folder: Path) -> dict[str, float]:
    """Metrics of logits that are all written, and the tables of evaluate_and_save, which clips without labels do not
    have; the file gets its final name.

    Args:
        writer: filled, and not yet sealed.
        clips: the data set.
        folder: of the run.
    """
    if not clips.is_labelled:
        writer.seal()
        return {}
    logits, scores, known = writer.values(), dict[str, float](), dict[str, float]()
    if clips.has_validation:
        scores |= split_metrics(clips, "validation", split_probabilities(clips, "validation", logits))
    scores |= evaluate_and_save(clips, split_probabilities(clips, "test", logits), folder)
    for split in clips.scored:
        metric, value = next(iter(headline(scores, split).items()))
        known[f"{split}_{metric}"] = value
    writer.seal(**known)
    return scores


def write_logits(
    fabric: Fabric,
    path: Path,
    data: DataModule,
    network: nn.Module,
    front_end: FrontEnd,
    *,
    identity: Mapping[str, object],
    shifts: Sequence[int],
    layer: str | None = None,
) -> LogitsWriter | None:
    """Logits of every clip of the set to a file, and the features of a layer (see features.py), if one is given;
    returns it filled and not yet sealed, in the first process. The energy of it is added to its folder's energy.json.

    The processes take turns by batches, always the same ones, so that their number changes no bit of the result.

    Raises:
        UserError: clips are too short for the network, or it has no such layer; logits are not finite, or features not,
            or too large for their type.
    """
    clips, classes = data.clips, len(data.clips.scenes)
    features, shape = None, data.spectrogram_shape(front_end)
    require_applicable(network, shape, "the teacher")
    if layer is not None:
        features = FeatureColumn(layer, channels_of(network, layer, shape, "teacher.features"))
        network = WithFeatures(network, layer)
    batches = data.batches(None, batch_size=BATCH, device=fabric.device)
    writer = LogitsWriter(path, clips.filenames, clips.scenes, identity, shifts, features) if is_first() else None
    missing = exchange(fabric, None if writer is None else sorted({row // BATCH for row in writer.missing.tolist()}))[0]
    assert missing is not None  # the first process has the writer
    together = COMMIT * fabric.world_size
    left = sum(min(BATCH, len(batches) - BATCH * number) for number in missing)
    machines = getattr(fabric.strategy, "num_nodes", 1)  # which those for one device have not
    with (
        measured(path.parent, LOGITS_PHASE, goes_on=left < len(batches), machines=machines) as read_meter,
        progress("logits", len(batches), done=len(batches) - left) as line,
    ):
        for start in range(0, len(missing), together):
            numbers = missing[start : start + together][fabric.global_rank :: fabric.world_size]
            with fabric.autocast():
                mine = [
                    (batch.rows.tolist(), logits_of(network, front_end, batch, shifts).cpu())
                    for batch in in_order(batches, numbers, fabric, line)
                ]
            found = [piece for pieces in exchange(fabric, mine) for piece in pieces]
            answers = torch.cat([some for _, some in found])
            logits = answers[..., :classes]
            if not logits.isfinite().all():
                raise UserError(f"the teacher's logits are not numbers ({path}): train it anew, with force=true")
            if writer is not None:
                kept = None if features is None else answers[..., classes:].mean(1).numpy()
                writer.fill([row for rows, _ in found for row in rows], logits.numpy(), kept)
                read_meter()
    return writer
