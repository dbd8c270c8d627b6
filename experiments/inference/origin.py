"""Which model a file is: the run that it lies in, and how good that run found it."""

from pathlib import Path
from typing import NamedTuple

from data.errors import UserError
from data.readers import readers
from experiments.evaluation.official_test import extent, is_whole
from experiments.inference.included import NAME, about, is_included
from experiments.runs.layout import CHECKPOINT, MODEL
from experiments.runs.reader import is_run, read_run


class Origin(NamedTuple):
    """Of a model.

    Attributes:
        name: of its run, or of the file if it lies in none.
        quality: in words.
    """

    name: str
    quality: str

    def __str__(self) -> str:
        return f"{self.name}: {self.quality}"


def origin_of(model: str | Path) -> Origin:
    """Of a model file."""
    path = Path(model).absolute()
    if is_included(path):
        found = about()
        quality = _in_words(found["accuracy"], found["low"], found["high"])
        clips = "the clips of ESC-50 that it was not trained on"
        return Origin(NAME, f"comes with scenelet, not for commercial use, {quality} on {clips}")
    if path.name not in (MODEL, CHECKPOINT) or not is_run(path.parent):
        return Origin(path.name, "its accuracy is not known, for it lies in no finished run's folder")
    try:
        run = read_run(path.parent)
    except UserError:
        return Origin(path.parent.name, "its accuracy is not known, for the files of its run are damaged")
    accuracy, low, high = (run.scores.get(f"test/accuracy{edge}") for edge in ("", "/low", "/high"))
    if accuracy is None:
        return Origin(run.name, "its accuracy is not known, for its run has none of the test split")
    known = readers().get(str(run.data.get("kind")))
    part = extent(run.scores) if run.is_of_challenge and not is_whole(run.scores) else None
    clips = f"{part} of the test split" if part else "the test clips"
    return Origin(run.name, f"{_in_words(accuracy, low, high)} on {clips} of {known.title if known else 'its data'}")


def _in_words(accuracy: float, low: float | None, high: float | None) -> str:
    edges = "" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})"
    return f"accuracy {100 * accuracy:.1f} %{edges}"
