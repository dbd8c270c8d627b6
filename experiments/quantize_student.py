"""stage=quantize: make the student a network of integers, write the file, and score that very file."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from data.errors import UserError
from data.front_end import FrontEnd, build_front_end
from experiments import checkpoint
from experiments.paths import CHECKPOINT, MODEL, existing, sha256
from experiments.predict import predict
from experiments.prepare import Prepared, prepare
from experiments.runs import Run
from experiments.score import softmax
from students import build_student
from students.complexity import LIMITS, Complexity, tflite_complexity, torch_complexity
from students.quantize.calibrate import calibrate, correct_biases
from students.quantize.fold import fold
from students.quantize.runtime import TFLiteModel
from students.quantize.tflite import write_tflite

BATCH = 32
BIAS_CLIPS = 64  # every layer's output of these is held in memory at once, about 10 MB a clip

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Quantise a student's checkpoint; write model.tflite and score.json; print the table."""
    prepared = prepare(cfg)
    path = Path(cfg.checkpoint) if cfg.checkpoint else existing(cfg, "student", CHECKPOINT)
    network, blueprint = checkpoint.load(path, build_student)
    if blueprint.scenes != prepared.clips.scenes or blueprint.sample_rate != prepared.store.sample_rate:
        raise UserError(
            f"{path} was trained for the scenes {list(blueprint.scenes)} at {blueprint.sample_rate} Hz, "
            f"the data set has {list(prepared.clips.scenes)} at {prepared.store.sample_rate} Hz: "
            "give the data set it was trained on"
        )
    inputs = {**prepared.fingerprint, "checkpoint": sha256(path)}
    settings = {"quantize": OmegaConf.to_container(cfg.quantize), "seed": cfg.seed}
    run = Run(cfg, "quantize", settings=settings, inputs=inputs, sources=[path])
    if run.is_done(MODEL):
        Console().print(table(json.loads((run.folder / "score.json").read_text())))
        return

    front_end = build_front_end(blueprint.sample_rate, blueprint.mel)
    folded = fold(network)
    pictures = calibration_pictures(prepared, front_end, cfg.quantize.clips, cfg.seed)
    integers = calibrate(folded, pictures.split(BATCH), percentile=cfg.quantize.percentile)
    integers = correct_biases(folded, integers, pictures[:BIAS_CLIPS])
    run.start()
    metadata = {**dataclasses.asdict(blueprint), "checkpoint_sha256": inputs["checkpoint"]}
    model = write_tflite(integers, run.folder / MODEL, metadata)

    batches = prepared.batches("test", batch_size=BATCH, device=torch.device("cpu"))
    probabilities = {"float": predict(network, front_end, batches)[0]}
    test = torch.cat([front_end(batch.waves) for batch in batches.in_order()])
    for name, kernels in (("integer", "device"), ("integer_host", "host")):
        probabilities[name] = softmax(TFLiteModel(model, kernels=kernels).logits(test).numpy())
    scores = {
        f"{name}/{figure}": value
        for name, p in probabilities.items()
        for figure, value in prepared.score("test", p).items()
    }
    agreement = probabilities["integer"].argmax(1) == probabilities["float"].argmax(1)
    scores["integer/agreement_with_float"] = float(agreement.mean())
    costs = {
        "float": torch_complexity(network, prepared.picture_shape(front_end)),
        "integer": tflite_complexity(model),
    }
    for name, cost in costs.items():
        scores |= {f"{name}/{k}": v for k, v in dataclasses.asdict(cost).items()}
        scores |= {f"{name}/within_limit/{k}": float(v) for k, v in cost.within_limits().items()}
    run.finish(scores)
    Console().print(table(scores))
    log.info("%s: %d bytes of file (%s)", model.name, model.stat().st_size, run.folder)


def calibration_pictures(prepared: Prepared, front_end: FrontEnd, count: int, seed: int) -> torch.Tensor:
    """Log-mels (n, 1, mels, frames) of at most `count` random train clips."""
    if count < 1:
        raise UserError(f"quantize.clips={count} leaves no clip to calibrate on: give at least 1")
    rows = prepared.clips.indices("train")
    chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count].numpy()
    with torch.no_grad():
        return torch.cat([front_end(prepared.store.read(rows[part])) for part in torch.from_numpy(chosen).split(BATCH)])


def table(scores: Mapping[str, float]) -> Table:
    """Float and integer student side by side: accuracy and log loss by subset, then costs against the limits."""
    out = Table(title="test split: accuracy and log loss")
    for column in ("", "float", "integer", "host"):
        out.add_column(column, justify="left" if not column else "right")
    names = ("float", "integer", "integer_host")
    figures = [key.removeprefix("float/") for key in scores if key.startswith("float/accuracy")]
    for figure in figures:
        subset = figure.removeprefix("accuracy").strip("/").replace("/", " ") or "all (macro)"
        loss = figure.replace("accuracy", "log_loss", 1)
        cells = [f"{100 * scores[f'{n}/{figure}']:5.1f} %  {scores[f'{n}/{loss}']:.3f}" for n in names]
        out.add_row(subset, *cells, end_section=figure == figures[-1])
    for cost in (field.name for field in dataclasses.fields(Complexity)):
        limit = f", at most {LIMITS[cost]:,}" if cost in LIMITS else ""
        cells = [f"{int(scores[f'{n}/{cost}']):,}{_verdict(scores.get(f'{n}/within_limit/{cost}'))}" for n in names[:2]]
        out.add_row(cost.replace("_", " ") + limit, *cells, "")
    return out


def _verdict(holds: float | None) -> str:
    return "" if holds is None else "  ok" if holds else "  over"
