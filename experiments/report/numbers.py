"""How numbers are written in tables and on pages; None, a number that is not known, is written as nothing."""

from typing import Any


def percent(share: float | None) -> str:
    """0.256 -> 25.6 %"""
    return "" if share is None else f"{100 * share:.1f} %"


def nats(value: float | None) -> str:
    """A log loss or calibration error: 1.2345 -> 1.234"""
    return "" if value is None else f"{value:.3f}"


def interval(edges: tuple[float, float] | None, factor: float = 100, digits: int = 1) -> str:
    """(0.172, 0.341) -> 17.2 to 34.1"""
    return "" if edges is None else " to ".join(f"{factor * edge:.{digits}f}" for edge in edges)


def word(value: Any, digits: int = 4) -> str:
    """Any value of a table: integers with commas, other numbers with so many digits, the rest as text."""
    if value is None:
        return ""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.{digits}f}" if 1e-3 <= abs(value) < 1e4 else f"{value:.3g}"
    return f"{value:,.0f}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
