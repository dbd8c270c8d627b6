"""Which sample rates and lengths of clips are accepted; nothing heavy is imported for it."""

from data.errors import UserError

RATES = (1_000, 384_000)  # Hz
LONGEST = 600  # seconds; a clip is held in memory whole, by every thread that decodes


def require_format(sample_rate: int, clip_seconds: float) -> None:
    """Check the rate (Hz) and the length (seconds) that clips are brought to.

    Raises:
        UserError: one is out of its range.
    """
    if not RATES[0] <= sample_rate <= RATES[1]:
        raise UserError(f"data.sample_rate={sample_rate} must be from {RATES[0]} to {RATES[1]} Hz")
    if not (clip_seconds * sample_rate >= 1 and clip_seconds <= LONGEST):
        raise UserError(f"data.clip_seconds={clip_seconds} must be from one sample to {LONGEST} seconds")
