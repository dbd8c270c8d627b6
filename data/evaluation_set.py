"""The clips that a challenge is decided on, from which nothing may be learnt: how their folder is known, and refused.

Conventions: an evaluation set is a folder that is called as the published ones are, or has their list of clips and no
list of train clips. Sounds in such a folder, or below one, belong to it.
"""

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from data.errors import UserError
from data.records import RULE, TEST_LIST, TRAIN

NAME = re.compile(r"TAU-urban-acoustic-scenes-\d{4}-mobile-evaluation")


def is_evaluation(folder: Path) -> bool:
    """Whether a folder is an evaluation set."""
    return bool(NAME.fullmatch(folder.name)) or ((folder / TEST_LIST).is_file() and not (folder / TRAIN).is_file())


def require_none_of_evaluation(files: Iterable[str]) -> None:
    """Check that no sound from which something is to be learnt lies in an evaluation set.

    Args:
        files: paths of the sounds; links to files and folders are followed.

    Raises:
        UserError: one does, with the rule that forbids it.
    """
    known = cache(is_evaluation)
    for folder in sorted({os.path.dirname(os.path.realpath(file) if os.path.islink(file) else file) for file in files}):
        place = Path(folder).resolve()
        if found := next((each for each in (place, *place.parents) if known(each)), None):
            raise UserError(
                f"{found} is an evaluation set, from which nothing may be learnt. By the task's rules: {RULE} Give a "
                "data set without it"
            )
