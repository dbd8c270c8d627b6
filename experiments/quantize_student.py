"""stage=quantize: make the student a network of integers, write the file, and score that very file."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from data.errors import UserError, unknown
from data.front_end import FrontEnd, build_front_end
from experiments import checkpoint
from experiments.energy import read_energy
from experiments.hardware import computing
from experiments.intervals import difference_intervals
from experiments.paths import CHECKPOINT, LAYERS, MODEL, existing, sha256, write_text
from experiments.predict import predict
from experiments.prepare import Prepared, prepare
from experiments.quantize_tables import show
from experiments.runs import Run
from experiments.score import softmax
from experiments.teaching import Lessons, imitation_loss, read_lessons, student_loss
from experiments.training import batch_size, fit_part
from students import build_student
from students.complexity import tflite_complexity, torch_complexity
from students.quantize.bits import allocate, layer_bytes, measure
from students.quantize.calibrate import calibrate, correct_biases
from students.quantize.fake import FakeQuantized
from students.quantize.fold import fold
from students.quantize.integer import IntegerNetwork
from students.quantize.layers import FoldedNetwork
from students.quantize.read import read_tflite
from students.quantize.runtime import TFLiteModel, has_micro
from students.quantize.tflite import write_tflite

METHODS = ("ptq", "qat")
LEARNS_FROM = ("teachers", "student")
BATCH = 32
PROOFS = 16  # clips
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
    front_end = build_front_end(blueprint.sample_rate, blueprint.mel)
    lessons = _lessons(cfg, prepared)
    inputs = {**prepared.fingerprint, "checkpoint": sha256(path)}
    if lessons is not None:
        inputs["logits"] = lessons.fingerprint
    sources = [path, *(lessons.paths if lessons else ())]
    settings = _settings(cfg)
    if lessons is not None:
        settings["batch_size"] = batch_size(cfg, "quantize", prepared)
    run = Run(cfg, "quantize", settings=settings, inputs=inputs, sources=sources)
    if run.is_done(MODEL, LAYERS):
        show(run.folder)
        return

    folded = fold(network, prepared.picture_shape(front_end))
    bits, layers = choose_bits(cfg.quantize, folded, prepared, front_end, cfg.seed)
    pictures = some_pictures(prepared, front_end, "train", cfg.quantize.clips, cfg.seed)
    integers = calibrate(folded, pictures.split(BATCH), percentile=cfg.quantize.percentile, bits=bits)
    integers = correct_biases(folded, integers, pictures[:BIAS_CLIPS])
    variants = {"integer": integers}
    if lessons is None:
        run.start()
    else:
        trained = _train(cfg, prepared, network, FakeQuantized(folded, integers), front_end, run, lessons)
        variants = {"ptq": integers, "integer": trained.cpu().integers()}
    write_text(run.folder / LAYERS, json.dumps(layers, indent=1))
    metadata = {**dataclasses.asdict(blueprint), "checkpoint_sha256": inputs["checkpoint"]}
    model = write_tflite(variants["integer"], run.folder / MODEL, metadata)

    scores = _accuracies(prepared, network, front_end, variants, model)
    costs = {
        "float": torch_complexity(network, prepared.picture_shape(front_end)),
        "integer": tflite_complexity(model),
    }
    for name, cost in costs.items():
        scores |= {f"{name}/{k}": v for k, v in dataclasses.asdict(cost).items()}
        scores |= {f"{name}/within_limit/{k}": float(v) for k, v in cost.within_limits().items()}
    run.finish(scores | read_energy(run.folder))
    show(run.folder)
    log.info("%s: %d bytes of file (%s)", model.name, model.stat().st_size, run.folder)


def prove(network: IntegerNetwork, model: Path, pictures: torch.Tensor) -> None:
    """Check on some clips that what is scored is what a device computes, to the last bit.

    Raises:
        AssertionError: it is not, which would be a defect of ours.
    """
    expected = network.logits(pictures)
    for kernels in ("device", *(["micro"] if has_micro() else [])):
        found = TFLiteModel(model, kernels=kernels).logits(pictures)
        if not torch.equal(found, expected):
            raise AssertionError(f"{model}: the integer network and the kernels of {kernels} differ; please report it")


def _lessons(cfg: DictConfig, prepared: Prepared) -> Lessons | None:
    """What the student learns from while it is rounded; None: it learns no more."""
    if cfg.quantize.learns_from not in LEARNS_FROM:
        unknown("quantize.learns_from", cfg.quantize.learns_from, LEARNS_FROM)
    if cfg.quantize.method not in METHODS:
        unknown("quantize.method", cfg.quantize.method, METHODS)
    if cfg.quantize.method == "ptq":
        return None
    if cfg.fabric.devices * cfg.fabric.num_nodes > 1:
        raise UserError("quantize.method=qat trains on one device: leave fabric.devices and fabric.num_nodes at 1")
    return read_lessons(cfg, prepared) if cfg.quantize.learns_from == "teachers" else Lessons()


def _settings(cfg: DictConfig) -> dict[str, Any]:
    """What of the config the results depend on."""
    quantize = OmegaConf.to_container(cfg.quantize, resolve=True)
    settings = {"quantize": quantize, "seed": cfg.seed}
    if cfg.quantize.method == "ptq":
        del quantize["fit"]
        return settings
    student = OmegaConf.to_container(cfg.student, resolve=True)
    taught = {key: student[key] for key in ("augment", "distill")}
    return settings | taught | {"learns_from": cfg.distill, "epochs": cfg.epochs, **computing(cfg.fabric)}


def choose_bits(
    cfg: DictConfig, folded: FoldedNetwork, prepared: Prepared, front_end: FrontEnd, seed: int
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Bits of each layer's weights by `quantize.bits`, and the table of the layers: bits, bytes, sensitivities.

    Raises:
        UserError: `bits` is nothing known, or `budget` too small, or one is given without the other.
    """
    wanted = OmegaConf.to_container(cfg.bits) if OmegaConf.is_config(cfg.bits) else cfg.bits
    if (wanted == "auto") != (cfg.budget is not None):
        raise UserError(
            f"quantize.bits={wanted} and quantize.budget={cfg.budget}: bits=auto needs a budget of bytes, and nothing "
            "else uses one"
        )
    sensitivities: Mapping[str, Any] = {}
    if wanted == "auto":
        options = measure(folded, some_pictures(prepared, front_end, "validation", cfg.clips, seed))
        bits = allocate(options, cfg.budget)
        sensitivities = {n: {f"sensitivity_{o.bits}": o.loss for o in found} for n, found in options.items()}
    elif isinstance(wanted, dict):
        bits = {name: wanted.get(name, 8) for name in [*folded.convolutions, *wanted]}
    elif wanted in (4, 8):
        bits = dict.fromkeys(folded.convolutions, wanted)
    else:
        unknown("quantize.bits", wanted, ("8", "4", "auto", "{NAME: 4}"))
    return bits, [
        {"layer": name, "bits": bits[name], "bytes": layer_bytes(layer, bits[name]), **sensitivities.get(name, {})}
        for name, layer in folded.convolutions.items()
    ]


