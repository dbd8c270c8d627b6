"""Losses with which a student learns from labels and from the logits of its teachers.

Conventions: logits are (B, classes), labels (B,). Losses are means over the batch, natural logarithms.
Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, section 2.

The 2023 winner's code also averages the divergence over the ten classes, with hard weight 0.02: 0.02 CE + 0.98 * T^2
* KL / 10. Divided by the sum of its weights, 0.118, that is 0.169 CE + 0.831 * T^2 * KL: the same balance in the
textbook's reduction, which is ours.
"""

from typing import NamedTuple

import torch
from torch.nn import functional as F

from data.errors import UserError

TEMPERATURE = 2.0
HARD_WEIGHT = 0.169


class Distilled(NamedTuple):
    """A loss, and its parts without their weights: CE(student, labels) and T^2 * KL(teacher / T || student / T). A part
    that is not computed is None."""

    loss: torch.Tensor
    hard: torch.Tensor | None
    soft: torch.Tensor | None


def distillation_loss(
    student: torch.Tensor,
    teacher: torch.Tensor | None,
    labels: torch.Tensor,
    *,
    temperature: float = TEMPERATURE,
    hard_weight: float = HARD_WEIGHT,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """hard_weight * CE(student, labels) + (1 - hard_weight) * T^2 * KL(teacher / T || student / T), a scalar.

    The factor T^2 keeps the soft gradients' size independent of the temperature; KL is summed over classes and
    averaged over clips ("batchmean"). Without a teacher it is CE alone.

    Args:
        student, teacher: logits (B, classes).
        labels: class numbers (B,), or probabilities (B, classes) of mixed clips.
        temperature: T.
        hard_weight: share of the labels.
        label_smoothing: share of the labels that is spread over all classes (Szegedy et al., CVPR 2016, section 7).

    Raises:
        UserError: a number is out of its range.
    """
    require_in_range(temperature, hard_weight, label_smoothing)
    return distillation_terms(student, teacher, labels, temperature, hard_weight, label_smoothing).loss


def distillation_terms(
    student: torch.Tensor,
    teacher: torch.Tensor | None,
    labels: torch.Tensor,
    temperature: float,
    hard_weight: float,
    label_smoothing: float,
) -> Distilled:
    """The same loss, of numbers that are in their ranges, and its parts."""
    if teacher is None:
        hard = F.cross_entropy(student, labels, label_smoothing=label_smoothing)
        return Distilled(hard, hard, None)
    soft = F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    if not hard_weight:  # labels may be unknown
        return Distilled(temperature**2 * soft, None, temperature**2 * soft)
    hard = F.cross_entropy(student, labels, label_smoothing=label_smoothing)
    loss = hard_weight * hard + (1 - hard_weight) * temperature**2 * soft
    return Distilled(loss, hard, temperature**2 * soft)


def multi_label_terms(
    student: torch.Tensor, teacher: torch.Tensor | None, labels: torch.Tensor, hard_weight: float
) -> Distilled:
    """The loss of clips that may have several classes: hard_weight * BCE(student, labels) + (1 - hard_weight) *
    KL(teacher || student), both means over clips and classes, each class with a probability of its own (sigmoid).
    Without a teacher it is BCE alone.

    The divergence is the binary cross-entropy with the teacher's probabilities, less their own entropy, which changes
    no gradient: of equal logits it is 0.

    Source: Schmid et al., "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation", ICASSP
    2023, as in https://github.com/fschmid56/EfficientAT, ex_audioset.py (temperature 1, hard weight 0.1).

    Args:
        student, teacher: logits (B, classes).
        labels: bool (B, classes), or shares of mixed clips.
        hard_weight: share of the labels.
    """
    if teacher is None:
        hard = F.binary_cross_entropy_with_logits(student, labels.float())
        return Distilled(hard, hard, None)
    wanted = teacher.float().sigmoid()
    entropy = F.binary_cross_entropy_with_logits(teacher.float(), wanted)
    soft = F.binary_cross_entropy_with_logits(student.float(), wanted) - entropy
    if not hard_weight:  # labels may be unknown
        return Distilled(soft, None, soft)
    hard = F.binary_cross_entropy_with_logits(student, labels.float())
    return Distilled(hard_weight * hard + (1 - hard_weight) * soft, hard, soft)


def require_in_range(temperature: float, hard_weight: float, label_smoothing: float) -> None:
    """Check the numbers of the loss.

    Raises:
        UserError: one is out of its range.
    """
    if not 0 <= label_smoothing < 1:
        raise UserError(f"student.distill.label_smoothing={label_smoothing} must be from 0 to below 1")
    if not (temperature > 0 and 0 <= hard_weight <= 1):
        raise UserError(
            f"student.distill.temperature={temperature} must be above 0, student.distill.hard_weight={hard_weight} "
            "from 0 to 1"
        )


def similarity_loss(features: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared difference between the Gram matrices (B, B) of student and teacher, rows of norm 1; a scalar.

    It is small where the student finds the same clips of a batch similar to each other as the teacher does.

    Source: Tung & Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, equations 2 to 4. There both sides
    are feature maps; here the teacher's side are its logits.

    Args:
        features: of the student, (B, channels).
        teacher: logits (B, classes).
    """

    def similarities(rows: torch.Tensor) -> torch.Tensor:
        return F.normalize(rows.float() @ rows.float().T, dim=1)

    return (similarities(features) - similarities(teacher)).square().mean()


def feature_loss(projected: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared difference between the student's features, projected to the teacher's channels, and the teacher's,
    over clips and channels; a scalar. No gradient reaches the teacher's.

    Source: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, section 2.2, equation 3, a regressor from the
    student's layer to the teacher's; here it is linear, and the layers are the classifiers' inputs unless others are
    named, as in Chen et al., "Knowledge Distillation with the Reused Teacher Classifier", CVPR 2022, section 3.2. The
    teacher's features are standardised (data/feature_targets.py), so that the loss has the same scale for all of them.

    Args:
        projected: of the student, (B, channels).
        teacher: standardised, (B, channels).
    """
    return F.mse_loss(projected.float(), teacher.detach().float())
