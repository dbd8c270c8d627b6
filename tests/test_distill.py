"""The distillation loss against hand calculation and its laws."""

import math

import pytest
import torch
from torch.nn import functional as F

from data.errors import UserError
from experiments.settings.parts import PUBLISHED_TEMPERATURE
from students.distill import HARD_WEIGHT, TEMPERATURE, distillation_loss, feature_loss, similarity_loss


@pytest.fixture
def batch(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    student, teacher = torch.randn(2, 8, 10, generator=generator, dtype=torch.float64)
    return student, teacher, torch.randint(0, 10, (8,), generator=generator)


def test_a_perfect_imitation_costs_nothing(batch: tuple) -> None:
    """Oracle: KL(p || p) = 0. Tolerance 1e-12 nats."""
    student, _, labels = batch
    assert distillation_loss(student, student, labels, hard_weight=0.0).item() == pytest.approx(0, abs=1e-12)


def test_two_classes_by_hand() -> None:
    """Oracle: teacher (0.75, 0.25), student (0.5, 0.5) at T = 1: KL = 0.75 ln 1.5 + 0.25 ln 0.5; CE = ln 2."""
    student, teacher = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64)
    soft, hard = 0.75 * math.log(1.5) + 0.25 * math.log(0.5), math.log(2)
    loss = distillation_loss(student, teacher, torch.tensor([0]), temperature=1.0, hard_weight=0.3)
    assert loss.item() == pytest.approx(0.3 * hard + 0.7 * soft, abs=1e-12)


def test_the_soft_gradient_hardly_depends_on_the_temperature(batch: tuple) -> None:
    """Oracle: Hinton et al., section 2.1: for high T the gradient tends to (student - teacher) / classes, zero-mean
    logits."""
    student, teacher, labels = (x - x.mean(1, keepdim=True) if x.is_floating_point() else x for x in batch)
    student = student.clone().requires_grad_()
    distillation_loss(student, teacher, labels, temperature=1e4, hard_weight=0.0).backward()
    torch.testing.assert_close(student.grad, (student - teacher).detach() / 10 / 8, atol=1e-5, rtol=1e-3)


def test_the_default_has_the_balance_of_the_published_recipe(batch: tuple) -> None:
    """Oracle: the winner's loss, 0.02 CE + 0.98 T^2 mean-over-elements KL, is ours times 0.118. Tolerance 0.5 %."""
    student, teacher, labels = batch
    p, log_q = F.softmax(teacher / 2, 1), F.log_softmax(student / 2, 1)
    soft = (p * (p.log() - log_q)).mean()
    theirs = 0.02 * F.cross_entropy(student, labels) + 0.98 * 4 * soft
    assert theirs.item() == pytest.approx(0.118 * distillation_loss(student, teacher, labels).item(), rel=5e-3)
    assert pytest.approx(0.02 / (0.02 + 0.98 / 10), abs=1e-3) == HARD_WEIGHT
    assert TEMPERATURE == PUBLISHED_TEMPERATURE == 2  # the recipe's own


def test_smoothed_labels_are_shared_out_over_the_classes() -> None:
    """Oracle: 0.9 of the plain cross-entropy and 0.1 of the mean over all classes, by hand."""
    student, labels = torch.randn(4, 10), torch.tensor([0, 3, 3, 9])
    log_p = student.log_softmax(1)
    expected = -(0.9 * log_p[torch.arange(4), labels] + 0.1 * log_p.mean(1)).mean()
    found = distillation_loss(student, student, labels, hard_weight=1.0, label_smoothing=0.1)
    torch.testing.assert_close(found, expected)


def test_without_a_teacher_the_labels_remain(batch: tuple) -> None:
    """Oracle: torch's cross-entropy, with and without smoothing."""
    student, _, labels = batch
    for smoothing in (0.0, 0.2):
        expected = F.cross_entropy(student, labels, label_smoothing=smoothing)
        assert torch.equal(distillation_loss(student, None, labels, label_smoothing=smoothing), expected)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"temperature": 0.0}, {"temperature": 1e-3}),
        ({"temperature": -1.0}, {"temperature": 1.0}),
        ({"temperature": math.nan}, {"temperature": 2.0}),
        ({"hard_weight": -0.01}, {"hard_weight": 0.0}),
        ({"hard_weight": 1.01}, {"hard_weight": 1.0}),
        ({"label_smoothing": -0.01}, {"label_smoothing": 0.0}),
        ({"label_smoothing": 1.0}, {"label_smoothing": 0.99}),
    ],
)
def test_numbers_out_of_their_range_are_refused(wrong: dict, right: dict, batch: tuple) -> None:
    """Oracle: the ranges of the docstring; the neighbouring value inside gives a finite loss."""
    student, teacher, labels = batch
    (name,) = wrong
    with pytest.raises(UserError, match=f"{name}={wrong[name]}"):
        distillation_loss(student, teacher, labels, **wrong)
    assert math.isfinite(distillation_loss(student, teacher, labels, **right))


def test_similarity_is_that_of_the_paper(generator: torch.Generator) -> None:
    """Oracle: Tung & Mori, equations 2 to 4, entry by entry; it is 0 for features that are the logits turned and
    stretched, because they find the same clips alike."""
    features, logits = torch.randn(5, 7, generator=generator), torch.randn(5, 3, generator=generator)

    def rows(q: torch.Tensor) -> list[list[float]]:
        gram = [[sum(float(a * b) for a, b in zip(x, y, strict=True)) for y in q] for x in q]
        return [[v / math.sqrt(sum(w * w for w in row)) for v in row] for row in gram]

    differences = [
        (a - b) ** 2 for x, y in zip(rows(features), rows(logits), strict=True) for a, b in zip(x, y, strict=True)
    ]
    assert similarity_loss(features, logits).item() == pytest.approx(sum(differences) / 25, rel=1e-5)
    turned = 3 * logits @ torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
    assert similarity_loss(turned, logits).item() == pytest.approx(0, abs=1e-10)


def test_features_that_are_the_teachers_cost_nothing(generator: torch.Generator) -> None:
    """Oracle: the loss is 0 at equality; of two clips and two channels it is the mean of four squares by hand, in which
    no gradient reaches the teacher."""
    features = torch.randn(5, 7, generator=generator)
    assert feature_loss(features, features.half().float()).item() < 1e-6
    assert feature_loss(features, features).item() == 0
    student = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 2.0], [5.0, 1.0]], requires_grad=True)
    loss = feature_loss(student, teacher)
    assert loss.item() == (1 + 0 + 4 + 9) / 4
    loss.backward()
    assert teacher.grad is None
    assert torch.equal(student.grad, torch.tensor([[0.5, 0.0], [-1.0, 1.5]]))
