"""The search stage: among all students of a space, those that are good for what they cost, by the clips held out.

Conventions: what is trained and judged are the clips without the test split (search/trial.py). trials.csv has the
finished trainings, of which none is done twice; tables, plots and the four systems that are picked are made anew.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.front_ends.integer_steps import integer_front_end
from data.settings import identity_of
from experiments.command.jobs import has_launcher, launch
from experiments.command.schema import composed
from experiments.datasets.datamodule import DataModule, prepare, require_held_out
from experiments.distributed.fabric import computing
from experiments.evaluation.systems import read_systems
from experiments.report.search import Searches, publish
from experiments.runs.layout import Layout
from experiments.runs.record import Run
from experiments.search.answers import TRIALS
from experiments.search.choice import as_student, require_searchable
from experiments.search.costs import Cost, affordable, budget_of, cost_of, costs_of, size_of
from experiments.search.energy import metered
from experiments.search.front import Searched
from experiments.search.halving import Plan, Trial, ranges_of, read_trial, search
from experiments.search.published import published_by
from experiments.search.results import results_of
from experiments.search.space import Network, networks_of
from experiments.search.table import FILE, add_rows, read_rows, require_settings, unfinished
from experiments.search.trial import Job
from experiments.settings.parts import Quantize, Recipe
from experiments.settings.search import Search
from experiments.settings.shared import Settings, StudentSettings
from experiments.settings.stages import Rank
from experiments.stages.fitting import fitted_recipe, with_fitted_augmentation
from experiments.stages.training import require_trainable, spectrogram_shape, student_arguments, targets_of, trainer_of
from experiments.stages.whereabouts import layout_of
from experiments.training.checkpoint import Blueprint
from experiments.training.distillation import Targets, student_loss
from students import build_student

WHAT = "the search, which judges by them,"
DIGITS = 12  # of a digest

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """See settings/stages.py. A network of the space is built."""
    asked, student = settings.of(Search), settings.student
    layout_of(settings).folder("search")
    require_held_out(settings.data, WHAT)
    if asked.trial is not None:
        read_trial(asked.trial)
    student_loss(student.distill)
    if (path := settings.of(Rank).systems) is not None:
        read_systems(path)
    require_searchable(settings)
    own = replace(settings, student=as_student(student, networks_of(asked.arguments, asked.mel)[0]))
    require_trainable(own, "student", student.fit, own.student.augment, spectrogram_shape(own, "student"))


def run(settings: Settings) -> None:
    """Search; write trials.csv, front.csv, front.png, energy.json and report.html, and print the tables. With
    search.trial, compute that row of trials.csv."""
    asked, whole = settings.of(Search), prepare(settings.data, settings.cache_folder)
    whole.require_validation(WHAT)
    layout = Layout(Path(settings.runs), settings.name) if asked.trial else layout_of(settings)
    this = _Searching(settings, whole, targets_of(settings, whole), layout.folder("search"))
    table = this.folder / FILE
    if asked.trial is not None:
        add_rows(table, this.job(read_trial(asked.trial)).rows())
        return
    if settings.force:
        shutil.rmtree(this.folder / TRIALS, ignore_errors=True)
        table.unlink(missing_ok=True)
    require_settings(table, read_rows(table), this.digest)
    costs = this.costs()
    sizes = {key: size_of(next(iter(own.values())), asked.costs) for key, own in costs.items()}
    plan = Plan(
        ranges=ranges_of(sizes, asked.ranges),
        candidates=asked.candidates,
        epochs=this.epochs,
        seeds=asked.seeds,
        control=asked.control,
        seed=settings.seed,
    )
    log.info("%d networks in %d ranges of cost; of each range are trained %s", len(costs), len(plan.ranges), plan.words)
    outcome = search(plan, this.train)
    diverged = {key for key, row in read_rows(table).items() if row.diverged}
    results = results_of(outcome, costs, this.networks, this.data, this.folder, diverged)

    ranked, baseline = settings.of(Rank), composed("student=baseline").student.mel
    published = published_by(ranked.year, ranked.set, ranked.systems)
    picks = published.picks(results.found)
    about = Searches(
        plan=plan,
        outcome=outcome,
        results=results,
        published=published,
        energies=metered(picks, this.data, this.folder, this.calibration, asked.metered, baseline),
        costs=asked.costs,
        budget=this.budget,
        command=this.command,
    )
    publish(this.folder, about)


@dataclass(frozen=True)
class _Searching:
    """A space, and what its trials have in common; `whole` has the test split, which only its fingerprint is of."""

    settings: Settings
    whole: DataModule
    targets: Targets
    folder: Path

    @cached_property
    def data(self) -> DataModule:
        return self.whole.without_test

    @cached_property
    def networks(self) -> dict[str, Network]:
        asked = self.settings.of(Search)
        return {network.key: network for network in networks_of(asked.arguments, asked.mel)}

    @cached_property
    def recipe(self) -> Recipe:
        """As a student is trained that is not searched for."""
        return fitted_recipe(self.settings, "student", self.settings.student.fit, self.data)

    @property
    def epochs(self) -> int:
        """Of the longest trainings."""
        share = 1.0 if self.settings.epochs is not None else self.settings.of(Search).share
        return max(1, round(share * self.recipe.epochs))

    @property
    def calibration(self) -> tuple[int, Any]:
        own = self.settings.of(Quantize)
        return own.clips, own.percentile

    @property
    def budget(self) -> dict[str, float]:
        own, asked = self.settings.student.budget, self.settings.of(Search).budget
        return budget_of(asked, {"ram": own.ram, "cycles": own.cycles}, has_limits=self.settings.limits == "error")

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What all trials depend on, beside their networks, epochs and seeds."""
        student = identity_of(self.settings.student)
        found = {name: value for name, value in student.items() if name not in ("budget", "prune")}
        own = {"student": found, "distill": self.settings.distill, "calibration": [*self.calibration]}
        return {**own, **computing(self.settings.fabric)}

    @property
    def inputs(self) -> dict[str, str]:
        return {**self.whole.fingerprint, **self.targets.inputs}

    @cached_property
    def digest(self) -> str:
        text = json.dumps([self.identity, self.inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]

    def costs(self) -> dict[str, dict[int, Cost]]:
        """Of the networks within the budget; see costs_of and affordable."""
        asked, samples = self.settings.of(Search), self.data.store.samples

        def cost(network: Network, bits: int) -> Cost:
            student, arguments = self._student(network)
            built = build_student(student.builder, **arguments)
            front_end = integer_front_end(self.settings.data.sample_rate, student.mel)
            return cost_of(built, front_end, samples, len(self.data.clips.scenes), bits, asked.nanojoules)

        return affordable(costs_of(list(self.networks.values()), sorted(asked.bits, reverse=True), cost), self.budget)

    def _student(self, network: Network) -> tuple[StudentSettings, dict[str, object]]:
        """The settings of a network, and what it is built with."""
        student = as_student(self.settings.student, network)
        shape = spectrogram_shape(replace(self.settings, student=student), "student")
        return student, student_arguments(student, len(self.data.clips.scenes), shape)

    def train(self, trials: Sequence[Trial]) -> dict[Trial, tuple[float, float]]:
        """Train what is not finished; returns scores, of integers with most bits.

        Raises:
            UserError: a training is not possible.
        """
        missing = unfinished(trials, self.bits, self.folder)
        log.info("%d trainings, of which %d are finished", len(trials), len(trials) - len(missing))
        if missing and has_launcher():
            launch("search", self.folder.name, "search.trial", [trial.key for trial in missing])
            missing = unfinished(trials, self.bits, self.folder)  # none, unless files were lost meanwhile
        for trial in missing:
            add_rows(self.folder / FILE, self.job(trial).rows())
        rows = read_rows(self.folder / FILE)
        return {trial: rows[trial, self.bits(trial)[0]].score for trial in trials}

    def bits(self, trial: Trial) -> Sequence[int]:
        """Of the integers that a trial is judged by: those that decide who goes on have the most."""
        asked = sorted(self.settings.of(Search).bits, reverse=True)
        return asked if trial.epochs == self.epochs else asked[:1]

    def job(self, trial: Trial) -> Job:
        """The training of a trial, whose network may be none of the space, which is an error."""
        if (network := self.networks.get(trial.network)) is None:
            raise UserError(f"search.trial={trial.key} is of no network of this space, by search.arguments, search.mel")
        student, arguments = self._student(network)
        # That the batch is smaller than asked for was said; few epochs are meant.
        fit = replace(student.fit, batch_size=self.recipe.batch_size, least_steps=None)
        own = replace(
            self.settings, student=replace(student, fit=fit), seed=trial.seed, epochs=trial.epochs, refit=False
        )
        own = with_fitted_augmentation(own, "student", self.data)
        recipe = fitted_recipe(own, "student", fit, self.data)
        blueprint = Blueprint(
            student.builder,
            arguments,
            student.mel,
            self.data.clips.scenes,
            own.data.sample_rate,
            self.whole.fingerprint["clips"],
            clip_seconds=own.data.clip_seconds,
        )
        identity = {**self.identity, "network": network.words, "epochs": trial.epochs, "seed": trial.seed}
        return Job(
            run=Run(self.folder / TRIALS / trial.key, settings=identity, inputs=self.inputs, config=identity),
            words=network.words,
            data=self.data,
            blueprint=blueprint,
            trainer=trainer_of(own, recipe, own.student.augment),
            distillation=student.distill,
            targets=self.targets,
            bits=self.bits(trial),
            calibration=self.calibration,
            settings=self.digest,
        )

    def command(self, system: Searched) -> str:
        """What trains a system in full, and makes it integers."""
        return system.network.command(self.settings.student.builder, system.bits)
