"""Arrays that a thread uses again and again, because new ones of a clip's size cost a page fault every 4 kB."""

import math
import threading

import numpy as np


class _Arrays(threading.local):
    def __init__(self) -> None:
        self.by_name: dict[str, np.ndarray] = {}


_mine = _Arrays()


def scratch(name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array of this thread whose content lasts until the next call with the same name; it begins with anything."""
    size = math.prod(shape)
    if name not in _mine.by_name or _mine.by_name[name].size < size:
        _mine.by_name[name] = np.empty(size, dtype)
    return _mine.by_name[name][:size].reshape(shape)
