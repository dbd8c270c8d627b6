"""The quantize stage: make the student a network of integers, write the file, and score that very file."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from data.files import file_sha256
from data.front_ends import FrontEnd, build_front_end
from experiments.datasets.datamodule import DataModule, prepare, require_held_out
from experiments.evaluation.metrics import softmax
from experiments.models.on_device import device_estimate
from experiments.quantization.bits import HALF, MEASURED, choose_bits, layer_rows
from experiments.quantization.checks import deployed_mel, require_form, require_training, require_valid
from experiments.quantization.confidence import CHOSEN, check_confidence, confidence_scores, fit_confidence
from experiments.quantization.convert import calibrated, halved, say_what_changed
from experiments.quantization.devices import add_sets, float_cost, load_sets
from experiments.quantization.exports import export_missing
from experiments.quantization.forms import FLOAT, STORED, compare, costs, float_probabilities, integer_logits
from experiments.quantization.held_out import require_not_validated_on
from experiments.quantization.metadata import metadata_of
from experiments.report.confidence import confidence_tables
from experiments.report.forms import quantization_tables
from experiments.report.publish import finish, is_done
from experiments.runs.energy import measured, with_cost
from experiments.runs.formats import Metered
from experiments.runs.layout import CHECKPOINT, LAYERS, MODEL, OPERATORS, write_text
from experiments.runs.reader import read_energy, read_run
from experiments.runs.record import Run
from experiments.settings.parts import Quantize, Recipe
from experiments.settings.shared import Settings
from experiments.stages.context import new_run
from experiments.stages.external import uses_of_responses
from experiments.stages.fitting import fitted_identity, fitted_recipe, quantize_identity, with_fitted_augmentation
from experiments.stages.same_data import as_trained_on, at_rate_of
from experiments.stages.training import (
    require_trainable,
    spectrogram_shape,
    student_arguments,
    targets_of,
    trainer_of,
    without_features,
)
from experiments.stages.whereabouts import layout_of
from experiments.training import checkpoint
from experiments.training.devices import Weights
from experiments.training.distillation import Targets, imitation_loss, student_loss
from students import build_student
from students.complexity import tflite_complexity, tflite_operators, torch_complexity
from students.quantize.fake import FakeQuantized
from students.quantize.fold import FoldedNetwork, fold
from students.quantize.integer import IntegerNetwork
from students.quantize.tflite import write_tflite

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py. A student that this command is to train first is built, and must have the form."""
    own = settings.of(Quantize)
    layout_of(settings).folder("quantize")
    require_valid(own)
    for what, is_wanted in ((MEASURED, own.bits == "auto"), (CHOSEN, own.answered_accuracy is not None)):
        if is_wanted:
            require_held_out(settings.data, what)
    shape = None
    if "student" in settings.steps and settings.checkpoint is None:
        shape = spectrogram_shape(settings, "student")
        arguments = student_arguments(settings.student, 10, shape)
        require_form(own, build_student(settings.student.builder, **arguments), shape)
        deployed_mel(own, settings.data.sample_rate, settings.student.mel)
    if own.method == "qat":
        student_loss(settings.student.distill)
        require_training(settings.student.distill, settings.fabric)
        require_trainable(settings, "quantize", own.fit, settings.student.augment, shape)


def run(settings: Settings) -> None:
    """Quantise a student's checkpoint; write model.tflite, layers.json and score.json; print the tables."""
    settings = without_features(settings)
    own = settings.of(Quantize)
    path = Path(settings.checkpoint) if settings.checkpoint else layout_of(settings).existing("student", CHECKPOINT)
    network, blueprint, sets = load_sets(path, own)
    settings = at_rate_of(blueprint, settings)
    first_data = prepare(settings.data, settings.cache_folder)
    data = as_trained_on(path, blueprint, first_data)
    settings = with_fitted_augmentation(settings, "student", data)
    targets = _targets(settings, data, first_data)
    trained = build_front_end(blueprint.sample_rate, blueprint.mel)
    blueprint = replace(blueprint, mel=deployed_mel(own, blueprint.sample_rate, blueprint.mel))
    front_end = build_front_end(blueprint.sample_rate, blueprint.mel)
    inputs = {**data.fingerprint, "checkpoint": file_sha256(path)}
    depends_on, sources = quantize_identity(settings), [path]
    recipe = own.fit
    if targets is not None:
        inputs |= targets.inputs
        recipe = fitted_recipe(settings, "quantize", own.fit, data)
        depends_on |= {"batch_size": recipe.batch_size, **fitted_identity(own.fit.lasting(settings.epochs), recipe)}
        sources += targets.paths
    this = new_run(settings, "quantize", depends_on=depends_on, inputs=inputs, sources=sources)
    task = _Task(settings, data, first_data, path, network, sets, blueprint, trained, front_end, targets, recipe, this)
    if not is_done(this, *([CHECKPOINT] if own.bits == HALF else [MODEL, LAYERS])):
        this.external = [] if targets is None else uses_of_responses(data, settings.student.augment)
        scores = _halve(task) if own.bits == HALF else _make_integers(task)
        finish(this, scores | read_energy(this.folder))
    export_missing(own.export, this.folder, network, task.shape)
    for table in [*quantization_tables(read := read_run(this.folder)), *confidence_tables(read.scores)]:
        Console().print(table)
    log.info("%s", this.folder)


