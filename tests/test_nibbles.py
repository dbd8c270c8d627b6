"""Integers of 4 bits, two a byte."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from students.quantize.nibbles import packed, unpacked


@given(st.lists(st.integers(-8, 7), max_size=9))
def test_two_integers_are_one_byte_the_first_one_below(values: list[int]) -> None:
    """Oracle: the arithmetic of two's complement in Python's integers, and the way back."""
    pairs = np.array([*values, 0][: len(values) + len(values) % 2]).reshape(-1, 2).tolist()
    data = packed(np.array(values, np.int8))
    assert data == bytes(first % 16 + 16 * (second % 16) for first, second in pairs)
    assert unpacked(np.frombuffer(data, np.uint8), len(values)).tolist() == values
