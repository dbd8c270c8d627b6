"""Operators of TFLite: their versions, and what they compute as PyTorch's padding does."""

import ai_edge_litert.schema_py_generated as schema

from students.quantize.layers import CONVOLUTION, Layer

# First versions of the operators that take int8 (PAD: int8 and zero point; CONV: per-channel scales).
VERSIONS = {
    **{"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "ADD": 2, "AVERAGE_POOL_2D": 2, "MAX_POOL_2D": 2, "PAD": 2},
    **{"SLICE": 2, "CONCATENATION": 2, "GATHER": 2, "LOGISTIC": 2, "MUL": 2, "TRANSPOSE": 2},
}
VERSIONS_OF_INT16 = {
    **{"CONV_2D": 6, "DEPTHWISE_CONV_2D": 5, "ADD": 4, "AVERAGE_POOL_2D": 3, "MAX_POOL_2D": 3, "PAD": 4},
    **{"SLICE": 4, "CONCATENATION": 3, "GATHER": 4, "TRANSPOSE": 4},
}
# With weights of 4 bits. The depthwise one keeps its version: the reference kernels have no higher one, and read them.
VERSIONS_OF_INT4 = {"CONV_2D": 7, "DEPTHWISE_CONV_2D": 3}


def padding_of(
    size: tuple[int, int], wanted: tuple[int, int], layer: Layer
) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """(scheme, cells before, cells after) of both axes that make TFLite compute what PyTorch's padding does.

    SAME pads (out - 1) * stride + extent of the kernel - in cells, the smaller half first. A pool under SAME divides by
    the valid cells only, PyTorch by all: pools with padding are always padded explicitly.
    """
    totals = [(out - 1) * s + k - n for n, out, s, k in zip(size, wanted, layer.stride, layer.extent, strict=True)]
    if (
        layer.kind == CONVOLUTION
        and layer.parts == 1
        and all(
            out == -(-n // s) and max(total, 0) // 2 == pad
            for n, out, s, total, pad in zip(size, wanted, layer.stride, totals, layer.padding, strict=True)
        )
    ):
        return schema.Padding.SAME, (0, 0), (0, 0)
    bottom, right = (max(0, total - pad) for total, pad in zip(totals, layer.padding, strict=True))
    return schema.Padding.VALID, layer.padding, (bottom, right)
