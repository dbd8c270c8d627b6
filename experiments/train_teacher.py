"""stage=teacher: train a large network, then let it write down what it thinks of every clip."""

import logging
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from torch.nn import functional as F

from data.batches import Batch
from data.errors import UserError, unknown
from data.front_ends import build_front_end
from experiments import checkpoint
from experiments.hardware import computing, exchange, make_fabric
from experiments.listen import listen, require_room, shifts_of
from experiments.paths import CHECKPOINT, LOGITS, RESUME, existing, sha256
from experiments.prepare import Prepared, prepare
from experiments.runs import Run, is_first
from experiments.training import batch_size, fit_part
from teachers import build_teacher
from teachers.layers import layers_of

ONLY = ("logits",)

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Train the teacher of `cfg.teacher`, unless it is trained already, and write checkpoint, logits and scores."""
    prepared = prepare(cfg)
    if cfg.only is not None and cfg.only not in ONLY:
        unknown("only", cfg.only, ONLY)
    shifts_of(cfg.teacher.shifts, cfg.teacher.augment.roll)  # a mistake is found before the training
    this, path = _trained_before(cfg, prepared) if cfg.only else _trained(cfg, prepared)
    listen(cfg, prepared, this, path)


def _trained(cfg: DictConfig, prepared: Prepared) -> tuple[Run, Path]:
    """The run and its checkpoint, trained now if it is not there."""
    teacher = OmegaConf.to_container(cfg.teacher, resolve=True)
    inputs = dict(prepared.fingerprint)
    if cfg.teacher.weights:
        inputs["weights"] = _fingerprint(cfg.teacher.weights)
    asked = {key: value for key, value in teacher.items() if key != "shifts"}  # which only the logits depend on
    settings = {"teacher": asked, "seed": cfg.seed, "epochs": cfg.epochs, **computing(cfg.fabric)}
    settings["batch_size"] = batch_size(cfg, "teacher", prepared)
    this = Run(cfg, "teacher", settings=settings, inputs=inputs)
    path = this.folder / CHECKPOINT
    if this.is_done(CHECKPOINT):
        return this, path

    torch.manual_seed(cfg.seed)
    arguments = {"classes": len(prepared.clips.scenes), **teacher["arguments"]}
    start = {"pretrained": cfg.teacher.pretrained, "weights": cfg.teacher.weights}
    network = build_teacher(cfg.teacher.builder, **arguments, **start)
    front_end = build_front_end(cfg.data.sample_rate, teacher["mel"])
    seconds = cfg.teacher.augment.crop_seconds or 0
    samples = max(prepared.store.samples, round(seconds * cfg.data.sample_rate))
    require_room(arguments, front_end, samples)

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return F.cross_entropy(logits, batch.labels)

    network = fit_part(cfg, cfg.teacher, prepared, network, front_end, this, loss=loss, layers=layers_of)
    blueprint = checkpoint.Blueprint(
        cfg.teacher.builder,
        {**arguments, "pretrained": False},
        teacher["mel"],
        prepared.clips.scenes,
        cfg.data.sample_rate,
        prepared.fingerprint["clips"],
    )
    if is_first():
        checkpoint.save(path, network, blueprint)
    exchange(make_fabric(cfg.fabric), None)  # the others wait for the file
    return this, path


def _trained_before(cfg: DictConfig, prepared: Prepared) -> tuple[Run, Path]:
    """Of only=logits: the run to write to, and the checkpoint to listen with.

    A teacher's own run stays what it says it is: logits of other data, or those of a job of a sweep, go to another.

    Raises:
        UserError: there is no such checkpoint, or the run's folder holds another training.
    """
    path = Path(cfg.checkpoint) if cfg.checkpoint else existing(cfg, "teacher", CHECKPOINT)
    if not path.is_file():
        raise UserError(f"only=logits needs a trained teacher, and {path} does not exist: leave only=logits out")
    inputs = {**prepared.fingerprint, "checkpoint": sha256(path)}
    this = Run(cfg, "teacher", settings={"only": cfg.only, "shifts": cfg.teacher.shifts}, inputs=inputs, sources=[path])
    if path.resolve().parent == this.folder.resolve():
        if not this.is_finished:
            raise UserError(f"{this.folder} is an unfinished run: run stage=teacher again, without only=logits")
        own = Run.of(cfg, this.folder)
        if any(own.identity["inputs"].get(name) != value for name, value in prepared.fingerprint.items()):
            raise UserError(
                f"{path} was trained on other clips, splits or waves: choose another name, and give checkpoint={path}"
            )
        return own, path
    if (this.folder / CHECKPOINT).exists() or (this.folder / RESUME).exists():
        raise UserError(f"{this.folder} holds a training of its own: choose another name for the logits of {path}")
    if not this.is_done(LOGITS):
        this.start()
    return this, path


def _fingerprint(path: str) -> str:
    """Of a file, or of all files of a folder."""
    files = sorted(file for file in Path(path).rglob("*") if file.is_file()) if Path(path).is_dir() else [path]
    try:
        return " ".join(sha256(file) for file in files)
    except OSError as error:
        raise UserError(f"teacher.weights={path} cannot be read: {error.strerror}") from error
