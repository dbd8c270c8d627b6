"""What the import stage takes over. (Its settings are not named like the stage, `import`, which no name in Python may
be.)"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.ranges import Stride
from data.settings import setting


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file of others, and what it does not say of itself."""

    checkpoint: str | None = setting(
        "a trained CP-Mobile of the public code bases of 2023 to 2025, with the front end student.mel.kind",
        is_path=True,
        default=None,
    )
    logits: str | None = setting(
        "logits (clips, classes): .pt, .npy or a table; they become a teacher's", is_path=True, default=None
    )
    filenames: str | None = setting(
        "names of the rows of logits: a table, or a name a line; null: those of the data set, in its order",
        is_path=True,
        default=None,
    )
    scenes: Sequence[str] | None = setting(
        "the classes in the order of the file's outputs; null: those of the data set, in its order", default=None
    )
    strides: Mapping[str, tuple[Stride, Stride]] | None = setting(
        "of the checkpoint's blocks, {b2:[2,2],b4:[2,1]}, which no file says; null: as published", default=None
    )
