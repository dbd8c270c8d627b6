"""The rooms of the house, who may know whom, and how deep it is: each law checked on the code, and on an example that
breaks it."""

from collections.abc import Mapping
from pathlib import Path

import architecture
import pytest
from architecture import LEVELS, LOOSE, ROOMS, ROOT, Modules


@pytest.fixture(scope="module")
def modules() -> Modules:
    """Of this checkout."""
    return architecture.read_modules(ROOT)


def house(root: Path, files: Mapping[str, str]) -> Modules:
    """The modules of a small house, by their paths without .py, written below a folder."""
    for name, text in files.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return architecture.read_modules(root)


def test_a_module_imports_only_what_its_room_may_know(modules: Modules) -> None:
    """Oracle: the directions of docs/architecture.md."""
    assert len(modules) > 100
    assert {module.room for module in modules.values()} == set(ROOMS)
    assert architecture.wrong_directions(modules) == []


def test_a_forbidden_import_is_seen(tmp_path: Path) -> None:
    """Oracle: modules with an import of each form, at the top, inside a function and relative."""
    files = {
        "data/a": "import experiments.run\nfrom data.b import c\n",
        "data/b": "import torch, h5py\ndef f():\n    from students.distill import loss\n",
        "data/rooms/c": "from ..b import d\nfrom .. import a\nfrom ...students import e\n",
        "teachers/a": "from students import distill\nimport data.b\n",
        "students/distill": "import h5py.h5, wandb\n",
        "experiments/a": "from teachers.a import b\nimport wandb, hydra.core\n",
    }
    found = house(tmp_path, files)
    assert architecture.wrong_directions(found) == [
        "data.a imports experiments.run",
        "data.b imports students.distill",
        "data.rooms.c imports students",
        "students.distill imports h5py.h5",
        "students.distill imports wandb",
        "teachers.a imports students.distill",
    ]
    assert architecture.imports_of(found["data.rooms.c"], found) == {"data.b", "data.a", "students"}


def test_hydra_stays_at_the_door(modules: Modules) -> None:
    """Oracle: design: only run.py and command/ see a config of Hydra's; the stages get typed settings."""
    assert architecture.settings_below_the_stages(modules) == []


def test_a_config_below_the_stages_is_seen(tmp_path: Path) -> None:
    """Oracle: modules that import OmegaConf, two of which may."""
    text = "def f():\n    from omegaconf import DictConfig\n"
    found = house(tmp_path, {"experiments/run": text, "experiments/command/a": text, "experiments/stages/a": text})
    assert architecture.settings_below_the_stages(found) == ["experiments.stages.a imports omegaconf"]


def test_experiments_have_no_cycle_and_few_levels(modules: Modules) -> None:
    """Oracle: the standard library's topological order, of files and of folders; at most seven levels of imports, and
    nine modules in no folder."""
    files, folders = architecture.file_graph(modules), architecture.folder_graph(modules)
    assert architecture.cycle(files) == []
    assert architecture.cycle(folders) == []
    levels = architecture.import_levels(files)
    assert [name for name, level in levels.items() if level > LEVELS] == []
    assert levels["experiments.run"] > 2
    assert len(architecture.loose_modules(modules)) <= LOOSE


def test_cycles_and_levels_are_seen(tmp_path: Path) -> None:
    """Oracle: by hand: a chain of three with an import inside a function; then a ring of folders that is no ring of
    files; then a ring of files."""
    chain = {
        "experiments/run": "from experiments.a import one",
        "experiments/a/one": "def f():\n    import experiments.b.two\n",
        "experiments/b/two": "import data.x",
        "experiments/b/__init__": "",
        "data/x": "",
    }
    found = house(tmp_path, chain)
    graph = architecture.file_graph(found)
    assert architecture.import_levels(graph) == {
        "experiments.b": 1,
        "experiments.b.two": 1,
        "experiments.a.one": 2,
        "experiments.run": 3,
    }
    assert architecture.cycle(graph) == architecture.cycle(architecture.folder_graph(found)) == []
    assert architecture.loose_modules(found) == ["experiments.run"]
    found = house(tmp_path, {"experiments/b/three": "from experiments.a.one import f"})
    assert architecture.cycle(architecture.file_graph(found)) == []
    assert set(architecture.cycle(architecture.folder_graph(found))) == {"experiments.a", "experiments.b"}
    found = house(tmp_path, {"experiments/b/two": "from experiments.a.one import f"})
    assert set(architecture.cycle(architecture.file_graph(found))) == {"experiments.a.one", "experiments.b.two"}


