"""What --help and --version print."""

from collections.abc import Sequence


def answered(arguments: Sequence[str]) -> bool:
    """Answer --help and --version; returns whether that was all that was asked."""
    return False
