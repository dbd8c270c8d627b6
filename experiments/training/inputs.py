"""What a network is given in training: augmented log-mels, and the labels and targets that fit them."""

import torch

from data.augmenter import Augmenter, Sounds
from data.batches import Batch, Batches
from data.front_ends import FrontEnd


@torch.no_grad()
def augmented(
    batch: Batch,
    train: Batches,
    front_end: FrontEnd,
    augmenter: Augmenter,
    responses: torch.Tensor | None,
    generator: torch.Generator,
) -> tuple[torch.Tensor, Batch]:
    """Augmented log-mels (B, 1, mels, frames) of a batch, and the batch with the labels and targets that fit them."""
    given = Sounds(batch.waves, batch.from_reference_device, responses, sample_rate=front_end.sample_rate)
    sounds = augmenter.augment_waves(given, generator)
    if train.target_shifts is not None:
        batch = batch.rolled(sounds.shifts, train.target_shifts)
    spectrograms = augmenter.augment_spectrograms(front_end(sounds.waves, generator), generator)
    if (mixing := augmenter.draw_mixing(len(spectrograms), generator)) is not None:
        spectrograms, batch = mixing(spectrograms), batch.mixed(mixing, train.classes)
    return spectrograms.contiguous(memory_format=torch.channels_last), batch
