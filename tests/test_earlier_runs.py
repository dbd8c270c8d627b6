"""Runs of earlier versions are recognised: what their records say of the settings is what the same command says now."""

import json
from pathlib import Path

import pytest

from data.settings import identity_of
from experiments.run import resolve
from experiments.runs.identity import differences
from experiments.settings.parts import Quantize

# Stage, overrides, and the settings that run.json had, of runs made by version 0.1.0.
RECORDS = json.loads((Path(__file__).parent / "records_0_1_0.json").read_text())


@pytest.mark.parametrize("record", RECORDS, ids=[f"{r['stage']} {' '.join(r['arguments'])}" for r in RECORDS])
def test_the_same_command_means_the_same_settings(record: dict) -> None:
    """Oracle: records of version 0.1.0; a difference would be a refusal of the user's finished run."""
    settings = resolve(record["arguments"])
    found = {"teacher": settings.teacher, "student": settings.student, "quantize": settings.of(Quantize)}
    now = json.loads(json.dumps(identity_of(found[record["stage"]])))
    for group, name in (("fit", "least_steps"), ("fit", "rate_steps"), ("augment", "roll_clips")):
        now.get(group, {}).pop(name, None)  # they stand in the identity by what they make of the recipe
    asked = {key: value for key, value in now.items() if key in record["settings"]}
    assert differences(record["settings"], asked) == []
    # These results do not depend on the others.
    assert now.keys() - asked.keys() <= {"shifts", "export"}
