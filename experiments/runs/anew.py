"""How a checkpoint is made that takes the place of a damaged one."""

from pathlib import Path

from experiments.runs.identity import IMPORTED
from experiments.runs.layout import CONFIG
from experiments.runs.reader import find_record


def made_anew(path: Path) -> str:
    """The command that writes a run's checkpoint again, in words; without its run there is none."""
    folder = path.resolve().parent
    if not (folder / CONFIG).is_file():
        return "train it again"
    record = find_record(folder)
    stage = "import" if record is not None and IMPORTED in record.settings else folder.parent.name
    return (
        f"make it anew with scenelet {stage} name={folder.name} force=true and the other settings that stand in "
        f"{path.parent / CONFIG}"
    )
