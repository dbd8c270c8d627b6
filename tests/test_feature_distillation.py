"""A student that learns its teacher's features: what is compared, what is trained, and what becomes of it."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from command import QUICK, run
from torch import nn

from data.augment import Mixing
from data.augmentation import Augmentation
from data.batches import Batch, Batches
from data.errors import UserError
from data.feature_targets import read_features, standardised
from data.front_ends import build_front_end
from data.front_ends.log_mel import LogMel
from data.logits import LogitsWriter, load_logits
from data.logits_file import FeatureColumn
from data.scenes import ClipSet
from data.waves import WaveStore
from experiments.datasets.datamodule import DataModule
from experiments.run import resolve
from experiments.runs.layout import RESUME
from experiments.runs.record import Run
from experiments.settings.parts import Distillation, Hardware, Recipe
from experiments.stages import student as student_stage
from experiments.stages import teacher as teacher_stage
from experiments.training import checkpoint
from experiments.training.arrays import train_on_arrays
from experiments.training.distillation import read_targets, student_loss
from experiments.training.projection import Projected
from experiments.training.trainer import Trainer
from students.distill import feature_loss
from teachers import build_teacher

LEARNS = Distillation(features=3.0)
SHAPE = (1, 1, 16, 9)
FRONT_END = {"mels": 16, "fft": 1024, "window": 1024, "hop": 4000}


def small(channels: int | None = 6) -> tuple[nn.Module, nn.Module]:
    """A student with BatchNorm, and the same as one that learns so many channels (None: no features)."""
    torch.manual_seed(0)
    student = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 10),
    )
    return student, student if channels is None else Projected(student, "pooled", SHAPE, channels)


def batch_of(targets: torch.Tensor, features: torch.Tensor | None) -> Batch:
    labels, nobody = torch.tensor([0, 2, 1, 1, 0]), torch.zeros(5, dtype=torch.bool)
    return Batch(torch.arange(5), torch.zeros(5, 4), labels, nobody, targets, features)


def test_the_loss_is_that_of_labels_and_logits_and_the_weighted_difference(generator: torch.Generator) -> None:
    """Oracle: the terms by hand, from the pooled input of the classifier and the projection's own weights; without
    features of a teacher, or in evaluation mode, the student is as it is alone."""
    student, learner = small()
    spectrograms = torch.randn(5, *SHAPE[1:], generator=generator)
    targets, features = torch.randn(5, 10, generator=generator), torch.randn(5, 6, generator=generator)
    loss, plain = student_loss(LEARNS), student_loss(Distillation())
    answer = learner.train()(spectrograms)
    pooled = student[2](student[1](student[0](spectrograms))).mean((2, 3))
    projected = pooled @ learner.projection.weight.T + learner.projection.bias
    found, difference = loss(answer, batch_of(targets, features)), ((projected - features) ** 2).mean()
    torch.testing.assert_close(found.terms["feature_loss"], difference)
    torch.testing.assert_close(found.loss, plain(student(spectrograms), batch_of(targets, None)).loss + 3 * difference)
    assert torch.equal(loss(answer, batch_of(targets, None)).loss, plain(answer[0], batch_of(targets, None)).loss)
    assert torch.equal(learner.eval()(spectrograms), student.eval()(spectrograms))


def test_a_student_whose_features_are_the_teacher_s_has_nothing_to_learn(generator: torch.Generator) -> None:
    """Oracle: with the identity as projection and its own features as targets the term is 0 and so is its gradient;
    with other targets a gradient reaches student and projection."""
    student, learner = small(4)
    with torch.no_grad():
        learner.projection.weight.copy_(torch.eye(4))
        learner.projection.bias.zero_()
    spectrograms = torch.randn(5, *SHAPE[1:], generator=generator)
    _, projected = learner.train()(spectrograms)
    own = projected.detach()
    feature_loss(projected, own).backward()
    assert feature_loss(projected, own).item() == 0
    assert all(p.grad is None or not p.grad.any() for p in learner.parameters())
    _, projected = learner(spectrograms)
    feature_loss(projected, own + 1).backward()
    assert student[0].weight.grad.abs().max() > 0
    assert learner.projection.bias.grad.abs().max() > 0


def test_features_are_mixed_and_divided_as_the_clips_are(generator: torch.Generator) -> None:
    """Oracle: w * own + (1 - w) * partner's by hand; the parts of a batch put together again."""
    features = torch.randn(5, 6, generator=generator)
    batch = batch_of(torch.randn(5, 10, generator=generator), features)
    partners, weights = torch.tensor([1, 2, 3, 4, 0]), torch.tensor([0.1, 0.3, 0.5, 0.8, 1.0])
    mixed = batch.mixed(Mixing(partners, weights), 10).features
    for row in range(5):
        expected = weights[row] * features[row] + (1 - weights[row]) * features[partners[row]]
        torch.testing.assert_close(mixed[row], expected)
    assert torch.equal(torch.cat([part.features for part in batch.split(2)]), features)


