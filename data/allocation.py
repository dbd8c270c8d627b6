"""A limit on the memory of the tensors that foreign values make, while a network or a front end is built from them.

Conventions: bytes. What is counted is what tensors would take, before any of it is taken; tensors that are computed
from others are not counted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from data.errors import UserError


class AllocationLimit(TorchDispatchMode):
    """Within `with AllocationLimit(...)`, making more bytes of new tensors, or more operations, is refused.

    Args:
        size: bytes of all new tensors together.
        operations: of torch, on whatever tensors.

    Raises:
        UserError: at the operation that is too much; it is not done.
    """

    def __init__(self, size: int, operations: int) -> None:
        super().__init__()
        self.size, self.operations = size, operations

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """One operation of torch."""
        kwargs = kwargs or {}
        self.operations -= 1
        if self.operations < 0:
            raise UserError("it has far more parts than the file has tensors")
        if _makes_new(func, args, kwargs):
            like = func(*args, **{**kwargs, "device": torch.device("meta")})
            self.size -= like.nbytes
            if self.size < 0:
                raise UserError(f"a tensor of the shape {tuple(like.shape)} is larger than the file allows")
        return func(*args, **kwargs)


def _makes_new(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operation makes a tensor from numbers alone."""
    if any(isinstance(each, torch.Tensor) for each in (*args, *kwargs.values())):
        return False
    return any(argument.name == "device" for argument in func._schema.arguments)
