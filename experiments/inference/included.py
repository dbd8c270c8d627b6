"""The model that comes with the package, so that sounds can be classified before anything is trained.

Conventions: its folder has the network of integers, the notice of its licence, and what it is in about.json: accuracy,
low and high (edges of its 95 % interval) on the clips of ESC-50 that it was not trained on.
"""

import json
from pathlib import Path
from typing import Any

from experiments.runs.layout import MODEL

NAME = "esc50"  # what `model` calls it
FOLDER = Path(__file__).parents[1] / "included" / NAME
NOTICE = "NOTICE.txt"


def included_model() -> Path:
    """Its file, which is read only."""
    return FOLDER / MODEL


def is_included(model: str | Path) -> bool:
    """Whether a model file is the included one."""
    return Path(model).resolve() == included_model().resolve()


def about() -> dict[str, Any]:
    """What about.json says."""
    return json.loads((FOLDER / "about.json").read_text())
