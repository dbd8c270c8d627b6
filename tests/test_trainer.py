"""A training within a run: what is refused before it begins, and what is said while it goes on."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from data.augmentation import Augmentation
from data.batches import Batch
from data.errors import UserError
from data.front_ends.log_mel import LogMel
from data.scenes import ClipSet
from data.waves import WaveStore
from experiments.datasets.datamodule import DataModule
from experiments.runs.layout import NOT_FINITE, RECORD
from experiments.runs.record import Run
from experiments.settings.parts import Hardware, Recipe
from experiments.training import trainer
from experiments.training.trainer import Trainer

RECIPE = Recipe(
    epochs=3, batch_size=8, learning_rate=1e-3, weight_decay=0.0, constant_until=3, down_over=0, floor=1.0, keep="last"
)
CPU = Hardware(accelerator="cpu", compile=False)


def trainer_of(augmentation: Augmentation | None = None, hardware: Hardware = CPU, **recipe: object) -> Trainer:
    return Trainer(
        recipe=Recipe(**{**vars(RECIPE), **recipe}),
        augmentation=augmentation or Augmentation(),
        hardware=hardware,
        residency="disk",
        seed=0,
    )


def small() -> tuple[nn.Module, LogMel]:
    """A network that learns little and quickly, and its front end."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(64, 10))
    return network, LogMel(mels=16, fft=1024, window=1024, hop=4000)


def cross_entropy(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    return F.cross_entropy(logits, batch.labels)


class AllowedError(Exception):
    """Nothing was refused: the clips are asked for."""


def begin(of: Trainer, folder: Path, **more: object) -> None:
    def batches(*_: object, **__: object) -> None:
        raise AllowedError

    data = SimpleNamespace(batches=batches)
    of.train(Run(folder, settings={}, inputs={}), data, *small(), loss=cross_entropy, **more)


TARGETS = np.zeros((1, 10), np.float32)


@pytest.mark.parametrize(
    ("settings", "more", "message"),
    [
        ({"hardware": Hardware(accelerator="cpu", sync_batchnorm=True)}, {}, "sync_batchnorm=true needs CUDA"),
        ({"layer_decay": 0.5}, {}, "are for teachers"),
        ({"frozen_layers": 1}, {}, "are for teachers"),
        ({"augmentation": Augmentation(crop=True)}, {"targets": TARGETS}, "a student's target logits"),
        ({"augmentation": Augmentation(crop=True)}, {}, None),
        ({}, {"targets": TARGETS}, None),
        ({"accumulate": 4}, {}, None),
    ],
)
def test_what_cannot_be_is_refused_before_the_run_is_touched(
    tmp_path: Path, settings: dict, more: dict, message: str | None
) -> None:
    """Oracle: the message and an absent folder; each of two things that exclude each other is taken alone."""
    with pytest.raises(UserError if message else AllowedError, match=message):
        begin(trainer_of(**settings), tmp_path / "run", **more)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("parts", "processes", "most"), [(2, 2, None), (3, 2, 2), (4, 1, None), (2, 3, 1)])
def test_parts_of_a_batch_have_two_clips_on_every_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int, processes: int, most: int | None
) -> None:
    """Oracle: by hand: 8 clips are 4 on each of two devices, and 2 on each of three: so many halves of it."""
    fabric = SimpleNamespace(device=torch.device("cpu"), world_size=processes)
    monkeypatch.setattr(trainer, "make_fabric", lambda _: fabric)
    with pytest.raises(UserError if most else AllowedError, match=f"give at most {most}" if most else None):
        begin(trainer_of(accumulate=parts), tmp_path / "run")


@pytest.fixture
def data(miniature: ClipSet, miniature_waves: WaveStore) -> DataModule:
    return DataModule(miniature, miniature_waves, None)


def train(folder: Path, data: DataModule, of: Trainer | None = None, **more: object) -> nn.Module:
    network, front_end = small()
    run = Run(folder, settings={}, inputs={})
    return (of or trainer_of()).train(run, data, network, front_end, **{"loss": cross_entropy, **more})


