"""What a model.tflite says of itself."""

from collections.abc import Mapping

from experiments.datasets.datamodule import DataModule
from experiments.training.checkpoint import Blueprint
from students.quantize.integer import IntegerNetwork
from students.quantize.metadata import CLIP_SECONDS


def metadata_of(
    integers: IntegerNetwork,
    blueprint: Blueprint,
    checkpoint_sha256: str,
    data: DataModule,
    more: Mapping[str, object],
) -> dict[str, object]:
    """As JSON.

    Args:
        integers: the network.
        blueprint, checkpoint_sha256: of the student that it was made of.
        data: what it was trained on.
        more: what else is known of it.
    """
    return {
        **blueprint.described(),
        CLIP_SECONDS: data.store.samples / data.store.sample_rate,
        **more,
        "exact": integers.exact,
        "checkpoint_sha256": checkpoint_sha256,
        "licence": f"learnt from the data set {data.clips.name}, whose licence bears on the use of this file",
    }
