"""Where the runs of a command lie, and which model it means."""

from pathlib import Path

from data.errors import UserError, listed
from experiments.inference.included import NAME, included_model
from experiments.runs.layout import Layout, matches
from experiments.settings.shared import Settings


def layout_of(settings: Settings) -> Layout:
    """Where the runs of this command lie.

    Raises:
        UserError: the name is no folder's.
    """
    return Layout(Path(settings.runs), settings.name, settings.job)


def models_of(settings: Settings) -> list[Path]:
    """The files of `model`; without it, see unnamed_model.

    Raises:
        UserError: that run is unfinished, or a pattern matches nothing.
    """
    if settings.model == NAME:
        return [included_model()]
    return matches("model", settings.model) if settings.model else [unnamed_model(settings)]


def unnamed_model(settings: Settings) -> Path:
    """What a command means that names no model: the quantised student of its name, which may not be there; or, if it
    has no name either and no student was trained without one, the model that comes with the package.

    Raises:
        UserError: that run is unfinished.
    """
    layout = layout_of(settings)
    own = layout.model()
    begun = (own.parent, layout.folder("student"), layout.root / "student" / layout.name)
    return own if "name" in settings.given or any(each.exists() for each in begun) else included_model()


def model_of(settings: Settings) -> Path:
    """As models_of, for stages that take one file.

    Raises:
        UserError: see models_of; or there are several.
    """
    path, *others = models_of(settings)
    if others:
        names = listed([str(each) for each in (path, *others)])
        raise UserError(f"model names {1 + len(others)} files, and this stage takes one:\n{names}")
    return path
