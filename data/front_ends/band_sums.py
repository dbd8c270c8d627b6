"""The power of each band and frame of waves: a Fourier transform frame by frame, and weighted sums of its bins.

Conventions: waves are float (B, samples); they are mirrored at both ends, so that frame i is centred on sample i * hop.
"""

from collections.abc import Sequence

import torch

from data.errors import UserError

MOST_VALUES = 2**24  # of the spectra of a second, and of the bands
TOGETHER = 64  # bands whose sums are one matrix product, over those bins alone that one of them has
CLIPS_IN_CACHE = 4  # at a time: a CPU loses half of its speed on spectra that have to go to memory and back

Bands = Sequence[tuple[slice, torch.Tensor]]  # bins, and their weights (bins, bands)


def require_transform(*, window: int, hop: int, fft: int, mels: int, sample_rate: int) -> None:
    """Check the lengths of a transform, in samples.

    Raises:
        UserError: the window is longer than the transform, the transform's length is odd, or the spectra are so large
            or so many that they would not fit into memory.
    """
    if not window <= fft or fft % 2:
        raise UserError(f"window={window} must not be longer than fft={fft}, which must be even")
    if max(values := fft * sample_rate // hop, mels * fft) > MOST_VALUES:
        raise UserError(
            f"fft={fft} every hop={hop} samples at sample_rate={sample_rate} are {values:,} values a second, and "
            f"mels={mels} bands of as many {mels * fft:,}: at most {MOST_VALUES:,} of each are computed"
        )


def grouped(weights: torch.Tensor, device: torch.device) -> Bands:
    """Weights (bands, bins) of all bands, TOGETHER at a time: from the first to the last bin that one of these bands
    has. Nearly all weights of all bins would be zeros."""
    found = []
    for some in weights.split(TOGETHER):
        used = some.any(dim=0).nonzero()[:, 0].tolist() or [0]
        bins = slice(used[0], used[-1] + 1)
        found.append((bins, some[:, bins].mT.contiguous().to(device)))
    return found


def band_powers(waves: torch.Tensor, window: torch.Tensor, *, hop: int, fft: int, bands: Bands) -> torch.Tensor:
    """(B, samples) -> (B, frames, bands), with 1 + samples // hop frames."""
    spectrum = torch.stft(waves, fft, hop, len(window), window, return_complex=True)
    # Frame by frame, as the transform leaves it: in the order (bins, frames) all of this would take twice as long.
    squares = torch.view_as_real(spectrum.mT).square()
    power = squares[..., 0] + squares[..., 1]
    return torch.cat([power[..., bins] @ weights for bins, weights in bands], dim=-1)


def in_parts(waves: torch.Tensor) -> Sequence[torch.Tensor]:
    """Float32 waves, as many at a time as are best computed together."""
    return waves.float().split(CLIPS_IN_CACHE if waves.device.type == "cpu" else max(1, len(waves)))
