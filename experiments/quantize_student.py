"""stage=quantize: make the student a network of integers, write the file, and score that very file."""

import copy
import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from data.errors import UserError, unknown
from data.front_ends import FrontEnd, build_front_end
from experiments import checkpoint
from experiments.compare import compare, of_floats, of_integers
from experiments.energy import read_energy
from experiments.hardware import computing
from experiments.paths import CHECKPOINT, LAYERS, MODEL, ONNX, OPERATORS, PROGRAM, existing, sha256, write_text
from experiments.prepare import Prepared, prepare
from experiments.quantize_tables import show
from experiments.runs import Run
from experiments.teaching import Lessons, imitation_loss, read_lessons, student_loss
from experiments.training import batch_size, fit_part
from experiments.widths import HALF, choose_bits, some_pictures, table_of
from students import build_student
from students.complexity import Complexity, tflite_complexity, tflite_operators, torch_complexity
from students.quantize.calibrate import calibrate, correct_biases
from students.quantize.exact import calibrate_exactly
from students.quantize.export import export_float, write_onnx
from students.quantize.fake import FakeQuantized
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.read import read_tflite
from students.quantize.tflite import write_tflite

METHODS = ("ptq", "qat")
EXACT = ("device", "all")
EXPORTS = ("onnx", "torch")
LEARNS_FROM = ("teachers", "student")
BATCH = 32
BIAS_CLIPS = 64  # every layer's output of these is held in memory at once, about 10 MB a clip

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Quantise a student's checkpoint; write model.tflite, layers.json and score.json; print the tables."""
    prepared = prepare(cfg)
    path = Path(cfg.checkpoint) if cfg.checkpoint else existing(cfg, "student", CHECKPOINT)
    network, blueprint = checkpoint.load(path, build_student)
    if blueprint.scenes != prepared.clips.scenes or blueprint.sample_rate != prepared.store.sample_rate:
        raise UserError(
            f"{path} was trained for the scenes {list(blueprint.scenes)} at {blueprint.sample_rate} Hz, "
            f"the data set has {list(prepared.clips.scenes)} at {prepared.store.sample_rate} Hz: "
            "give the data set it was trained on"
        )
    lessons = _lessons(cfg, prepared)
    inputs = {**prepared.fingerprint, "checkpoint": sha256(path)}
    settings, sources = _settings(cfg), [path]
    if lessons is not None:
        inputs["logits"] = lessons.fingerprint
        settings["batch_size"] = batch_size(cfg, "quantize", prepared)
        sources += lessons.paths
    run = Run(cfg, "quantize", settings=settings, inputs=inputs, sources=sources)
    front_end = build_front_end(blueprint.sample_rate, blueprint.mel)
    task = _Task(cfg, prepared, network, blueprint, front_end, lessons, run)
    halved = cfg.quantize.bits == HALF
    if not run.is_done(*([CHECKPOINT] if halved else [MODEL, LAYERS])):
        scores = _halve(task) if halved else _make_integers(task)
        run.finish(scores | read_energy(run.folder))
    _export(task)
    show(run.folder)
    log.info("%s", run.folder)


