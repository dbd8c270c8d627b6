"""Metrics of a student, and the tables of its predictions for the test split."""

import logging
from pathlib import Path

from lightning_fabric import Fabric
from torch import nn

from data.front_ends import FrontEnd
from experiments.datasets.datamodule import DataModule
from experiments.distributed.processes import is_first
from experiments.evaluation.evaluate import evaluate_and_save, in_words, split_metrics
from experiments.inference.network import predict

BATCH = 64  # clips whose logits are computed at once

log = logging.getLogger(__name__)


def score_student(
    network: nn.Module, front_end: FrontEnd, data: DataModule, fabric: Fabric, folder: Path
) -> dict[str, float]:
    """Metrics of the clips held out and of the test split, whose tables are written; empty in other processes than the
    first.

    Args:
        network, front_end: on the device of `fabric`.
        data: the data set, with labels.
        fabric: whose processes share the work.
        folder: of the run.
    """
    *validated, tested = (
        predict(network, front_end, data.batches(split, batch_size=BATCH, device=fabric.device), fabric)[0]
        for split in data.clips.scored
    )
    if not is_first():
        return {}
    scores = evaluate_and_save(data.clips, tested, folder)
    for probabilities in validated:
        scores = split_metrics(data.clips, "validation", probabilities) | scores
    log.info("student: %s (%s)", in_words(scores), folder)
    return scores
