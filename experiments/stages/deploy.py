"""The deploy stage: a folder of C that computes a model from a microphone's samples to the scene."""

import json
import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from data.damage import explain_damage
from data.errors import UserError
from data.files import file_sha256
from data.front_ends.integer_steps import integer_front_end
from data.scenes import PART_SECONDS
from experiments.device.measure import check_on_host, measured
from experiments.inference.classifier import load_classifier
from experiments.report.device import cost_grids, cost_table
from experiments.report.publish import finish, is_done
from experiments.runs.layout import COST, write_text
from experiments.runs.reader import read_run
from experiments.settings.shared import Settings
from experiments.settings.stages import Deploy
from experiments.stages.context import model_of, new_run
from students.complexity import tflite_operators
from students.device.cost import Cost
from students.device.library import Model, library_files, state_bytes, template
from students.device.vectors import COUNT, vectors_text
from students.quantize.answer import confidence_of
from students.quantize.read import read_tflite

README, VECTORS = "README.md", "selftest/vectors.h"
PAD = "PAD"  # an operator of the file that is no layer

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Write the C of `model` into the run's folder, and what it costs; print the tables."""
    own, path = settings.of(Deploy), model_of(settings)
    inputs, depends_on = {"model": file_sha256(path)}, {"device": own.device, "version": version("scenelet")}
    this = new_run(settings, "deploy", depends_on=depends_on, inputs=inputs, sources=[path])
    if not is_done(this, README, "src/scenelet.h", VECTORS):
        model, licence = model_in(path, own.device)
        _require_memory(path, model, own.ram)
        written = library_files(model, version("scenelet"))
        written[VECTORS] = vectors_text(model)
        # What is wrong, and with which tools, is found before an earlier result is gone.
        macs = [each.macs for each in tflite_operators(path) if each.kind != PAD]
        cost = _proved_and_measured(written, model, macs)
        written[README] = _readme(this.folder.name, path, inputs["model"], model, licence, cost)
        this.start()
        for name, text in written.items():
            (this.folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(this.folder / name, text)
        if cost is not None:
            write_text(this.folder / COST, json.dumps(cost.described(), indent=1))
        finish(this, {"device/state_bytes": state_bytes(model)} | ({} if cost is None else cost.metrics()))
    if (cost := read_run(this.folder).cost) is not None:
        for grid in cost_grids(cost):
            Console().print(cost_table(grid))
    log.info("%s: make selftest there compares it with Python", this.folder)


def model_in(path: Path, device: str | None = None) -> tuple[Model, str]:
    """The network of a file, or that of a recording device, with its front end in integers; and its licence.

    Raises:
        UserError: the file is damaged, has no tensors of the device, or no form in C.
    """
    network, metadata = read_tflite(path)
    classifier = load_classifier(path)  # with all that it checks
    general = network.of_device("" if device is None else device)
    if device is not None and device not in network.sets:
        known = ", ".join(network.sets) or "none"
        raise UserError(f"deploy.device={device}: {path} has tensors of these devices of its own: {known}")
    with explain_damage(path):
        confidence = confidence_of(metadata)
    rate = classifier.sample_rate
    front_end = integer_front_end(rate, metadata["mel"])
    model = Model(general, front_end, round(PART_SECONDS * rate), classifier.scenes, confidence)
    return model, str(metadata.get("licence", "of what, its file does not say"))


def _require_memory(path: Path, model: Model, limit: int | None) -> None:
    if limit is not None and (needed := state_bytes(model)) > limit:
        raise UserError(
            f"{path} needs {needed:,} bytes of RAM, without the stack, and deploy.ram={limit:,}: take a smaller "
            "student, or shorter transforms (student.mel.fft)"
        )


def _proved_and_measured(written: Mapping[str, str], model: Model, macs: Sequence[int]) -> Cost | None:
    """What the C costs on an emulated Cortex-M4, if the tools are installed. There, and on this machine, it has to
    compute what Python computes."""
    try:
        check_on_host(written)
    except UserError as error:
        log.warning("the C is not compared with Python on this machine: %s", error)
    try:
        return measured(written, model, macs)
    except UserError as error:
        log.warning("the C is not measured on an emulated Cortex-M4: %s", error)
        return None


def _readme(name: str, path: Path, sha: str, model: Model, licence: str, cost: Cost | None) -> str:
    threshold = model.confidence.threshold
    known = "none: every clip has a scene" if threshold is None else f"{threshold:.1%}: below it the answer is unknown"
    return template(README).format(
        name=name,
        version=version("scenelet"),
        model=path.name,
        sha=sha[:16],
        seconds=PART_SECONDS,
        samples=model.samples,
        rate=model.front_end.sample_rate,
        classes=len(model.scenes),
        scenes=", ".join(model.scenes),
        ram=f"{state_bytes(model):,} bytes",
        threshold=known,
        table=_tables(cost),
        vectors=COUNT,
        licence=licence,
    )


def _tables(cost: Cost | None) -> str:
    if cost is None:
        return "Its cost was not measured: the tools for it were not installed."
    return "\n\n".join(f"{grid.title}:\n\n{grid.markdown()}" for grid in cost_grids(cost))
