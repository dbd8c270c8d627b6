"""Which files the stages of a command need, found before the first stage starts."""

import dataclasses
import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import UserError, listed
from experiments.inference.included import NAME
from experiments.runs.layout import CHECKPOINT, LOGITS, MODEL, Layout
from experiments.settings.shared import Settings
from experiments.settings.stages import STAGES
from experiments.stages.whereabouts import unnamed_model

# Setting -> the stage and the file of the same name that it means if it is not given.
MADE_BY = {"logits": ("teacher", LOGITS), "checkpoint": ("student", CHECKPOINT), "model": ("quantize", MODEL)}
OF_RUNS = ("teacher.start", "student.weights")  # the folder of a run means its checkpoint
WRITTEN = "out"  # settings of this name say where a stage writes


def require_named(settings: Settings, layout: Layout) -> None:
    """Check that the files which a command names are there, or are written by one of its stages.

    Raises:
        UserError: some are not, or are something else than files; all of them are listed.
    """
    written = [layout.folder(step).resolve() for step in _written(settings)]
    problems = []
    for key, value in _named(settings):
        for path in map(Path, value if isinstance(value, list) else [value]):
            inside = {path.resolve(), path.resolve().parent} & set(written)
            if not (glob.has_magic(str(path)) or inside):
                problems += _problems(key, path)
    _refuse(problems)


def require_made(settings: Settings, layout: Layout) -> None:
    """Check that the files of the run's name which the stages of a command read are there, or are written by an earlier
    one of them.

    Raises:
        UserError: some are not; all of them are listed.
    """
    problems = []
    for key in _unnamed(settings):
        stage, file = MADE_BY[key]
        if stage in _written(settings):
            continue
        path = unnamed_model(settings) if key == "model" else layout.existing(stage, file)
        if not path.exists():
            problems.append(f"{path} does not exist: run the {stage} stage under this name first, or give {key}=FILE")
    _refuse(problems)


def _written(settings: Settings) -> list[str]:
    """The stages in whose folders a command writes."""
    return [name for step in settings.steps for name in (step, *STAGES[step].into)]


def _refuse(problems: list[str]) -> None:
    problems = list(dict.fromkeys(problems))
    if problems:
        raise UserError(problems[0] if len(problems) == 1 else f"these files cannot be read:\n{listed(problems)}")


def _problems(key: str, path: Path) -> list[str]:
    """Why a path that a setting names, and that no stage of the command writes, cannot be read, if so."""
    if not path.exists():
        return [f"{key}={path} does not exist"]
    if path.is_dir():
        if key in OF_RUNS:
            missing = not (path / CHECKPOINT).is_file()
            return [f"{key}={path} is a folder without {CHECKPOINT}: name that of a finished run"] if missing else []
        is_file = key in MADE_BY or key.startswith("source.")
        return [f"{key}={path} is a folder: name a file in it"] if is_file else []
    return [] if path.is_file() else [f"{key}={path} is no regular file: name another"]


def _named(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Settings of the command's stages that name files to read, with their values."""
    for step in settings.steps:
        stage = STAGES[step]
        for key in {*MADE_BY} & {*stage.reads}:
            if (value := getattr(settings, key)) and (key, value) != ("model", NAME):
                yield key, value
        if "student" in stage.reads and settings.student.weights:
            yield "student.weights", settings.student.weights
        if "teacher" in stage.reads and settings.teacher.start:
            yield "teacher.start", settings.teacher.start
        if "data" in stage.reads and settings.data.impulses:
            yield "data.impulses", settings.data.impulses
        groups = [(step, settings.of(stage.own))] if stage.own is not None else []
        groups += [("source", settings.source)] if "source" in stage.reads else []
        for prefix, group in groups:
            for each in dataclasses.fields(group):
                if each.metadata.get("is_path") and each.name != WRITTEN and (value := getattr(group, each.name)):
                    yield f"{prefix}.{each.name}", value


def _unnamed(settings: Settings) -> Iterator[str]:
    """The settings that mean a file of the run's name, because they name none."""
    for step in settings.steps:
        for key in MADE_BY:
            if key not in STAGES[step].reads or getattr(settings, key):
                continue
            if step == "teacher" or (key == "logits" and (step == "quantize" or settings.distill == "none")):
                continue  # its own checkpoint; logits that only some settings need, which the stage checks
            yield key
