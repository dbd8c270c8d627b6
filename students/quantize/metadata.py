"""What a TFLite file of scenelet says of itself, as JSON."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from data.damage import WrongValueError

LONGEST, DEEPEST = 1 << 20, 20  # bytes, brackets within brackets
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")  # operators with weights
SIGMOID_OF_SILU = "/sigmoid"  # how the name of the first of its two operators' output ends
METADATA_NAME = "scenelet"
SETS, DEVICES = "scenelet devices", "devices"  # see sets.py
CLIP_SECONDS = "clip_seconds"  # the length of a clip; files of earlier versions do not say it


def parse_metadata(note: bytes) -> Mapping[str, Any]:
    """Read the metadata; what the names stand for is checked where they are used.

    Raises:
        WrongValueError: they are no JSON object, contain what is no number, or are longer or deeper than any of ours.
    """
    if len(note) > LONGEST:
        raise WrongValueError(f"its metadata have {len(note):,} bytes, at most {LONGEST:,} are read")

    def refuse(number: str) -> NoReturn:
        raise WrongValueError(f"its metadata contain {number}, which is not a number")

    metadata = json.loads(note, parse_constant=refuse)
    if not isinstance(metadata, dict):
        raise WrongValueError(f"its metadata are {metadata!r}, not an object")
    if (depth := _depth(metadata)) > DEEPEST:
        raise WrongValueError(f"its metadata are nested {depth} deep, at most {DEEPEST} are read")
    return metadata


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level:
        values = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level, depth = [inner for each in values for inner in each], depth + 1
    return depth
