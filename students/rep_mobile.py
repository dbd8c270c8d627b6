"""Rep-Mobile: a CP-Mobile whose depthwise convolutions have parallel branches in training and are single ones after it.

Conventions: those of cp_mobile.py, whose blocks, widths and strides these are. Costs are counted of the network as it
is deployed (blocks.py): each depthwise 3 x 3 convolution once, with a bias. In training it is the sum of four,
3 x 3, 3 x 1, 1 x 3 and 1 x 1, each with its BatchNorm.
Source: Han et al., "Data-Efficient Low-Complexity Acoustic Scene Classification via Distilling and Progressive
Pruning", arXiv:2410.20775, 2024 (2024's winner), of which only the abstract could be read: "multi-convolution branches
which can be reparameterized at inference". The kernels are those of public code of DCASE 2025 Task 1, which has such
branches in the blocks of CP-Mobile (Chang_HYU_task1, class RepConv). What else the authors changed is not known here,
and their widths are not either: sizes are CP-Mobile's.
"""

from collections.abc import Mapping, Sequence

from torch import nn

from data import bibliography
from data.errors import UserError
from data.ranges import Channels, Classes, Depth, Factor, Stride
from students.blocks import ParallelConvolution, convolution, initialise
from students.cp_mobile import BLOCKS, SIZES, Block, cp_mobile
from students.entry import Student, Width

KERNELS = ((3, 3), (3, 1), (1, 3), (1, 1))


def rep_mobile(
    *,
    classes: Classes = 10,
    size: str = "61k",
    base_channels: Channels | None = None,
    channels_multiplier: Factor | None = None,
    expansion_rate: Factor | None = None,
    strides: Mapping[str, Sequence[Stride]] | None = None,
    blocks: Sequence[Depth] = BLOCKS,
) -> nn.Module:
    """Build a Rep-Mobile: arguments and errors are those of cp_mobile, without its `grn`."""
    try:
        network = cp_mobile(
            classes=classes,
            size=size,
            base_channels=base_channels,
            channels_multiplier=channels_multiplier,
            expansion_rate=expansion_rate,
            strides=strides,
            blocks=blocks,
        )
    except UserError as error:
        raise UserError(str(error).replace("cp_mobile", "rep_mobile")) from None
    for block in network.modules():
        if isinstance(block, Block):
            filtered, _, relu = block.path[1]
            channels, stride = filtered.out_channels, filtered.stride
            branches = [convolution(channels, channels, k, stride, groups=channels, relu=False) for k in KERNELS]
            block.path[1] = nn.Sequential(ParallelConvolution(branches), relu)
    initialise(network)
    return network


STUDENT = Student(
    build=rep_mobile,
    family="CNN",
    citation=bibliography.REP_MOBILE,
    has_integer_form=True,
    sizes=tuple(SIZES),
    width=Width("base_channels", step=8),
)
