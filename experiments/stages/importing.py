"""The import stage: a checkpoint or logits of others become a student's or a teacher's run, like those made here.

Conventions: what the network of a file was trained on is not known here; its blueprint, or its logits' identity, says
NOT_OURS in the place of the clips.
"""

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from data.allocation import AllocationLimit
from data.errors import UserError
from data.files import file_sha256
from data.foreign_logits import class_order, read_foreign_logits
from data.front_ends import build_front_end
from data.front_ends.stored_tables import mel_of, stored_tables
from data.logits import LogitsWriter
from data.state_dicts import read_content, state_dict
from data.tensors import Tensors
from experiments.datasets.datamodule import prepare
from experiments.distributed.fabric import make_fabric
from experiments.evaluation.evaluate import in_words
from experiments.inference.student_scores import score_student
from experiments.inference.teacher_logits import evaluate_and_seal
from experiments.report.publish import finish, is_done
from experiments.runs.identity import IMPORTED
from experiments.runs.layout import CHECKPOINT, LOGITS
from experiments.settings.shared import Settings
from experiments.stages.budget import estimate_of
from experiments.stages.context import new_run, require_within_limits
from experiments.stages.published import NOT_OURS
from experiments.stages.whereabouts import layout_of
from experiments.training import checkpoint
from students.complexity import torch_complexity
from students.public_cp_mobile import HEAD, NEEDED, REST, Recovered, recovered

BUILDER = "cp_mobile"
OF_ONE = {"filenames": "logits", "strides": "checkpoint"}  # settings that mean nothing for the other kind of file
TIMES, SPARE, OPERATIONS = 4, 4 << 20, 100_000  # of the file's size, bytes, and of torch: to build a network from it

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py. The network of a checkpoint is built."""
    source = settings.source
    given = [kind for kind in ("checkpoint", "logits") if getattr(source, kind)]
    if len(given) != 1:
        what = "two files, and takes one" if given else "no file"
        raise UserError(f"the import stage is given {what}: give source.checkpoint=FILE or source.logits=FILE")
    if idle := [name for name, kind in OF_ONE.items() if getattr(source, name) is not None and kind not in given]:
        raise UserError(f"source.{idle[0]} is for source.{OF_ONE[idle[0]]}, and source.{given[0]} is given")
    layout_of(settings).folder("student" if source.checkpoint else "teacher")
    if source.checkpoint:
        _network(settings, Path(source.checkpoint), None)


def run(settings: Settings) -> None:
    """Take over the file that is given."""
    if settings.source.checkpoint:
        _import_student(settings, Path(settings.source.checkpoint))
    else:
        _import_logits(settings, Path(str(settings.source.logits)))


def _import_student(settings: Settings, path: Path) -> None:
    """Write checkpoint, tables and scores of a student's run."""
    source, data = settings.source, prepare(settings.data, settings.cache_folder)
    scenes = data.clips.scenes
    found, mel = _network(settings, path, scenes)
    student = {"builder": BUILDER, "size": found.size, "arguments": dict(found.arguments), "mel": mel}
    this = new_run(
        settings,
        "student",
        depends_on={IMPORTED: "checkpoint", "student": student, "source": {"scenes": source.scenes}},
        inputs={**data.fingerprint, "source": file_sha256(path)},
    )
    if is_done(this, CHECKPOINT):
        return
    front_end = build_front_end(settings.data.sample_rate, mel)
    shape = data.spectrogram_shape(front_end)
    cost = torch_complexity(found.network, shape)
    log.info(
        "%s: CP-Mobile of %d parameters and %d multiply-accumulates, %s Global Response Normalization",
        *(path, cost.parameters, cost.macs, "with" if found.arguments["grn"] else "without"),
    )
    _say_what_no_file_says(path, found, mel)
    require_within_limits(cost, f"{path}", "", "warn")
    this.start()
    blueprint = checkpoint.Blueprint(
        BUILDER,
        found.arguments,
        mel,
        scenes,
        settings.data.sample_rate,
        NOT_OURS,
        clip_seconds=settings.data.clip_seconds,
    )
    checkpoint.save(this.folder / CHECKPOINT, found.network, blueprint)
    own = dataclasses.replace(settings, student=dataclasses.replace(settings.student, mel=mel))
    estimate = estimate_of(own, found.network, data.store.samples, len(scenes))
    fabric = make_fabric(settings.fabric)
    network, front_end = found.network.to(fabric.device), front_end.to(fabric.device)
    scores = score_student(network, front_end, data, fabric, this.folder)
    finish(this, cost.metrics() | ({} if isinstance(estimate, str) else estimate.metrics()) | scores)


