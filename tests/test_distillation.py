"""What a student is trained on: the loss of a batch, and the logits of its teachers."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from data.batches import Batch
from data.errors import UserError
from data.files import file_sha256
from data.logits import LogitsWriter
from experiments.settings.parts import Distillation
from experiments.training.distillation import Targets, imitation_loss, read_targets, student_loss
from students.distill import similarity_loss

LABELS = torch.tensor([0, 2, 1, 1, 0])


def batch_of(targets: torch.Tensor | None) -> Batch:
    nothing = torch.zeros(5, dtype=torch.bool)
    return Batch(torch.arange(5), torch.zeros(5, 4), LABELS, nothing, targets)


def by_hand(logits: torch.Tensor, targets: torch.Tensor, temperature: float, hard: float) -> torch.Tensor:
    """hard * cross-entropy + (1 - hard) * T^2 * KL(targets / T || logits / T), written out."""
    p, q = (F.softmax(x / temperature, dim=1) for x in (targets, logits))
    soft = (p * (p.log() - q.log())).sum(1).mean()
    return hard * F.cross_entropy(logits, LABELS) + (1 - hard) * temperature**2 * soft


def test_the_loss_has_the_terms_of_the_settings(generator: torch.Generator) -> None:
    """Oracle: the terms by hand: divergence at the temperature, labels at their weight, smoothed labels alone without
    targets, and the similarity of the classifier's inputs at its weight; and each term without its weight."""
    network = nn.Sequential(nn.Identity(), nn.Linear(4, 3))
    features, targets = torch.randn(5, 4, generator=generator), torch.randn(5, 3, generator=generator)
    logits = network(features)
    plain = student_loss(Distillation(temperature=3.0, hard_weight=0.25))
    found, hard, soft = (
        plain(logits, batch_of(targets)),
        F.cross_entropy(logits, LABELS),
        by_hand(logits, targets, 3, 0),
    )
    torch.testing.assert_close(found.loss, by_hand(logits, targets, 3.0, 0.25))
    torch.testing.assert_close(found.terms, {"hard_loss": hard, "soft_loss": soft})
    smoothed = student_loss(Distillation(label_smoothing=0.1))
    expected = F.cross_entropy(logits, LABELS, label_smoothing=0.1)
    torch.testing.assert_close(smoothed(logits, batch_of(None)), (expected, {"hard_loss": expected}))
    similar = student_loss(Distillation(temperature=3.0, hard_weight=0.25, similarity=7.0), network)
    logits = network(features)
    found, similarity = similar(logits, batch_of(targets)), similarity_loss(features, targets)
    torch.testing.assert_close(found.loss, by_hand(logits, targets, 3.0, 0.25) + 7 * similarity)
    torch.testing.assert_close(found.terms["similarity_loss"], similarity)
    torch.testing.assert_close(similar(logits, batch_of(None)).loss, F.cross_entropy(logits, LABELS))
    without = student_loss(Distillation(temperature=3.0, hard_weight=0.25, similarity=7.0))  # of a network
    torch.testing.assert_close(without(logits, batch_of(targets)).loss, by_hand(logits, targets, 3.0, 0.25))


def test_an_imitation_is_compared_with_the_original_on_the_same_spectrograms(generator: torch.Generator) -> None:
    """Oracle: the divergence from the original's answers by hand, without the labels; it is 0 for the original itself,
    and no gradient reaches the original."""
    original, network = nn.Linear(4, 3), nn.Linear(4, 3)
    loss = imitation_loss(original, network, 2.0)
    for _ in range(2):  # the latest inputs count
        spectrograms = torch.randn(5, 4, generator=generator)
        logits = network(spectrograms)
        value = loss(logits, batch_of(None))
        expected = by_hand(logits, original(spectrograms).detach(), 2.0, 0.0)
        torch.testing.assert_close(value, expected)
    value.backward()
    assert original.weight.grad is None
    assert network.weight.grad.abs().max() > 0
    network.load_state_dict(original.state_dict())
    assert loss(network(spectrograms), batch_of(None)).item() == pytest.approx(0, abs=1e-6)


def test_numbers_out_of_range_are_found_before_the_training() -> None:
    """Oracle: the message, from making the loss alone."""
    with pytest.raises(UserError, match=r"temperature=0\.0"):
        student_loss(Distillation(temperature=0.0))


