"""Finished runs as the statistics over seeds take them; see seeds.py."""

from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError, listed
from data.readers import is_of_challenge
from experiments.evaluation.official_test import extent, is_whole
from experiments.evaluation.seeds import Result
from experiments.runs.formats import DAMAGE, config_in
from experiments.runs.identity import flat
from experiments.runs.layout import CONFIG, RECORD, SCORES
from experiments.runs.plain_yaml import part_of
from experiments.runs.reader import read_record, read_scores


def read_results(folders: Sequence[Path]) -> tuple[list[Result], list[str]]:
    """The finished runs, each once, and the folders of those that are not finished.

    Raises:
        UserError: folders that are no runs, damaged files, or no finished run at all; every one is listed.
    """
    results, unfinished, wrong = [], [], []
    for folder in {path.resolve(): path for path in folders}.values():
        if not (folder / RECORD).is_file() and not (folder / CONFIG).is_file():
            wrong.append(f"{folder} is no run: it has neither {RECORD} nor {CONFIG}")
        elif not (folder / RECORD).is_file():
            unfinished.append(str(folder))
        else:
            try:
                results.append(_read_result(folder))
            except UserError as error:
                wrong.append(str(error))
    if wrong:
        raise UserError(f"summary.runs must name folders of runs with a seed, runs/<stage>/<name>:\n{listed(wrong)}")
    if not results:
        raise UserError(f"none of these runs is finished:\n{listed(unfinished)}\nrun their stage again")
    return results, unfinished


def _read_result(folder: Path) -> Result:
    record, scores = read_record(folder), read_scores(folder / SCORES)
    settings = flat(record.settings)
    part = extent(scores) if is_of_challenge(_kind_of_data(folder)) and not is_whole(scores) else None
    if not isinstance(seed := settings.pop("seed", None), int):
        raise UserError(f"{folder} depends on no seed: such runs have nothing to be averaged over")
    return Result(str(folder), seed, settings, record.inputs, scores, part)


def _kind_of_data(folder: Path) -> str:
    """Of the data set that a run was asked for; of no set if its config does not say, or is damaged."""
    try:
        return str(part_of(config_in(folder / CONFIG).encode(), "data").get("kind"))
    except DAMAGE:
        return ""