def some_pictures(prepared: Prepared, front_end: FrontEnd, split: str, count: int, seed: int) -> torch.Tensor:
    """Log-mels (n, 1, mels, frames) of at most `count` random clips of a split."""
    if count < 1:
        raise UserError(f"quantize.clips={count} leaves no clip to calibrate on: give at least 1")
    rows = prepared.clips.indices(split)
    chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count].numpy()
    with torch.no_grad():
        return torch.cat([front_end(prepared.store.read(rows[part])) for part in torch.from_numpy(chosen).split(BATCH)])


def _train(
    cfg: DictConfig,
    prepared: Prepared,
    original: torch.nn.Module,
    network: FakeQuantized,
    front_end: FrontEnd,
    run: Run,
    lessons: Lessons,
) -> FakeQuantized:
    part = OmegaConf.create({"fit": cfg.quantize.fit, "augment": cfg.student.augment})
    distill = OmegaConf.to_container(cfg.student.distill)
    if cfg.quantize.learns_from == "student":
        loss = imitation_loss(original, network, distill["temperature"])
    else:
        loss = student_loss(distill)
    targets = {"targets": lessons.targets, "target_shifts": lessons.shifts}
    return fit_part(cfg, part, prepared, network, front_end, run, loss=loss, **targets)


def _accuracies(
    prepared: Prepared,
    network: torch.nn.Module,
    front_end: FrontEnd,
    variants: Mapping[str, IntegerNetwork],
    model: Path,
) -> dict[str, float]:
    """Figures of the test split: of the float student, of integers before they were trained, and of the file."""
    front_end = front_end.cpu()
    batches = prepared.batches("test", batch_size=BATCH, device=torch.device("cpu"))
    probabilities = {"float": predict(network, front_end, batches)[0]}
    test = torch.cat([front_end(batch.waves) for batch in batches.in_order()])
    if "ptq" in variants:
        probabilities["ptq"] = np.concatenate([softmax(variants["ptq"].logits(p).numpy()) for p in test.split(BATCH)])
    shipped, _ = read_tflite(model)
    probabilities["integer"] = softmax(shipped.logits(test).numpy())
    prove(shipped, model, test[:: max(1, len(test) // PROOFS)])
    probabilities["integer_host"] = softmax(TFLiteModel(model, kernels="host").logits(test).numpy())
    scores = {
        f"{name}/{figure}": value
        for name, p in probabilities.items()
        for figure, value in prepared.score("test", p).items()
    }
    rows, clips = prepared.clips.indices("test"), prepared.clips
    recordings, whole = [clips.clips[row].recording for row in rows], probabilities.pop("float")
    for name, found in probabilities.items():
        scores[f"{name}/agreement_with_float"] = float((found.argmax(1) == whole.argmax(1)).mean())
        for figure, (low, high) in difference_intervals(found, whole, clips.labels[rows], recordings).items():
            about = f"{name}/minus_float/{figure}"
            scores[about] = scores[f"{name}/{figure}"] - scores[f"float/{figure}"]
            scores |= {f"{about}/low": low, f"{about}/high": high}
    return scores
