"""NumPy's arrays and numbers in torch files, such as a score or the state of a sampler: passed over, not rebuilt.

torch's weights-only loading refuses a file that holds one, though nobody needs it. What would build it is replaced by a
class that builds nothing, so that no code of NumPy's runs on a file's bytes.
"""

from contextlib import AbstractContextManager

from torch.serialization import safe_globals

# Before NumPy's version 2, and since.
MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
FUNCTIONS = [f"{module}.{name}" for module in MODULES for name in ("_reconstruct", "scalar")]
NAMES = ("numpy.ndarray", "numpy.dtype", *FUNCTIONS)


class PassedOver:
    """Stands for whatever it is made of, and keeps none of it."""

    def __init__(self, *parts: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def passing_over_arrays() -> AbstractContextManager[None]:
    """Within it, weights-only loading gives a PassedOver for every array, number and type of NumPy's."""
    return safe_globals([(PassedOver, name) for name in NAMES])
