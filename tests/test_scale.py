"""The widest network within the limits, against trying them all."""

import pytest
from torch import nn

from data.errors import UserError
from students.complexity import torch_complexity
from students.cp_mobile import SIZES, cp_mobile
from students.limits import LIMITS, over_limits
from students.scale import widest, widest_arguments

SHAPE = (1, 1, 256, 64)


@pytest.mark.parametrize(("size", "limits"), [("6k", LIMITS), ("12k", LIMITS), ("6k", LIMITS | {"macs": 10**9})])
def test_the_widest_is_what_trying_all_finds(size: str, limits: dict[str, int]) -> None:
    """Oracle: exhaustive search over widths 8 to 64; the next wider one is over a limit (of bytes, where
    multiply-accumulates are free)."""

    def build(width: int) -> nn.Module:
        return cp_mobile(size=size, base_channels=8 * width)

    found = {width: over_limits(torch_complexity(build(width), SHAPE), limits) for width in range(1, 9)}
    best = widest(build, SHAPE, limits=limits)
    assert best == max(width for width, excess in found.items() if not excess) < 8
    assert found[best + 1]
    assert (len(found[best + 1]) == 1) == (limits["macs"] == 10**9 or size == "12k")


@pytest.mark.parametrize("limit", [10, 19, 20, 159, 160, 161, 10_239])
def test_bisection_finds_each_edge(limit: int) -> None:
    """Oracle: arithmetic: n filters of 3 x 3 with biases have 10 n parameters; of a width of k bits, k + 1 networks are
    built by doubling and k - 1 by bisection."""
    built = []

    def build(width: int) -> nn.Module:
        built.append(width)
        return nn.Conv2d(1, width, 3)

    found = widest(build, (1, 1, 4, 4), limits={"macs": 10**9, "parameter_bytes": limit})
    assert found == limit // 10
    assert len(built) == 2 * found.bit_length()


def test_what_has_no_widest_is_refused() -> None:
    """Oracle: the messages for a limit below the narrowest, for a width without effect, and for arguments."""
    with pytest.raises(UserError, match=r"not even the narrowest.*10 parameters, bytes at 8 bits, at most 9"):
        widest(lambda n: nn.Conv2d(1, n, 3), (1, 1, 4, 4), limits={"macs": 10**9, "parameter_bytes": 9})
    with pytest.raises(UserError, match="a network of 4096 steps still fits: its costs do not grow"):
        widest(lambda _: nn.Conv2d(1, 1, 3), (1, 1, 4, 4))
    with pytest.raises(UserError, match=r"is for .*cp_mobile, .*: baseline has no width"):
        widest_arguments("baseline", {}, SHAPE)
    with pytest.raises(UserError, match="base_channels, which is 16 already"):
        widest_arguments("cp_mobile", {"base_channels": 16}, SHAPE)


def test_the_published_sizes_are_as_wide_as_they_may_be() -> None:
    """Oracle: the largest submission and the later baseline, made to fill the limits: their own width comes out."""
    for size in ("127k", "61k"):
        base, multiplier, expansion, strides = SIZES[size]
        shape = {"channels_multiplier": multiplier, "expansion_rate": expansion, "strides": strides}
        arguments = {"classes": 10, "base_channels": None, **shape}
        assert widest_arguments("cp_mobile", arguments, SHAPE) == arguments | {"base_channels": base}
