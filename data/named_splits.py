"""The splits that a table or folders name: their spellings, and folds of which one is for the test."""

from collections.abc import Sequence

from data.errors import UserError, some_of
from data.ranges import Fold
from data.scenes import SPLITS

SPELLINGS = {"val": "validation", "valid": "validation"}


def split_named(name: str) -> str:
    """The split of a name, as data/scenes.py has it; the name itself if it is none."""
    found = name.strip().lower()
    return SPELLINGS.get(found, found if found in SPLITS else name.strip())


def splits_of(values: Sequence[str], what: str) -> list[str]:
    """The names of splits as data/scenes.py has them; those that are none stay as they are.

    Args:
        values: as a table has them.
        what: the table and its column, for the message.

    Raises:
        UserError: none is the name of a split: they may be folds.
    """
    found = [split_named(value) for value in values]
    if any(found) and not set(found) & set(SPLITS):
        raise UserError(
            f"{what} are {some_of(found)}: none is a split ({', '.join(SPLITS)}); if they are folds, name the one of "
            "them for the test by data.test_fold=FOLD"
        )
    return found


def splits_of_folds(
    folds: Sequence[str], what: str, *, test_fold: Fold, validation_fold: Fold | None = None
) -> list[str]:
    """The split of each clip from its fold: test, validation or train; empty where there is no fold.

    Args:
        folds: as a table has them.
        what: the table and its column, for the message.
        test_fold, validation_fold: names of folds; None: there is no such split.

    Raises:
        UserError: a fold has no clips, or both are the same.
    """
    found = [fold.strip() for fold in folds]
    named = {"test": str(test_fold)} | ({} if validation_fold is None else {"validation": str(validation_fold)})
    for split, fold in named.items():
        if fold not in found:
            raise UserError(f"data.{split}_fold={fold} is none of the folds: {what} are {some_of(found)}")
    if named.get("validation") == named["test"]:
        raise UserError(f"data.validation_fold={validation_fold} is the test fold: choose another")
    of = {"": ""} | {fold: split for split, fold in named.items()}
    return [of.get(fold, "train") for fold in found]