@pytest.fixture
def data(miniature: ClipSet, miniature_waves: WaveStore) -> DataModule:
    """A fourth of the clips; the others are not used."""
    clips = [clip if row % 4 == 0 else clip._replace(split="unused") for row, clip in enumerate(miniature.clips)]
    return DataModule(dataclasses.replace(miniature, clips=clips), miniature_waves, None)


@pytest.fixture
def features(data: DataModule) -> np.ndarray:
    """Standardised features of six channels, of all clips."""
    found = np.random.default_rng(0).normal(size=(len(data.clips.clips), 6)).astype(np.float16)
    return standardised(found, data.clips.indices("train"))


def trained(
    folder: Path, data: DataModule, learner: nn.Module, distillation: Distillation, **more: object
) -> nn.Module:
    recipe = Recipe(
        epochs=3, batch_size=16, learning_rate=1e-2, weight_decay=0.0, constant_until=3, down_over=0, floor=1.0, ema=0.5
    )
    augmentation = Augmentation(roll=4000, mixup_p=0.5)
    hardware = Hardware(accelerator="cpu", compile=False)
    trainer = Trainer(recipe=recipe, augmentation=augmentation, hardware=hardware, residency="memory", seed=0)
    logits = np.random.default_rng(1).normal(size=(len(data.clips.clips), 10)).astype(np.float32)
    arguments = {"loss": student_loss(distillation), "targets": logits, **more}
    return trainer.train(Run(folder, settings={}, inputs={}), data, learner, LogMel(**FRONT_END), **arguments)


@pytest.mark.slow  # trains two students
def test_features_are_learnt_better_by_who_learns_them(data: DataModule, features: np.ndarray, tmp_path: Path) -> None:
    """Oracle: teacher's features that are a function of the clips (the mean of each of six bands of their log-mels):
    after three epochs a student is closer to them than at its beginning, by the loss over all train clips, and closer
    than a student that is trained with weight 0, whose projection is left as it was."""
    front_end, rows = LogMel(**FRONT_END, edge_jitter=0).eval(), data.clips.indices("train")
    with torch.no_grad():
        spectrograms = front_end(data.store.read(np.arange(len(data.clips.clips))))
    bands = spectrograms[:, 0, :6].mean(2).numpy().astype(np.float16)
    wanted = standardised(bands, rows)

    def distance(learner: nn.Module) -> float:
        with torch.no_grad():
            _, projected = learner.train()(spectrograms[rows])
        return feature_loss(projected, torch.from_numpy(wanted[rows])).item()

    found = {"before": distance(small()[1])}
    for weight in (0.0, 10.0):
        learner = small()[1]
        trained(tmp_path / f"{weight}", data, learner, Distillation(features=weight), features=wanted)
        found[f"{weight}"] = distance(learner)
    assert found["10.0"] < 0.9 * found["before"]
    assert found["10.0"] < 0.9 * found["0.0"]


def test_without_features_a_training_is_as_it_was(data: DataModule, features: np.ndarray, tmp_path: Path) -> None:
    """Oracle: bit equality with the training of the student alone: with weight 0, and without features of a teacher;
    with both it is another one."""
    expected = trained(tmp_path / "alone", data, small(None)[1], Distillation()).state_dict()
    for name, weight, given in (("weight", 0.0, features), ("features", 3.0, None), ("both", 3.0, features)):
        student, learner = small()
        trained(tmp_path / name, data, learner, Distillation(features=weight), features=given)
        assert student.state_dict().keys() == expected.keys()
        same = all(torch.equal(value, expected[key]) for key, value in student.state_dict().items())
        assert same == (name != "both")


