"""The published records of the challenge's data: where they are described, what they unpack into, and their terms.

Conventions: lists are named relative to the folder that a record unpacks into.

Sources: development set, Zenodo record 6337421. Evaluation set of 2023, Zenodo record 7870258: the number, the names of
its archives and their md5 sums were read in soundata (https://github.com/soundata/soundata,
soundata/datasets/tau2022uas_mobile.py), the record itself was not; their sizes are read from it when they are fetched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

META, SETUP = "meta.csv", "evaluation_setup"
TRAIN = f"{SETUP}/fold1_train.csv"
TEST = f"{SETUP}/fold1_evaluate.csv"
TEST_LIST = f"{SETUP}/fold1_test.csv"  # the clips of TEST without labels; the only list of an evaluation set
UNFINISHED = ".download"  # the folder that is there while a record is being fetched
DEVELOPMENT, EVALUATION = "development", "evaluation"  # the parts of the data set, values of data.part
# Of the task's page of 2023, "Task specific rules".
RULE = (
    "The evaluation dataset cannot be used to train the submitted system; the use of statistics about the evaluation "
    "data in the decision-making is also forbidden."
)
_ZENODO, _API = "https://zenodo.org/records/", "https://zenodo.org/api/records/"
_TOP = "TAU-urban-acoustic-scenes-{}-mobile-{}"
_BY_HAND = (
    "let data.root be a new folder and fetch it (data.download=true), or fetch all zip files of {} by hand, unpack "
    "them, and name the folder {}"
)


@dataclass(frozen=True)
class Record:
    """What is published under one number.

    Attributes:
        url: its description (REST API of Zenodo, GET /api/records/<id>).
        top: the folder that its archives unpack into.
        marker: the list below that folder without which the set is not there.
        terms: of use.
        help: how a user gets the set.
        md5: of its archives, by name, as far as they are known from elsewhere than the record.
    """

    url: str
    top: str
    marker: str
    terms: str
    help: str
    md5: Mapping[str, str]


def _development() -> Record:
    page, top = f"{_ZENODO}6337421", _TOP.format(2022, DEVELOPMENT)
    return Record(
        url=f"{_API}6337421",
        top=top,
        marker=META,
        terms=(
            "TAU Urban Acoustic Scenes 2022 Mobile, (c) Tampere University and its licensors: free for experimental "
            "and non-commercial use only, any commercial use is prohibited, and its source must be acknowledged. "
            f"Terms: {page}"
        ),
        help=f"let data.root be the folder with meta.csv. To get the data set, {_BY_HAND.format(page, top)}",
        md5={},
    )


def _evaluation() -> Record:
    page, top = f"{_ZENODO}7870258", _TOP.format(2023, EVALUATION)
    return Record(
        url=f"{_API}7870258",
        top=top,
        marker=TEST_LIST,
        terms=f"TAU Urban Acoustic Scenes 2023 Mobile, evaluation set. Terms: {page}. By the task's rules: {RULE}",
        help=(
            f"let data.root be the folder with {SETUP}/ and audio/. To get the evaluation set, "
            f"{_BY_HAND.format(page, top)}"
        ),
        md5={
            f"{top}.audio.1.zip": "9f085fb1f4678a2f54eb3ef89f68693c",
            f"{top}.audio.2.zip": "f463be49f71247c4eb683a0fb36e3ae5",
            f"{top}.audio.3.zip": "e711abc5c287d5f1c768848c50b38c49",
            f"{top}.audio.4.zip": "fc4b798897a067b67e80799bef4a3b9f",
            f"{top}.audio.5.zip": "f317da857edaa9de7a1b8ef5d67f15e7",
            f"{top}.audio.6.zip": "9b533e27c01b603773e61bd4ad2d2d97",
            f"{top}.audio.7.zip": "bbc3c7a86d7c04149059525808fd9389",
            f"{top}.audio.8.zip": "658213f02ee4737fb17d11daaa1bc0b4",
            f"{top}.doc.zip": "6cbdacf7eed2718a987f88023c1bc104",
            f"{top}.meta.zip": "21deb3451741b6dab46287eb220261c2",
        },
    )


RECORDS: Mapping[str, Record] = MappingProxyType({DEVELOPMENT: _development(), EVALUATION: _evaluation()})