def test_the_fingerprint_of_targets_is_that_of_their_files(tmp_path: Path) -> None:
    """Oracle: SHA-256 of each file, in the order given."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    paths = (tmp_path / "b", tmp_path / "a")
    digests = f"{file_sha256(paths[0])} {file_sha256(paths[1])}"
    assert Targets(paths, np.zeros((1, 2))).inputs == {"logits": digests}
    assert Targets().inputs == {"logits": ""}
    calibrated = Targets(paths[:1], np.zeros((1, 2)), calibrated_on=paths[1:])
    assert calibrated.inputs == dict(zip(("logits", "held_out_logits"), digests.split(), strict=True))


def test_targets_are_of_the_mean_or_of_each_shift(tmp_path: Path) -> None:
    """Oracle: by hand: logits of two clips and three shifts, and of two files by their weights."""
    names, scenes, shifts = ["a.wav", "b.wav"], ("x", "y", "z", "u"), (-5, 0, 5)
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for number in (1, 3):
        writer = LogitsWriter(tmp_path / f"{number}.h5", names, scenes, {"trained_on": "clips"}, shifts)
        writer.fill(range(2), number * values)
        writer.seal()
    paths = [tmp_path / "1.h5", tmp_path / "3.h5"]
    clips = SimpleNamespace(filenames=names[::-1], scenes=scenes, is_labelled=True, is_multi_label=False)
    data = SimpleNamespace(clips=clips, before=None, fingerprint={"clips": "clips"})
    mean = read_targets(paths, data, Distillation(weights=[1, 1]))
    np.testing.assert_allclose(mean.logits, 2 * values[::-1].mean(axis=1))
    assert (mean.paths, mean.shifts) == (tuple(paths), None)
    each = read_targets(paths[:1], data, Distillation(shifts="nearest"))
    np.testing.assert_array_equal(each.logits, values[::-1])
    assert each.shifts == shifts


def test_calibrated_logits_are_divided_by_the_temperature_that_fits_the_validation_clips(tmp_path: Path) -> None:
    """Oracle: with logits k * log(p), of which clips in the proportions p have each label, the temperature is k: then
    the targets are log(p), whatever k; the loss has the published temperature. Tolerance 1e-3."""
    p, sharpness, scenes = np.array([0.5, 0.3, 0.2]), (3.0, 0.4), ("x", "y", "z")
    labels = np.repeat([0, 1, 2], [5, 3, 2])
    names = [f"{number}.wav" for number in range(10)]
    paths = []
    for number, k in enumerate(sharpness):
        writer = LogitsWriter(tmp_path / f"{number}.h5", names, scenes, {"trained_on": "clips"})
        writer.fill(range(10), np.tile(k * np.log(p), (10, 1)).astype(np.float32))
        writer.seal()
        paths.append(writer.path)
    held_out: list[object] = []
    clips = SimpleNamespace(
        filenames=names,
        scenes=scenes,
        labels=labels,
        is_labelled=True,
        is_multi_label=False,
        has_validation=True,
        indices=lambda split: np.arange(10),
    )
    data = SimpleNamespace(
        clips=clips,
        before=None,
        fingerprint={"clips": "clips"},
        require_validation=held_out.append,
        with_all_trained=SimpleNamespace(fingerprint={"clips": "all"}),
    )
    calibrated = Distillation(temperature="auto")
    found = read_targets(paths, data, calibrated)
    assert held_out == ["student.distill.temperature=auto"]
    assert found.temperatures == pytest.approx(sharpness, rel=1e-3)
    assert found.metrics() == {f"distill/temperature/{n}": found.temperatures[n] for n in range(2)}
    np.testing.assert_allclose(found.logits, np.tile(np.log(p), (10, 1)), rtol=1e-3)
    assert calibrated.softness == Distillation().softness == 2.0
    assert read_targets(paths, data, Distillation()).metrics() == {}
    writer = LogitsWriter(tmp_path / "heard.h5", names, scenes, {"trained_on": "all clips"})  # an ensemble's
    writer.fill(range(10), np.zeros((10, 3), np.float32))
    writer.seal()
    with pytest.raises(UserError, match=r"trained on the validation clips too.*:\n  .*heard\.h5\nname the files"):
        read_targets([*paths, writer.path], data, calibrated)