def test_a_training_with_features_goes_on_where_it_was_stopped(
    data: DataModule, features: np.ndarray, tmp_path: Path
) -> None:
    """Oracle: bit equality of student and projection with a training that was not stopped, with an average of weights
    and mixup; a state without the projection, or of other channels, is refused."""

    def stop(done: int, epochs: int) -> None:
        if done == 2:
            raise InterruptedError

    whole, parts = small()[1], small()[1]
    trained(tmp_path / "whole", data, whole, LEARNS, features=features)
    with pytest.raises(InterruptedError):
        trained(tmp_path / "parts", data, parts, LEARNS, features=features, after_epoch=stop)
    state = (tmp_path / "parts" / RESUME).read_bytes()
    assert "projection.weight" in torch.load(tmp_path / "parts" / RESUME)["network"]
    parts = small()[1]
    trained(tmp_path / "parts", data, parts, LEARNS, features=features)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    for channels in (None, 5):
        folder = tmp_path / f"other {channels}"
        folder.mkdir()
        (folder / RESUME).write_bytes(state)
        given = {} if channels is None else {"features": features[:, :channels].copy()}
        with pytest.raises(UserError, match=r"damaged \(network: .*delete it, or give force=true"):
            trained(folder, data, small(channels)[1], LEARNS, **given)


def write(path: Path, names: list[str], values: np.ndarray, features: np.ndarray) -> Path:
    column = FeatureColumn("pooled", features.shape[1])
    writer = LogitsWriter(path, names, ("x", "y"), {"trained_on": "clips"}, (-5, 0, 5), column)
    writer.fill(range(len(names)), values, features)
    writer.seal()
    return path


def test_the_order_of_a_file_changes_nothing(tmp_path: Path, generator: torch.Generator) -> None:
    """Oracle: the targets of the same file in another order; with the nearest shift's logits the features are the same,
    and without a weight there are none."""
    names, order = [f"{i}.wav" for i in range(8)], torch.randperm(8, generator=generator).numpy()
    draw = np.random.default_rng(3)
    values, kept = draw.normal(size=(8, 3, 2)).astype(np.float32), draw.normal(size=(8, 5)).astype(np.float32)
    paths = [
        write(tmp_path / "a.h5", names, values, kept),
        write(tmp_path / "b.h5", [names[i] for i in order], values[order], kept[order]),
    ]
    clips = SimpleNamespace(
        filenames=names, scenes=("x", "y"), is_labelled=True, is_multi_label=False, indices=lambda _: np.arange(5)
    )
    data = SimpleNamespace(clips=clips, before=None, fingerprint={"clips": "clips"})
    found = [read_targets([path], data, LEARNS) for path in paths]
    np.testing.assert_array_equal(found[0].features, found[1].features)
    np.testing.assert_array_equal(found[0].features, standardised(kept.astype(np.float16), np.arange(5)))
    nearest = read_targets(paths[:1], data, dataclasses.replace(LEARNS, shifts="nearest"))
    np.testing.assert_array_equal(nearest.features, found[0].features)
    assert nearest.logits.shape == (8, 3, 2)
    assert read_targets(paths[:1], data, Distillation()).features is None


