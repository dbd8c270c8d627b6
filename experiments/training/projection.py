"""A student that learns its teachers' features, and the layer that this takes.

Source: see students/distill.py, feature_loss.
"""

import torch
from torch import nn

from experiments.inference.features import Features, channels_of


class Projected(nn.Module):
    """A student and the linear layer from its features to its teachers', which is trained along with it.

    In training the answer is (logits, projected features), else logits alone. The layer is no part of the student: its
    weights are in the state of a training that was stopped and not in the checkpoint.

    Args:
        student: log-mels to logits.
        layer: of the student, see inference/features.py.
        shape: of a log-mel, (1, 1, mels, frames).
        channels: of the teachers' features.
    """

    def __init__(self, student: nn.Module, layer: str, shape: tuple[int, ...], channels: int) -> None:
        super().__init__()
        own = channels_of(student, layer, shape, "student.distill.layer")
        self.student, self.projection = student, nn.Linear(own, channels)
        self._features = Features(student, layer)

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """(B, 1, mels, frames) -> (B, classes), and in training (B, channels) too."""
        logits: torch.Tensor = self.student(spectrograms)
        return (logits, self.projection(self._features(len(logits)))) if self.training else logits
