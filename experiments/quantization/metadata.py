"""What a model.tflite says of itself."""

from collections.abc import Mapping

from experiments.training.checkpoint import Blueprint
from students.quantize.integer import IntegerNetwork


def metadata_of(
    integers: IntegerNetwork, blueprint: Blueprint, checkpoint_sha256: str, data_set: str, more: Mapping[str, object]
) -> dict[str, object]:
    """As JSON.

    Args:
        integers: the network.
        blueprint, checkpoint_sha256: of the student that it was made of.
        data_set: the name of what it was trained on.
        more: what else is known of it.
    """
    return {
        **blueprint.described(),
        **more,
        "exact": integers.exact,
        "checkpoint_sha256": checkpoint_sha256,
        "licence": f"learnt from the data set {data_set}, whose licence bears on the use of this file",
    }
