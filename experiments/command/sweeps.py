"""A summary at the end of a command: of the runs of the stage before it, and of a sweep once, behind its last job."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from experiments.runs.layout import Layout
from experiments.settings.shared import Settings
from experiments.settings.stages import STAGES, Summary

SUMMARY = "summary"


def ends_with_summary(settings: Settings) -> bool:
    """Whether a command's last stage averages the runs of its other stages."""
    *others, last = settings.steps
    has_seed = any("seed" in STAGES[step].reads for step in others)
    return last == SUMMARY and has_seed and settings.of(Summary).runs is None


def without_summary(settings: Settings) -> Settings:
    """The same command without its last stage."""
    return dataclasses.replace(settings, steps=settings.steps[:-1])


def summary_of(jobs: Sequence[Settings]) -> Settings:
    """The command that averages the runs of some jobs: of their last stage that depends on a seed.

    Args:
        jobs: at least one, of which ends_with_summary holds.
    """
    folders = []
    for job in jobs:
        step = [step for step in job.steps if "seed" in STAGES[step].reads][-1]
        folders.append(str(Layout(Path(job.runs), job.name, job.job).folder(step)))
    own = {**jobs[0].own, Summary: dataclasses.replace(jobs[0].of(Summary), runs=folders)}
    return dataclasses.replace(jobs[0], steps=(SUMMARY,), job=(), own=own)
