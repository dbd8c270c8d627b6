"""Spectrograms as published networks must have them: of their number of bands, and long enough."""

import torch
from torch.nn import functional as F

from data.errors import UserError


def completed(
    spectrograms: torch.Tensor, mels: int, frames: int, silence: float, kind: str, takes: str
) -> torch.Tensor:
    """(B, 1, mels, any frames) -> the same, completed with silence to a number of frames where they are shorter.

    Args:
        spectrograms: of a batch.
        mels: bands that the network takes.
        frames: at least.
        silence: the value that silence has.
        kind: of the front end that makes such spectrograms, `teacher.mel.kind`.
        takes: who takes them, for the message: "YAMNet has", say.

    Raises:
        UserError: they have another number of bands.
    """
    if spectrograms.shape[2] != mels:
        raise UserError(
            f"spectrograms have {spectrograms.shape[2]} bands, {takes} {mels}: leave teacher.mel.kind={kind}"
        )
    return F.pad(spectrograms, (0, max(0, frames - spectrograms.shape[3])), value=silence)