@dataclass(frozen=True)
class _Task:
    """A student that is to be stored smaller: what of it, by which settings, and where to; without `lessons` it learns
    no more."""

    cfg: DictConfig
    prepared: Prepared
    network: nn.Module
    blueprint: checkpoint.Blueprint
    front_end: FrontEnd
    lessons: Lessons | None
    run: Run

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a picture, (1, 1, mels, frames)."""
        return self.prepared.picture_shape(self.front_end)

    def pictures(self, split: str) -> torch.Tensor:
        """Log-mels (n, 1, mels, frames) of some clips of a split."""
        return some_pictures(self.prepared, self.front_end, split, self.cfg.quantize.clips, self.cfg.seed)


def _halve(task: _Task) -> dict[str, float]:
    """Store the weights as floats of 16 bits; what is scored is what was stored, computed with floats of 32."""
    quantize = task.cfg.quantize
    if quantize.method != "ptq" or quantize.budget is not None or "onnx" in quantize.export:
        raise UserError(f"quantize.bits={HALF} stores floats: it has no quantize.method=qat, budget or ONNX file")
    cost = torch_complexity(task.network, task.shape)
    halves = copy.deepcopy(task.network)
    for name, parameter in halves.named_parameters():  # BatchNorm's statistics may be larger than halves go
        parameter.data = parameter.data.half()
        if not parameter.isfinite().all():
            raise UserError(f"quantize.bits={HALF}: {name} has weights above 65,504, or none that are numbers")
    task.run.start()
    path = task.run.folder / CHECKPOINT
    checkpoint.save(path, halves, task.blueprint)
    stored, _ = checkpoint.load(path, build_student)
    forms = {"float": task.network, "test": stored}
    probabilities = {form: of_floats(task.prepared, network, task.front_end) for form, network in forms.items()}
    halved = dataclasses.replace(cost, parameter_bytes=sum(2 * p.numel() for p in stored.parameters()))
    return compare(task.prepared, probabilities, task.run.folder) | _costs(halved, cost)


def _make_integers(task: _Task) -> dict[str, float]:
    """Write the file of integers, trained or not, and score it."""
    quantize, folder = task.cfg.quantize, task.run.folder
    folded = fold(task.network, task.shape)
    bits, sensitivities = choose_bits(quantize, folded, lambda: task.pictures("validation"))
    pictures, percentile = task.pictures("train"), quantize.percentile
    if quantize.exact == "all":
        folded, integers = calibrate_exactly(folded, pictures.split(BATCH), percentile=percentile)
    else:
        integers = calibrate(
            folded, pictures.split(BATCH), percentile=percentile, bits=bits, activations=quantize.activations
        )
        integers = correct_biases(folded, integers, pictures[:BIAS_CLIPS])
    before = None
    if task.lessons is None:
        task.run.start()
    else:
        integers, before = _train(task, FakeQuantized(folded, integers)), integers
    write_text(folder / LAYERS, json.dumps(table_of(integers, sensitivities), indent=1))
    metadata = {
        **dataclasses.asdict(task.blueprint),
        "exact": integers.exact,
        "checkpoint_sha256": task.run.identity["inputs"]["checkpoint"],
        "licence": f"learnt from the data set {task.prepared.clips.name}, whose licence bears on the use of this file",
    }
    model = write_tflite(integers, folder / MODEL, metadata)
    operators = [dataclasses.asdict(operator) for operator in tflite_operators(model)]
    write_text(folder / OPERATORS, json.dumps(operators, indent=1))
    probabilities = {"float": of_floats(task.prepared, task.network, task.front_end)}
    probabilities |= of_integers(task.prepared, task.front_end, model, before)
    costs = _costs(tflite_complexity(model), torch_complexity(task.network, task.shape))
    return compare(task.prepared, probabilities, folder) | costs


def _costs(stored: Complexity, whole: Complexity) -> dict[str, float]:
    return stored.figures() | {f"float/{name}": value for name, value in whole.figures().items()}


def _train(task: _Task, network: FakeQuantized) -> IntegerNetwork:
    """The integers after the student has learnt to be rounded; the run starts here."""
    cfg, lessons = task.cfg, task.lessons
    part = OmegaConf.create({"fit": cfg.quantize.fit, "augment": cfg.student.augment})
    distill = OmegaConf.to_container(cfg.student.distill)
    if cfg.quantize.learns_from == "student":
        loss = imitation_loss(task.network, network, distill["temperature"])
    else:
        loss = student_loss(distill)

    def freeze(done: int, epochs: int) -> None:
        if done >= epochs - round(cfg.quantize.frozen * epochs):
            network.freeze_steps()

    targets = {"targets": lessons.targets, "target_shifts": lessons.shifts}
    fit_part(cfg, part, task.prepared, network, task.front_end, task.run, loss=loss, **targets, after_epoch=freeze)
    return network.cpu().integers()


def _export(task: _Task) -> None:
    """Write the other files that are asked for and not there."""
    wanted, folder = task.cfg.quantize.export, task.run.folder
    if "torch" in wanted and not (folder / PROGRAM).exists():
        export_float(task.network, task.shape, folder / PROGRAM)
    if "onnx" in wanted and not (folder / ONNX).exists():
        write_onnx(read_tflite(folder / MODEL)[0], folder / ONNX)


def _lessons(cfg: DictConfig, prepared: Prepared) -> Lessons | None:
    """What the student learns from while it is rounded; None: it learns no more."""
    if cfg.quantize.learns_from not in LEARNS_FROM:
        unknown("quantize.learns_from", cfg.quantize.learns_from, LEARNS_FROM)
    if cfg.quantize.exact not in EXACT:
        unknown("quantize.exact", cfg.quantize.exact, EXACT)
    if cfg.quantize.exact == "all" and (cfg.quantize.bits, cfg.quantize.activations) != (8, 8):
        raise UserError("quantize.exact=all stores weights of 6 bits in 8: leave quantize.bits and activations at 8")
    for export in cfg.quantize.export:
        if export not in EXPORTS:
            unknown("quantize.export", export, EXPORTS)
    if cfg.quantize.method not in METHODS:
        unknown("quantize.method", cfg.quantize.method, METHODS)
    if cfg.quantize.method == "ptq":
        return None
    if not 0 <= cfg.quantize.frozen <= 1:
        raise UserError(f"quantize.frozen={cfg.quantize.frozen} is a share of the epochs, from 0 to 1")
    if cfg.student.distill.similarity:
        raise UserError("quantize.method=qat has no similarity term: set student.distill.similarity=0")
    if cfg.fabric.devices * cfg.fabric.num_nodes > 1:
        raise UserError("quantize.method=qat trains on one device: leave fabric.devices and fabric.num_nodes at 1")
    return read_lessons(cfg, prepared) if cfg.quantize.learns_from == "teachers" else Lessons()


def _settings(cfg: DictConfig) -> dict[str, Any]:
    """What of the config the results depend on."""
    quantize = OmegaConf.to_container(cfg.quantize, resolve=True)
    settings = {"quantize": quantize, "seed": cfg.seed}
    del quantize["export"]  # on which nothing else depends
    if cfg.quantize.method == "ptq":
        del quantize["fit"]
        return settings
    student = OmegaConf.to_container(cfg.student, resolve=True)
    taught = {key: student[key] for key in ("augment", "distill")}
    return settings | taught | {"learns_from": cfg.distill, "epochs": cfg.epochs, **computing(cfg.fabric)}
