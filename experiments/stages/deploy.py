"""The deploy stage: a folder of C that computes a model from a microphone's samples to the scene."""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from data.errors import UserError
from data.files import file_sha256
from experiments.device.measure import check_on_host, has_tools, measured
from experiments.device.toolchain import NoDeviceError
from experiments.inference.included import FOLDER, NOTICE, is_included
from experiments.inference.origin import origin_of
from experiments.models.on_device import model_in
from experiments.report.device import cost_grids, cost_table
from experiments.report.publish import finish, is_done, refresh
from experiments.runs.layout import COST, is_float, write_text
from experiments.runs.reader import read_run
from experiments.settings.models import Deploy
from experiments.settings.shared import Settings
from experiments.stages.context import new_run
from experiments.stages.whereabouts import model_of
from students.complexity import layer_macs, tflite_operators
from students.device.c_text import template
from students.device.cost import Cost
from students.device.library import Model, library_files, state_bytes
from students.device.vectors import COUNT, vectors_text

README, VECTORS = "README.md", "selftest/vectors.h"

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Write the C of `model` into the run's folder, and what it costs; print the tables."""
    own, path = settings.of(Deploy), model_of(settings)
    if is_float(path):
        raise UserError(
            f"{path} stores floats, and the C computes integers: quantise the student to integers under another name, "
            "and give that one"
        )
    log.info("model %s", origin_of(path))
    model, licence = model_in(path, own.device)
    _require_memory(path, model, own.ram)
    inputs, depends_on = {"model": file_sha256(path)}, {"device": own.device, "version": version("scenelet")}
    this = new_run(settings, "deploy", depends_on=depends_on, inputs=inputs, sources=[path])
    # What was written without the tools is measured when they are there.
    if not is_done(this, README, "src/scenelet.h", VECTORS, *([COST] if has_tools() else [])):
        written = library_files(model, version("scenelet"))
        written[VECTORS] = vectors_text(model)
        # What is wrong, and with which tools, is found before an earlier result is gone.
        macs = layer_macs(tflite_operators(path))
        cost = _proved_and_measured(written, model, macs)
        written[README] = _readme(this.folder.name, path, inputs["model"], model, licence, cost)
        if is_included(path):
            written[NOTICE] = (FOLDER / NOTICE).read_text()
        this.start()
        _write(this.folder, written)
        scores: dict[str, float] = {"device/ram_bytes": state_bytes(model)}
        if not isinstance(cost, str):
            write_text(this.folder / COST, json.dumps(cost.described(), indent=1))
            scores |= cost.metrics()
        finish(this, scores)
        refresh(path.parent)
    if (known := read_run(this.folder).cost) is not None:
        for grid in cost_grids(known):
            Console().print(cost_table(grid))
    log.info("%s: make selftest there compares it with Python", this.folder)


def _write(folder: Path, written: Mapping[str, str]) -> None:
    """All files, or, if that is interrupted, none that an earlier result or half of this one could be built from."""
    new, names = folder / ".new", sorted({name.split("/")[0] for name in written})
    for name in (new.name, *names):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (folder / name).unlink(missing_ok=True)
    for name, text in written.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(new / name, text)
    for name in names:
        (new / name).rename(folder / name)
    new.rmdir()


def _require_memory(path: Path, model: Model, limit: int | None) -> None:
    if limit is not None and (needed := state_bytes(model)) > limit:
        raise UserError(
            f"{path} needs {needed:,} bytes of RAM, without the stack, and deploy.ram={limit:,}: take a smaller "
            "student, or shorter transforms (student.mel.fft)"
        )


def _proved_and_measured(written: Mapping[str, str], model: Model, macs: Sequence[int]) -> Cost | str:
    """What the C costs on an emulated Cortex-M4; or why that is not known: tools are missing, or it is larger than that
    device. There, and on this machine, it has to compute what Python computes."""
    try:
        check_on_host(written)
    except NoDeviceError as error:
        log.warning("the C is not compared with Python on this machine: %s", error)
    try:
        return measured(written, model, macs)
    except NoDeviceError as error:
        log.warning("the C is not measured on an emulated Cortex-M4: %s", error)
        return str(error)


def _readme(name: str, path: Path, sha: str, model: Model, licence: str, cost: Cost | str) -> str:
    threshold = model.confidence.threshold
    known = "none: every clip has a scene" if threshold is None else f"{threshold:.1%}: below it the answer is unknown"
    return template(README).format(
        name=name,
        version=version("scenelet"),
        model=path.name,
        sha=sha[:16],
        seconds=model.samples / model.front_end.sample_rate,
        samples=model.samples,
        rate=model.front_end.sample_rate,
        classes=len(model.scenes),
        scenes=", ".join(f"`{scene}`" for scene in model.scenes).replace("|", "\\|"),  # in a table, and with commas
        ram=f"{state_bytes(model):,} bytes",
        threshold=known,
        table=_tables(cost),
        vectors=COUNT,
        licence=licence,
    )


def _tables(cost: Cost | str) -> str:
    if isinstance(cost, str):
        return f"What it costs was not measured: {cost}"
    return "\n\n".join(f"{grid.title}:\n\n{grid.markdown()}" for grid in cost_grids(cost))
