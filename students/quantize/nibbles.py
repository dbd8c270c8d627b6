"""Integers of 4 bits, two a byte, the first in the lower half: how TFLite and ONNX store them."""

import numpy as np


def packed(values: np.ndarray) -> bytes:
    """Integers of 4 bits, two a byte, the first in the lower half; an odd last one has zeros beside it.

    >>> packed(np.array([1, -2, 7], np.int8)).hex()
    'e107'
    """
    halves = np.append(values.ravel(), np.zeros(values.size % 2, np.int8)).view(np.uint8) & 15
    return (halves[::2] | halves[1::2] << 4).tobytes()


def unpacked(data: np.ndarray, count: int) -> np.ndarray:
    """`count` integers of 4 bits, two a byte, the first in the lower half; int8.

    >>> unpacked(np.array([0xE1, 0x07], np.uint8), 3).tolist()
    [1, -2, 7]
    """
    halves = np.stack([data & 15, data >> 4], axis=1).ravel()[:count].astype(np.int8)
    return np.where(halves > 7, halves - 16, halves).astype(np.int8)