def test_batches_have_the_features_of_their_clips(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: features that say of which clip they are."""
    features = np.arange(len(miniature.clips), dtype=np.float16)[:, None].repeat(3, axis=1)
    some = Batches(
        miniature_waves,
        miniature.indices("train")[::7],
        miniature.labels,
        miniature.from_reference_device,
        batch_size=8,
        features=features,
    )
    for batch in some.shuffled(torch.Generator().manual_seed(0)):
        assert torch.equal(batch.features, batch.rows[:, None].expand(-1, 3).float())


LITTLE = [each for each in QUICK if not each.startswith("quantize")]


@pytest.mark.parametrize(
    ("check", "arguments", "message"),
    [
        (
            teacher_stage,
            ["teacher", "teacher.features=nothing"],
            r"^teacher\.features=nothing: the network has no such",
        ),
        (student_stage, ["all", "student.distill.features=1"], r"keeps none: set teacher\.features=pooled"),
        (
            student_stage,
            ["all", "student.distill.features=1", "student.distill.layer=99", "teacher.features=pooled"],
            r"^student\.distill\.layer=99: the network has no such layer",
        ),
        (student_stage, ["all", "student.distill.features=1", "teacher.features=pooled"], None),
        (
            student_stage,
            ["student", "student.distill.features=1", "logits={file}"],
            r"no features of a teacher are kept",
        ),
        (student_stage, ["student", "student.distill.features=1", "logits=[{file},{other}]"], None),
    ],
)
def test_what_contradicts_is_found_before_the_first_stage(
    tmp_path: Path, check: object, arguments: list[str], message: str | None
) -> None:
    """Oracle: the message of the check that runs before the first stage, or none; of two files one has features."""
    path, other = tmp_path / "without.h5", tmp_path / "with.h5"
    writer = LogitsWriter(path, ["a.wav"], ("x", "y"), {})
    writer.fill([0], np.zeros((1, 2), np.float32))
    writer.seal()
    write(other, ["a.wav"], np.zeros((1, 3, 2), np.float32), np.ones((1, 2), np.float32))
    arguments = [each.format(file=path, other=other) for each in arguments] + LITTLE
    if message is None:
        check.check(resolve(arguments))
        return
    with pytest.raises(UserError, match=message):
        check.check(resolve(arguments))


def test_settings_that_mean_nothing_together_are_refused() -> None:
    """Oracle: the messages: a layer without a weight, features of teachers that have no channels in common, and arrays,
    which have no features."""
    with pytest.raises(UserError, match=r"layer=3 learns features: give .*features=WEIGHT"):
        resolve(["student", "student.distill.layer=3"])
    with pytest.raises(UserError, match=r"teacher\.folds=3 teachers have channels of their own"):
        resolve(["teacher", "teacher.folds=3", "teacher.features=pooled"])
    with pytest.raises(UserError, match=r"features=1 .* teachers of teacher\.folds=2 can keep none: leave one of"):
        resolve(["all", "teacher.folds=2", "student.distill.features=1"])
    with pytest.raises(UserError, match="arrays come without a teacher's features"):
        train_on_arrays(small()[0], np.zeros((4, 320)), np.zeros(4), distillation=LEARNS)


@pytest.mark.slow  # trains three students
def test_a_student_learns_from_the_features_of_a_teacher(
    tmp_path: Path, trained_once: Path, miniature: ClipSet, miniature_waves: WaveStore
) -> None:
    """Oracle: the file's features are the classifier's inputs of clips rolled by hand, by the checkpoint's network;
    logits and the record of the teacher's run are the same with features and without; students with and without have
    the same tensors with other values; of two files in one, the one with features is named; the same command again
    trains nothing, and training while it is rounded is without features."""
    shutil.copytree(trained_once / "runs", tmp_path / "runs")
    folder, arguments = tmp_path / "runs/teacher/first", [f"data.root={miniature.root}", f"cache={trained_once}/cache"]

    def command(stage: str, *more: str) -> str:
        done = run(tmp_path, f"stage={stage}", *arguments, *more, *QUICK)
        assert done.returncode == 0, done.stderr
        return done.stdout

    record, before = (folder / "run.json").read_text(), (folder / "logits.h5").read_bytes()
    without = shutil.copy(folder / "logits.h5", tmp_path / "without.h5")
    command("teacher", "name=first", "teacher.features=pooled", "teacher.shifts=3")
    assert json.loads((folder / "run.json").read_text()) == json.loads(record)
    network, blueprint = checkpoint.load(folder / "checkpoint.safetensors", build_teacher)
    front_end = build_front_end(blueprint.sample_rate, blueprint.mel)
    store = miniature_waves
    seen: list[torch.Tensor] = []
    last = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)][-1]
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean((2, 3))))
    with torch.no_grad():
        for shift in (-4000, 0, 4000):
            network(front_end(store.read(np.arange(8)).roll(shift, 1)))
    expected = torch.stack(seen).mean(0).numpy()
    np.testing.assert_allclose(read_features(folder / "logits.h5", store.filenames[:8]), expected, rtol=2e-3, atol=1e-3)
    command("teacher", "name=first", "only=logits", "teacher.features=pooled")
    logits = [load_logits(path).logits for path in (without, folder / "logits.h5")]
    np.testing.assert_array_equal(*logits)

    files = [f"logits=[{without},{folder}/logits.h5]", "student.distill.weights=[1,0]"]
    command("student", "name=plain", *files)
    said = command("student", "name=learns", *files, "student.distill.features=1")
    assert f"features of {folder}/logits.h5: pooled, {expected.shape[1]} channels" in said
    assert "the result is reused" in command("student", "name=learns", *files, "student.distill.features=1")
    plain, learns = (
        safetensors.torch.load_file(tmp_path / f"runs/student/{name}/checkpoint.safetensors")
        for name in ("plain", "learns")
    )
    assert {name: value.shape for name, value in plain.items()} == {name: each.shape for name, each in learns.items()}
    assert not all(torch.equal(value, learns[name]) for name, value in plain.items())
    rounded = ["name=learns", *files, "student.distill.features=1", "quantize.method=qat"]
    assert "labels and logits, and no features" in command("quantize", *rounded)
    assert "the result is reused" in command("quantize", *rounded[:-2], "quantize.method=qat")

    command("teacher", "name=first", "only=logits")
    assert (folder / "logits.h5").read_bytes() == before
    refused = run(tmp_path, "stage=student", *arguments, "name=first", "student.distill.features=1", *QUICK)
    assert refused.returncode == 1
    assert "no features of a teacher are kept there" in refused.stderr
