"""What a training uses that others made: published weights, impulse responses, other data sets; and what it is.

Conventions: the attributes `name`, `url` and `total_audio_length` of a resource are the fields of the organisers'
meta.yaml. A fingerprint is the SHA-256 of content, never of a name, a place or a date. Uses are written down as rows,
mappings with the attributes' names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from data.errors import in_short
from data.signatures import misfits


@dataclass(frozen=True)
class Resource:
    """A data set, a pretrained model, or a collection of impulse responses.

    Attributes:
        name: as its publishers write it.
        url: where it is published or described.
        total_audio_length: minutes; None where it is not known or the data are not audio.
        type: what it is, in the words of the challenge's list: audio, image, model, IR, ...
        licence: as its publishers state it; None where nothing is stated.
    """

    name: str
    url: str
    total_audio_length: float | None = None
    type: str = "audio"
    licence: str | None = None


@dataclass(frozen=True)
class Use:
    """What a training read of others.

    Attributes:
        what: weights, impulse responses, data.
        name: of the file or folder, or under which a library fetched it.
        fingerprint: of its content.
        resources: what it is known to be or to be made of.
        is_known: whether these are all; if not, only the user can say what it is.
    """

    what: str
    name: str
    fingerprint: str
    resources: tuple[Resource, ...] = ()
    is_known: bool = True


WEIGHTS, RESPONSES, DATA = "weights", "impulse responses", "data"  # `what` of a Use

AUDIOSET = Resource(
    "AudioSet", "https://research.google.com/audioset/", type="audio, video", licence="CC BY 4.0 (labels)"
)
IMAGENET = Resource(
    "ImageNet", "https://www.image-net.org", type="image", licence="non-commercial research and education"
)
IMAGENET_21K = Resource("ImageNet-21k", IMAGENET.url, type="image", licence=IMAGENET.licence)
JFT = Resource("JFT-300M", "https://arxiv.org/abs/1707.02968", type="image", licence="not public")
OPENMIC = Resource("OpenMIC-2018", "https://zenodo.org/record/1432913", licence="CC BY 4.0")
FSD50K = Resource("FSD50K", "https://zenodo.org/record/4060432", licence="CC BY 4.0 (clips: their own)")
MICIRP = Resource("MicIRP", "http://micirp.blogspot.com", type="IR", licence="Creative Commons")

Kind = TypeVar("Kind", Resource, Use)


def as_rows(uses: Iterable[Use]) -> list[dict[str, Any]]:
    """As they are written down."""
    return [asdict(use) for use in uses]


def uses_in(rows: Any) -> list[Use]:
    """The uses of some rows.

    Raises:
        ValueError, TypeError or LookupError: it does not hold what it should.
    """
    if not isinstance(rows, list):
        raise TypeError(f"a {type(rows).__name__} stands where a list of uses belongs")
    if lacking := [row for row in rows if not isinstance(row, Mapping) or "resources" not in row]:
        raise ValueError(f"resources is missing in {in_short(lacking[0])}")
    return [_made(Use, {**row, "resources": tuple(_made(Resource, each) for each in row["resources"])}) for row in rows]


def _made(kind: type[Kind], row: Mapping[str, Any]) -> Kind:
    if wrong := misfits(kind, row):
        raise ValueError(", ".join(wrong))
    return kind(**row)
