"""The count stage: what model files cost one clip, by the challenge's own rules of counting, and which limits hold."""

import logging
from pathlib import Path

from rich.console import Console

from data.errors import UserError, counted, listed
from data.flatbuffer import read_graph
from experiments.report.counts import device_table, layer_table, limit_table, operator_table, tensor_table
from experiments.report.terminal import Table
from experiments.runs.layout import is_float
from experiments.runs.phases import joules_a_clip
from experiments.runs.relatives import measured_energy
from experiments.settings.shared import Settings
from experiments.stages.whereabouts import models_of
from experiments.submission.layout import EDITIONS
from students.complexity import tflite_complexity, tflite_memory, tflite_operators
from students.limits import Complexity
from students.quantize.metadata import METADATA_NAME

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Print the tables of each file of `model`.

    Raises:
        UserError: files cannot be counted, all of them listed; the tables of the others are printed before.
    """
    failures, paths = [], models_of(settings)
    for path in paths:
        try:
            total, tables = _counted(path)
        except UserError as error:
            failures.append(str(error))
            continue
        log.info("%s: %s", path, counted(total.parameters, "parameter"))
        for table in [*tables, limit_table(total, [*EDITIONS]), *_on_device(path)]:
            Console().print(table)
    if len(failures) == len(paths) == 1:
        raise UserError(failures[0])
    if failures:
        raise UserError(f"{len(failures)} of {len(paths)} files cannot be counted:\n{listed(failures)}")


def _counted(path: Path) -> tuple[Complexity, list[Table]]:
    """The costs of a file, and their tables."""
    if is_float(path):
        from experiments.models.costs import checkpoint_costs  # loads torch, which TFLite files do not need

        total, layers = checkpoint_costs(path)
        return total, [layer_table(layers, total)]
    total, (tensors, alive) = tflite_complexity(path), tflite_memory(path)
    return total, [tensor_table(tensors), operator_table(tflite_operators(path), alive, total)]


def _on_device(path: Path) -> list[Table]:
    """The table of what a file of ours is estimated to cost a device; where it has no form there, it is said why."""
    if not (is_float(path) or read_graph(path).metadata(METADATA_NAME)):
        return []  # and torch, which estimates need, is not loaded
    from experiments.models.on_device import device_estimate

    found = device_estimate(path)
    if isinstance(found, str):
        log.info("no estimate for devices: %s", found)
        return []
    return [device_table(found, joules_a_clip(measured_energy(path)), is_float=is_float(path))]
