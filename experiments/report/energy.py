"""The energy of a model's inference and trainings as the table that the energy stage prints."""

from collections.abc import Mapping

from experiments.report.terminal import Table
from experiments.runs.formats import Metered
from experiments.runs.phases import ALL, BASELINE, BASELINE_TRAINING, INFERENCE, JOULES
from students.limits import Complexity

LOGITS = "training/logits"


def energy_table(phases: Mapping[str, Metered], costs: Mapping[str, Complexity], kernels: str, ratio: float) -> Table:
    """Inference of the model and of the baseline side by side, then what led to the model.

    Args:
        phases: of energy.json.
        costs: of INFERENCE and BASELINE.
        kernels: that both were run with.
        ratio: the baseline's energy over the model's.
    """
    both = [phases[INFERENCE], phases[BASELINE]]
    clips, estimated = both[0]["clips"], both[0]["estimated"]
    pieces = both[1].get("clips", clips) / clips
    notes = list(dict.fromkeys(f"not known: {why}" for found in phases.values() for why in found.get("missing", [])))
    lost = [why for phase, found in phases.items() if phase != ALL for why in found.get("lost", [])]
    notes += [f"not counted: {why}" for why in lost]
    if any(found["estimated"] for found in phases.values()):
        notes.append("* an estimate: that machine gave no meter of its processor, and kWh follow the time")
    if pieces != 1:
        notes.append(f"the baseline is for clips of 1 s: its multiply-accumulates are of one, and a clip is {pieces:g}")
    notes += dict.fromkeys(f"metered on: {words}" for found in phases.values() for words in found.get("on", []))
    title = f"energy of {clips} test clips, {kernels} kernels, one thread{', estimated' * estimated}"
    out = Table(title, caption="\n".join(notes))
    for column in ("", "model", "baseline"):
        out.add_column(column, justify="right" if column else "left")
    complexities = [costs[INFERENCE], costs[BASELINE]]
    out.add_row("multiply-accumulates", *(f"{cost.macs:,}" for cost in complexities))
    out.add_row("bytes of parameters", *(f"{cost.parameter_bytes:,}" for cost in complexities), end_section=True)
    out.add_row("passes over the clips", *(str(found["passes"]) for found in both))
    out.add_row("ms a clip", *(f"{1000 * found['seconds'] / clips:.2f}" for found in both))
    out.add_row("J a clip", *(f"{JOULES * found['kWh'] / clips:.3g}" for found in both))
    out.add_row("kWh a pass", *(f"{found['kWh']:.3g}" for found in both))
    out.add_row("baseline's over model's", f"{ratio:.3f}", "1", end_section=True)
    for phase, found in phases.items():
        if phase not in (INFERENCE, BASELINE, ALL, BASELINE_TRAINING):
            for what, kwh in _parts(phase, found).items():
                out.add_row(f"kWh of {what}", _word({**found, "kWh": kwh}), "")
    sums = [_word(phases[phase]) if phase in phases else "" for phase in (ALL, BASELINE_TRAINING)]
    if any(sums):
        out.add_row("kWh of training, all", *sums)
    return out


def _word(found: Metered) -> str:
    return "not known" if found["kWh"] is None else f"{found['kWh']:.3g}{' *' * found['estimated']}"


def _parts(phase: str, found: Metered) -> dict[str, float | None]:
    """The runs of a phase with their kWh; the phase itself where no run is known, or not all of them."""
    runs = {f"{run}, logits" if phase == LOGITS else run: kwh for run, kwh in found.get("runs", {}).items()}
    return {**runs, phase.replace("/", ", "): found["kWh"]} if not runs or found["kWh"] is None else runs
