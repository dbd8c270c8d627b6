"""How a student learns from what its teachers wrote down.

Conventions: logits are (B, classes), labels (B,). Losses are means over the batch, natural logarithms.
Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, section 2.

The 2023 winner's code also averages the divergence over the ten classes, with hard weight 0.02: 0.02 CE + 0.98 * T^2
* KL / 10. Divided by the sum of its weights, 0.118, that is 0.169 CE + 0.831 * T^2 * KL: the same balance in the
textbook's reduction, which is ours.
"""

import torch
from torch.nn import functional as F

from data.errors import UserError

TEMPERATURE = 2.0
HARD_WEIGHT = 0.169


def distillation_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    labels: torch.Tensor,
    *,
    temperature: float = TEMPERATURE,
    hard_weight: float = HARD_WEIGHT,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """hard_weight * CE(student, labels) + (1 - hard_weight) * T^2 * KL(teacher / T || student / T), a scalar.

    The factor T^2 keeps the soft gradients' size independent of the temperature; KL is summed over classes and
    averaged over clips ("batchmean").

    Args:
        student, teacher: logits (B, classes).
        labels: class numbers (B,), or probabilities (B, classes) of mixed clips.
        temperature: T.
        hard_weight: share of the labels.
        label_smoothing: share of the labels that is spread over all classes (Szegedy et al., CVPR 2016, section 7).
    """
    if not (temperature > 0 and 0 <= hard_weight <= 1):
        raise UserError(
            f"distill.temperature={temperature} must be above 0, distill.hard_weight={hard_weight} from 0 to 1"
        )
    hard = F.cross_entropy(student, labels, label_smoothing=label_smoothing)
    soft = F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return hard_weight * hard + (1 - hard_weight) * temperature**2 * soft