@pytest.mark.parametrize(("least", "is_said"), [(None, False), (105, False), (106, True)])
def test_a_training_of_few_steps_is_said_to_be_under_trained(
    data: DataModule, tmp_path: Path, caplog: pytest.LogCaptureFixture, least: int | None, is_said: bool
) -> None:
    """Oracle: by hand: 280 clips in batches of 8 are 35 steps, three times."""
    run = Run(tmp_path / "run", settings={}, inputs={})
    trainer_of(least_steps=least).train(run, data, *small(), loss=cross_entropy)
    said = [record.getMessage() for record in caplog.records if "under-trained" in record.getMessage()]
    assert bool(said) == is_said
    assert all("105 steps" in each and "wants 106" in each for each in said)


@pytest.mark.parametrize("average", [{"ema": 0.5}, {"average": 0.5}])
def test_a_training_says_what_is_left_and_goes_on_where_it_was_stopped(
    data: DataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, average: dict
) -> None:
    """Oracle: a clock that a training reads once at its beginning and once an epoch, and that goes on 10 s each time:
    after one of three epochs 20 s are left; of two that are left when it goes on, 10 s after the first. The weights are
    those of a training that was not stopped."""
    caplog.set_level("INFO")
    clock, done, clips = iter(range(1000, 2000, 10)), [], []
    monkeypatch.setattr(trainer, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(trainer, "compile_mode", lambda mode, device, seen: clips.append(seen))

    def note(epoch: int, epochs: int) -> None:
        done.append((epoch, epochs))
        if done == [(0, 3), (1, 3)]:
            raise InterruptedError

    averaging = trainer_of(**average)  # whose state says how often it was updated
    expected = train(tmp_path / "whole", data, averaging)
    lefts = [record.getMessage().rsplit("  ", 1)[1] for record in caplog.records if "clips/s" in record.getMessage()]
    assert lefts == ["0:00:20 left", "0:00:10 left", "0:00:00 left"]
    assert clips[-1] == 3 * len(data.clips.indices("train"))
    with pytest.raises(InterruptedError):
        train(tmp_path / "parts", data, averaging, after_epoch=note)
    caplog.clear()
    found = train(tmp_path / "parts", data, averaging, after_epoch=note)
    assert "going on after epoch 1 of 3" in caplog.text
    lefts = [record.getMessage().rsplit("  ", 1)[1] for record in caplog.records if "clips/s" in record.getMessage()]
    assert lefts == ["0:00:10 left", "0:00:00 left"]
    assert done == [(0, 3), (1, 3), (1, 3), (2, 3), (3, 3)]
    for name, value in found.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name])


def test_without_held_out_clips_the_last_weights_are_kept(
    data: DataModule, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the weights of the same training that was to keep the last ones, and the log, which then has no metrics
    of the validation split; with held-out clips it has, and nothing else is kept than was asked for."""
    caplog.set_level("INFO")
    train(tmp_path / "held out", data, trainer_of(keep="best", epochs=1, constant_until=1))
    assert "the last weights are kept" not in caplog.text
    assert "  validation accuracy 0." in caplog.text
    caplog.clear()
    clips = [clip._replace(split="train") if clip.split == "validation" else clip for clip in data.clips.clips]
    whole = replace(data, clips=replace(data.clips, clips=clips))
    networks = [train(tmp_path / keep, whole, trainer_of(keep=keep)) for keep in ("best", "last")]
    assert caplog.text.count("no clips are held out: the last weights are kept") == 1
    assert "validation" not in caplog.text
    assert all(map(torch.equal, *(network.state_dict().values() for network in networks)))


def test_clips_whose_loss_is_no_number_are_listed(data: DataModule, tmp_path: Path) -> None:
    """Oracle: the names of the first batch that the loss was given."""
    seen: list[torch.Tensor] = []

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        seen.append(batch.rows)
        return logits.sum() * torch.nan

    with pytest.raises(UserError, match=r"its clips are in .*begin anew with force=true"):
        train(tmp_path / "run", data, loss=loss)
    names = (tmp_path / "run" / NOT_FINITE).read_text().splitlines()
    assert names == [data.clips.filenames[row] for row in seen[0]]
    assert not (tmp_path / "run" / RECORD).exists()
