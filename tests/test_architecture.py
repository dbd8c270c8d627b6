"""The rooms of the house and who may know whom, read from the source itself."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"data": set(), "teachers": {"data"}, "students": {"data"}, "experiments": {"data", "teachers", "students"}}
ONLY_IN = {
    "hydra": "experiments",
    "omegaconf": "experiments",
    "wandb": "experiments",
    "lightning_fabric": "experiments",
    "h5py": "data",
    "soundfile": "data",
}
LONGEST = 250  # lines


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names


MODULES = [(room, path) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize(("room", "path"), MODULES, ids=[str(path.relative_to(ROOT)) for _, path in MODULES])
def test_a_module_imports_only_what_its_room_may_know(room: str, path: Path) -> None:
    """Oracle: the directions of the README's layout section."""
    found = imports(path)
    assert (found & ROOMS.keys()) - {room} <= ROOMS[room]
    assert not [name for name, home in ONLY_IN.items() if name in found and home != room]
    assert len(path.read_text().splitlines()) <= LONGEST


def test_the_check_sees_a_forbidden_import(tmp_path: Path) -> None:
    """Oracle: a module with one import of each form."""
    module = tmp_path / "module.py"
    module.write_text("import hydra.core\ndef f():\n    from students.distill import distillation_loss\n")
    assert imports(module) == {"hydra", "students"}
    assert len(MODULES) > 20


@pytest.mark.parametrize("path", sorted((ROOT / "data").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_lower_rooms_do_not_know_the_command_line(path: Path) -> None:
    """Oracle: the words themselves: stages are the experiments' business."""
    assert "stage=" not in path.read_text()
