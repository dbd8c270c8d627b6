"""What augmentations do: shifts in time, other microphones, other spectral statistics, masks, mixtures.

Conventions: waves are (B, samples), spectrograms log-mels (B, 1, mels, frames). The functions are pure and work on
whole batches on whatever device the batch is on; each clip has its own parameters, which augmenter.py draws.
"""

import math
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len

# Of the compressor: usual values for speech and music.
FRAME_SECONDS, ATTACK_SECONDS, RELEASE_SECONDS = 0.005, 0.01, 0.1
SILENCE = 1e-12  # power


def time_roll(waves: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Roll each wave by its own number of samples (B,), as torch.roll does: what leaves at the end enters at the
    start."""
    if waves.device.type == "cpu":  # two pieces a clip are copied; an index for every sample takes ten times as long
        return torch.stack([wave.roll(shift) for wave, shift in zip(waves, shifts.tolist(), strict=True)])
    length = waves.shape[-1]
    source = (torch.arange(length, device=waves.device) - shifts[:, None]) % length
    return waves.gather(1, source)


def filter_by(waves: torch.Tensor, responses: torch.Tensor) -> torch.Tensor:
    """Convolve each wave with its own response (B, L), causally, cut to the wave's length."""
    length = waves.shape[-1]
    # A length with small factors: the FFT of 35,199 = 3 * 11,733 samples would take several times longer.
    padded = next_fast_len(length + responses.shape[-1] - 1, real=True)
    spectrum = torch.fft.rfft(waves, padded) * torch.fft.rfft(responses, padded)
    return torch.fft.irfft(spectrum, padded)[..., :length]


def compress(waves: torch.Tensor, offsets: torch.Tensor, ratios: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """Compress the dynamic range of each wave: what is louder than a threshold exceeds it by 1 / ratio of the decibels
    that it did; the level of the whole wave stays as it is.

    A feed-forward compressor with a hard knee, whose gain is smoothed in decibels by one time constant where it falls
    and another where it rises, from frame to frame, and interpolated between the frames' centres. Its level is the root
    mean square of a frame. It begins in the steady state of the first frame.

    Source: Giannoulis, Massberg, Reiss, "Digital Dynamic Range Compressor Design", JAES 60(6), 2012.

    Args:
        waves: (B, samples).
        offsets: (B,) dB, of the threshold above the level of the whole wave.
        ratios: (B,) from 1 on; 1 changes nothing.
        sample_rate: Hz.
    """
    samples = waves.shape[-1]
    frame = max(1, round(FRAME_SECONDS * sample_rate))
    power = torch.nn.functional.avg_pool1d(waves.square()[:, None], frame, ceil_mode=True)[:, 0]
    level = waves.square().mean(1, keepdim=True)
    above = (_decibels(power) - _decibels(level) - offsets[:, None]).clamp_min(0)
    wanted = above * (1 - 1 / ratios)[:, None]
    falling, rising = (math.exp(-FRAME_SECONDS / seconds) for seconds in (ATTACK_SECONDS, RELEASE_SECONDS))
    reductions, current = [], wanted[:, 0]
    for each in wanted.unbind(1):
        current = each + torch.where(each > current, falling, rising) * (current - each)
        reductions.append(current)
    gains = torch.stack(reductions, dim=1)[:, None].neg()
    between = torch.nn.functional.interpolate(gains, scale_factor=frame, mode="linear")[:, 0, :samples]
    compressed = waves * 10 ** (between / 20)
    return compressed * (level / compressed.square().mean(1, keepdim=True).clamp_min(SILENCE)).sqrt()


def _decibels(power: torch.Tensor) -> torch.Tensor:
    return 10 * power.clamp_min(SILENCE).log10()


def freq_mixstyle(spectrograms: torch.Tensor, partners: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Give each spectrogram part of another one's mean and deviation in every frequency band.

    Statistics are taken over (channel, time), carry no gradient, and are mixed as w * own + (1 - w) * partner's.
    Source: Kim et al., "Domain Generalization with Relaxed Instance Frequency-wise Normalization for Multi-device
    Acoustic Scene Classification", Interspeech 2022; Schmid et al., DCASE 2022 Task 1 report, "Freq-MixStyle".

    Args:
        spectrograms: (B, C, mels, frames).
        partners: (B,) the clip that each one is mixed with.
        weights: (B,) in [0, 1].
    """
    with torch.no_grad():
        mean = spectrograms.mean((1, 3), keepdim=True)
        deviation = (spectrograms.var((1, 3), keepdim=True, unbiased=False) + 1e-6).sqrt()
        w = weights.view(-1, 1, 1, 1)
        mixed_mean = w * mean + (1 - w) * mean[partners]
        mixed_deviation = w * deviation + (1 - w) * deviation[partners]
    return (spectrograms - mean) / deviation * mixed_deviation + mixed_mean


def filter_augment(
    spectrograms: torch.Tensor, edges: torch.Tensor, gains: torch.Tensor, *, steps: bool = False
) -> torch.Tensor:
    """Add gains to bands of each log-mel, as a room or a microphone does: lines between the gains at the edges of the
    bands, or, with `steps`, the gain of its lower edge in all of a band.

    Source: Nam et al., "FilterAugment: An Acoustic Environmental Data Augmentation Method", ICASSP 2022, section 2
    (linear and step type).

    Args:
        spectrograms: (B, 1, mels, frames).
        edges: (B, bands + 1) int64 bins, ascending, from 0 to mels; bands that begin at mels are empty.
        gains: (B, bands + 1) at the edges, in the unit of the log-mels.
    """
    bins = torch.arange(spectrograms.shape[2], device=edges.device)
    band = (bins >= edges[:, 1:-1, None]).sum(1)
    added = gains.gather(1, band)
    if not steps:
        start, end = edges.gather(1, band), edges.gather(1, band + 1)
        added = added + (gains.gather(1, band + 1) - added) * (bins - start) / (end - start)
    return spectrograms + added[:, None, :, None]


def mask(spectrograms: torch.Tensor, starts: torch.Tensor, widths: torch.Tensor, *, axis: int) -> torch.Tensor:
    """Set `widths` (B,) bands or frames from `starts` (B,) on to 0, which is about the mean of a log-mel, in each
    spectrogram."""
    position = torch.arange(spectrograms.shape[axis], device=spectrograms.device)
    hidden = (position >= starts[:, None]) & (position < (starts + widths)[:, None])
    shape = [len(spectrograms), 1, 1, 1]
    shape[axis] = -1
    return spectrograms.masked_fill(hidden.view(shape), 0.0)


@dataclass(frozen=True)
class Mixing:
    """Mixup: a weighted mean of each clip and its partner.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, equation 1.

    Attributes:
        partners: (B,) the clip that each one is mixed with.
        weights: (B,) in [0, 1], its own share.
    """

    partners: torch.Tensor
    weights: torch.Tensor

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """w * own + (1 - w) * partner's, of (B, ...)."""
        w = self.weights.view(-1, *[1] * (values.ndim - 1))
        return w * values + (1 - w) * values[self.partners]