def test_a_file_is_one_idea(modules: Modules, tmp_path: Path) -> None:
    """Oracle: 250 lines at most; files of 250 and of 251."""
    assert architecture.long_files(modules) == []
    found = house(tmp_path, {"data/short": "x = 1\n" * 250, "data/long": "x = 1\n" * 251})
    assert architecture.long_files(found) == [f"{tmp_path}/data/long.py has 251 lines"]


def test_modules_are_named_by_strings_in_the_tables_alone(modules: Modules, tmp_path: Path) -> None:
    """Oracle: the places: the table of the stages and who reads it, the registry, the list of benches; an example with
    a call, a name, the beginning of a name, a process, a message and a setting."""
    assert architecture.imports_by_string(modules) == []
    calls = "import importlib\nimportlib.import_module('x')\n__import__('y')\n"
    names = "A = 'students.scale'\nB = f'students.{A}'\nC = ['-m', 'students.scale']\nD = 'see students.scale'\n"
    files = {"data/registry": calls, "data/other": calls, "experiments/run": calls}
    files |= {"experiments/names": names, "students/scale": "A = 'data.registry'", "students/__init__": ""}
    assert architecture.imports_by_string(house(tmp_path, files)) == [
        "data.other:2 calls import_module",
        "data.other:3 calls __import__",
        "experiments.names:1 names students.scale",
        "experiments.names:2 names students.",
    ]


def test_lower_rooms_do_not_know_the_command_line(modules: Modules, tmp_path: Path) -> None:
    """Oracle: no string with `stage=` in data, teachers and students; an example with a docstring and an f-string."""
    assert architecture.command_lines_below(modules) == []
    text = 'def f(x):\n    """Run stage=data."""\n    raise ValueError(f"{x}: stage=teacher")\n'
    found = house(tmp_path, {"data/a": text, "experiments/a": text})
    assert architecture.command_lines_below(found) == [
        "data.a:2 says 'Run stage=data.'",
        "data.a:3 says ': stage=teacher'",
    ]


def test_values_are_not_changed(modules: Modules, tmp_path: Path) -> None:
    """Oracle: the keyword in each decorator; an example with a frozen class, a plain one, one with a wrong word and one
    that is no dataclass."""
    assert architecture.changeable_values(modules) == []
    classes = "@dataclass(frozen=True, kw_only=True)\nclass A: ...\n@dataclass\nclass B: ...\n"
    classes += "@dataclass(frozen=False)\nclass C: ...\nclass D: ...\n"
    assert architecture.changeable_values(house(tmp_path, {"data/a": classes})) == ["data.a.B", "data.a.C"]


def test_every_package_has_types(tmp_path: Path) -> None:
    """Oracle: PEP 561's marker; an example where one of four has it."""
    assert architecture.untyped_packages(ROOT) == []
    (tmp_path / "data").mkdir()
    (tmp_path / "data/py.typed").touch()
    assert architecture.untyped_packages(tmp_path) == ["teachers", "students", "experiments"]


def test_every_test_names_its_oracle(tmp_path: Path) -> None:
    """Oracle: the word itself in each docstring; an example with a test that has none."""
    assert architecture.tests_without_oracle(sorted((ROOT / "tests").glob("test_*.py"))) == []
    path = tmp_path / "test_x.py"
    path.write_text('def test_a():\n    """Oracle: a law."""\ndef test_b():\n    """Works."""\ndef helper(): ...\n')
    assert architecture.tests_without_oracle([path]) == ["test_x.py: test_b"]