@dataclass(frozen=True)
class _Task:
    """A student that is to be stored smaller: what of it, by which settings, and where to; without `targets` it is not
    trained any more. `sets` are of recording devices; `trained` is the front end that the student was trained with,
    `front_end` that of the smaller form, of which the `blueprint` is. `data` is divided as it was for the student,
    `first_data` as the settings say."""

    settings: Settings
    data: DataModule
    first_data: DataModule
    path: Path
    network: nn.Module
    sets: Mapping[str, Weights]
    blueprint: checkpoint.Blueprint
    trained: FrontEnd
    front_end: FrontEnd
    targets: Targets | None
    recipe: Recipe
    run: Run

    @property
    def own(self) -> Quantize:
        """Of the settings, those of this stage."""
        return self.settings.of(Quantize)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a log-mel, (1, 1, mels, frames)."""
        return self.data.spectrogram_shape(self.front_end)

    def spectrograms(self, data: DataModule, split: str) -> torch.Tensor:
        """Log-mels (n, 1, mels, frames) of some clips of a split."""
        return data.spectrograms(self.front_end, split, self.own.clips, self.settings.seed)


def _halve(task: _Task) -> dict[str, float]:
    """Store the weights as floats of 16 bits; what is scored is what was stored, computed with floats of 32."""
    cost = torch_complexity(task.network, task.shape)
    smaller = halved(task.network)
    task.run.start()
    path = task.run.folder / CHECKPOINT
    checkpoint.save(path, smaller, task.blueprint)
    stored, _ = checkpoint.load_student(path)
    probabilities = {
        form: float_probabilities(task.data, network, task.trained)
        for form, network in ((FLOAT, task.network), (STORED, stored))
    }
    cheaper = cost._replace(parameter_bytes=sum(2 * p.numel() for p in stored.parameters()))
    return compare(task.data, probabilities, task.run.folder) | costs(cheaper, cost)


def _make_integers(task: _Task) -> dict[str, float]:
    """Write the file of integers, trained or not, and score it; all that leads to the file is metered."""
    own, folder, held_out = task.own, task.run.folder, task.first_data
    check_confidence(own, task.path, held_out)
    (folded, integers, sensitivities), cost = with_cost(lambda: _calibrated(task))
    before = None
    if task.targets is None:
        task.run.start()
    else:
        integers, before = _train(task, task.targets, FakeQuantized(folded, integers), cost), integers
    with measured(folder, task.run.stage, earlier=cost if before is None else None):
        write_text(folder / LAYERS, json.dumps(layer_rows(integers, sensitivities), indent=1))
        trained_on, digest = task.blueprint.clips, task.run.identity["inputs"]["checkpoint"]
        fitted = fit_confidence(own, integers, task.path, trained_on, held_out, task.front_end, task.settings.seed)
        metadata = metadata_of(integers, task.blueprint, digest, task.data, fitted.described())
        model = write_tflite(integers, folder / MODEL, metadata)
    write_text(folder / OPERATORS, json.dumps([each._asdict() for each in tflite_operators(model)], indent=1))
    probabilities = {FLOAT: float_probabilities(task.data, task.network, task.trained, task.sets)}
    logits = integer_logits(task.data, task.front_end, model, before, task.trained)
    probabilities |= {form: softmax(found) for form, found in logits.items()}
    found = costs(tflite_complexity(model), float_cost(task.network, task.sets, task.shape))
    on_device = device_estimate(model)
    found |= {} if isinstance(on_device, str) else on_device.metrics()
    found |= confidence_scores(fitted, integers.output, logits[STORED], task.data)
    return compare(task.data, probabilities, folder) | found


def _calibrated(task: _Task) -> tuple[FoldedNetwork, IntegerNetwork, Mapping[str, Mapping[str, float]]]:
    """The network folded, its integers before any training, and how much each layer's bits cost in accuracy, if the
    bits are chosen by that."""
    own, held_out, spectrograms = task.own, task.first_data, task.spectrograms(task.data, "train")
    unheard = folded = fold(task.network, task.shape, spectrograms)
    if own.bits == "auto":  # bits are chosen by a network that did not hear the clips held out
        first = require_not_validated_on(task.path, held_out, MEASURED, "quantize.bits=8")
        unheard = fold(first, task.shape, task.spectrograms(held_out, "train"))
    bits, sensitivities = choose_bits(own.bits, own.budget, unheard, lambda: task.spectrograms(held_out, "validation"))
    folded, integers = calibrated(
        folded,
        spectrograms,
        bits=bits,
        activations=own.activations,
        percentile=own.percentile,
        exact=own.exact == "all",
    )
    if task.targets is None:
        say_what_changed(task.network, integers, spectrograms)
        integers = add_sets(integers, task.network, task.sets, task.shape, spectrograms)
    return folded, integers, sensitivities


def _train(task: _Task, targets: Targets, network: FakeQuantized, earlier: Metered) -> IntegerNetwork:
    """The integers after the student was trained while it is rounded; the run starts here."""
    own, distill = task.own, task.settings.student.distill
    if own.learns_from == "student":
        loss = imitation_loss(task.network, network, distill.softness)
    else:
        loss = student_loss(distill)

    def freeze(done: int, epochs: int) -> None:
        if done >= epochs - round(own.frozen * epochs):
            network.freeze_steps()

    require_trainable(task.settings, "quantize", own.fit, task.settings.student.augment, task.shape)
    trainer_of(task.settings, task.recipe, task.settings.student.augment).train(
        task.run,
        task.data,
        network,
        task.front_end,
        loss=loss,
        targets=targets.logits,
        target_shifts=targets.shifts,
        after_epoch=freeze,
        earlier=earlier,
    )
    return network.cpu().integers()


def _targets(settings: Settings, data: DataModule, held_out: DataModule) -> Targets | None:
    """What the student is trained on while it is rounded; None: it is not trained any more."""
    own = settings.of(Quantize)
    if own.method == "ptq":
        return None
    return Targets() if own.learns_from == "student" else targets_of(settings, data, held_out)