def _network(settings: Settings, path: Path, scenes: Sequence[str] | None) -> tuple[Recovered, dict[str, object]]:
    """The network of a checkpoint, and the settings of its front end.

    Args:
        settings: of the command.
        path: of the checkpoint.
        scenes: the order that its outputs are brought to; None: they stay as they are.

    Raises:
        UserError: the file is damaged, or of another network; or its front end is not known.
    """
    content = read_content(path)
    tensors = state_dict(content, path, NEEDED, REST)
    try:
        mel = _mel(settings, content)
        with AllocationLimit(TIMES * path.stat().st_size + SPARE, OPERATIONS):
            found = recovered(tensors, settings.source.strides)
        build_front_end(settings.data.sample_rate, mel)
    except UserError as error:
        raise UserError(f"source.checkpoint={path}: {error}") from error
    if scenes is None:
        return found, mel
    order = class_order(path, len(tensors[NEEDED[-1]]), scenes, scenes=settings.source.scenes)
    return recovered(_in_order(tensors, order), settings.source.strides), mel


def _mel(settings: Settings, content: object) -> dict[str, object]:
    """The settings of the front end that a network was trained with.

    Raises:
        UserError: neither the file nor the command says them, or they contradict each other.
    """
    prefix, mel = "student.mel.", settings.student.mel
    given = {key.removeprefix(prefix) for key in settings.given if key.startswith(prefix)}
    if (tables := stored_tables(content)) is not None:
        return mel_of(tables, settings.data.sample_rate, mel, given)
    if "kind" not in given:
        raise UserError(
            "it does not say which log-mels it was trained on: give student.mel.kind=log_mel (public code of 2023) or "
            "student.mel.kind=torchaudio_log_mel (2024 and 2025)"
        )
    return dict(mel)


def _in_order(tensors: Tensors, order: list[int]) -> Tensors:
    """The tensors of a network with its outputs in another order."""
    return {
        name: tensor[order] if name.startswith(f"{HEAD}.") and tensor.ndim else tensor
        for name, tensor in tensors.items()
    }


def _say_what_no_file_says(path: Path, found: Recovered, mel: dict[str, object]) -> None:
    """The strides and the front end that a network is taken to have."""
    strides = ", ".join(f"{block} {'x'.join(map(str, stride))}" for block, stride in found.strides.items())
    known = f"as published with {found.size} parameters" if found.size else "of widths that are not published"
    log.info("%s: strides %s (%s); others are given by source.strides", path, strides or "1x1", known)
    log.info("%s: its log-mels are %s", path, ", ".join(f"{name}={value}" for name, value in mel.items()))
    log.warning("%s: on which clips it was trained is not known, maybe on clips that are held out here", path)


def _import_logits(settings: Settings, path: Path) -> None:
    """Write logits.h5, tables and scores of a teacher's run."""
    source, data = settings.source, prepare(settings.data, settings.cache_folder)
    depends_on = {IMPORTED: "logits", "source": {"scenes": source.scenes}}
    inputs = {**data.fingerprint, "source": file_sha256(path)}
    inputs |= {"filenames": file_sha256(source.filenames)} if source.filenames else {}
    this = new_run(settings, "teacher", depends_on=depends_on, inputs=inputs)
    if is_done(this, LOGITS):
        return
    logits = read_foreign_logits(path, data.clips, filenames=source.filenames, scenes=source.scenes)
    this.start()
    identity = {
        "teacher": IMPORTED,
        "config": json.dumps(depends_on),
        "weights": inputs["source"],
        "trained_on": NOT_OURS,
    }
    target = this.folder / LOGITS
    writer = LogitsWriter(target, data.clips.filenames, data.clips.scenes, {**identity, **data.fingerprint})
    writer.fill(range(len(logits)), logits)
    scores = evaluate_and_seal(writer, data.clips, this.folder)
    finish(this, scores)
    log.info("imported logits: %s (%s)", in_words(scores), target)
