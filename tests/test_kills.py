"""Commands that are killed at any moment: the same command again ends as if nothing had been, and nothing half-written
is taken for whole."""

import hashlib
import json
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import QUICK
from forked import Forked, forking

from data.scenes import ClipSet
from experiments.submission.about import EXAMPLE

pytestmark = pytest.mark.slow  # several commands a test, most of them killed: about a minute in all

LOGITS = "runs/teacher/first/logits.h5"
STAGES = {
    "quantize": ["quantize.method=qat", "checkpoint=runs/student/first/checkpoint.safetensors", f"logits={LOGITS}"],
    "ensemble": [f"logits=[{LOGITS},other/logits.h5]"],
    "submit": [
        *("submit.evaluation=evaluation", "submit.partial=true", "submit.about=about.yaml"),
        "submit.runs=runs/quantize/first",
    ],
}


@pytest.fixture(scope="module")
def forked() -> Iterator[Forked]:
    with forking() as found:
        yield found


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, trained_once: Path, miniature: ClipSet) -> Path:
    """What the commands need: trained runs, packed waves, a second file of logits, and what a package needs."""
    folder = tmp_path_factory.mktemp("start")
    shutil.copytree(trained_once / "runs", folder / "runs", ignore=shutil.ignore_patterns("wandb"))
    shutil.copytree(trained_once / "cache", folder / "cache")
    (folder / "other").mkdir()
    shutil.copy(folder / LOGITS, folder / "other")
    (folder / "about.yaml").write_text(EXAMPLE)
    energy = folder / "runs/energy/first"  # as metered, which takes long
    energy.mkdir(parents=True)
    model = hashlib.sha256((folder / "runs/quantize/first/model.tflite").read_bytes()).hexdigest()
    metered = {"kWh": 1e-5, "seconds": 1.0, "estimated": False, "clips": 90}
    for name, values in {
        "score.json": {},
        "run.json": {"settings": {}, "inputs": {"model": model}},
        "energy.json": {"inference": metered, "baseline": metered},
    }.items():
        (energy / name).write_text(json.dumps(values))
    (folder / "evaluation").mkdir()
    for number, row in enumerate(miniature.indices("test")[:5]):
        shutil.copy(miniature.root / miniature.filenames[row], folder / "evaluation" / f"{number}.wav")
    return folder


def results(folder: Path) -> dict[str, object]:
    """The files of a run: bytes, without what was metered and timed."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found: dict[str, object] = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    found["config.yaml"] = found["config.yaml"].partition(b"\n")[2]  # the first line has the date
    for name in ("energy.json", "report.html"):
        found[name] = name in found
    rows = [json.loads(line) for line in found["history.jsonl"].splitlines()]
    found["history.jsonl"] = [{name: row[name] for name in row if name != "clips_per_second"} for row in rows]
    scores = json.loads(found["score.json"])
    found["score.json"] = {name: scores[name] for name in scores if not name.startswith("energy/")}
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_command_that_is_killed_again_and_again_ends_as_if_nothing_had_been(
    tmp_path: Path, start: Path, forked: Forked, miniature: ClipSet, stage: str, kills: int
) -> None:
    """Oracle: an undisturbed command, byte for byte; where there is a record, its scores are whole; in the end
    there are no temporaries and no partial files."""
    data = [] if stage == "submit" else [f"data.root={miniature.root}", *QUICK]
    given = [f"stage={stage}", "name=new", "tracking=none", *data, *STAGES[stage]]
    whole = shutil.copytree(start, tmp_path / "whole")
    undisturbed = forked.run(whole, *given)
    assert undisturbed.returncode == 0, undisturbed.stdout
    changes = int(undisturbed.stdout.split()[-1])
    expected = results(whole / "runs" / stage / "new")

    rng = random.Random(stage)
    killed = shutil.copytree(start, tmp_path / "killed")
    folder = killed / "runs" / stage / "new"
    for _ in range(kills):
        ended = forked.run(killed, *given, at=rng.randint(1, changes))
        assert ended.returncode in (0, -signal.SIGKILL), ended.stdout
        if (folder / "run.json").exists():
            assert results(folder)["score.json"] == expected["score.json"]
    again = forked.run(killed, *given)
    assert again.returncode == 0, again.stdout
    assert results(folder) == expected
