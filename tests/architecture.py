"""The code as its own source shows it, by the standard library's parser: who imports whom, what is named by a string.

Conventions: every check takes the modules of a tree and returns what is wrong, one line each, so that a test shows all
of it, and an example of a few files shows that the check can fail. An import counts wherever it stands, also inside a
function.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Package -> the others that it may import.
ROOMS = {"data": set(), "teachers": {"data"}, "students": {"data"}, "experiments": {"data", "teachers", "students"}}
HOUSE = "experiments"
# Package that is installed -> the only one of ours that imports it.
ONLY_IN = {
    "hydra": HOUSE,
    "omegaconf": HOUSE,
    "wandb": HOUSE,
    "lightning_fabric": HOUSE,
    "h5py": "data",
    "soundfile": "data",
}
SETTINGS_ONLY_IN = ("experiments.run", "experiments.command")  # of hydra and omegaconf: a module, a package
IMPORTERS = ("import_module", "__import__")  # functions that import what a string names
BY_STRING = (  # that may call them; the last one imports packages of anybody's
    *("experiments.run", "experiments.bench.__main__", "data.registry", "experiments.submission.try_inference"),
)
TABLES = ("experiments.settings.stages", "experiments.bench.__main__")  # that may name modules in strings
SETTINGS = "data."  # begins keys of settings too: data.residency is one, and a module
# Dataclasses that are filled step by step; all others are values, which nobody changes.
FILLED = (
    "experiments.command.launcher.Ray",
    "experiments.command.launcher.RayLauncher",
    "experiments.submission.package.Package",
    "experiments.training.state.TrainingState",
)
LONGEST = 250  # lines of a file
LEVELS = 7  # import levels inside experiments
LOOSE = 9  # modules beside the folders of experiments

Modules = Mapping[str, "Module"]
Graph = dict[str, set[str]]


@dataclass(frozen=True)
class Module:
    """A file of Python.

    Attributes:
        name: dotted; a package's `__init__.py` has the package's.
        path: of the file.
        lines: how many.
        tree: parsed.
    """

    name: str
    path: Path
    lines: int
    tree: ast.Module

    @property
    def room(self) -> str:
        """The package at the top."""
        return self.name.partition(".")[0]

    @property
    def folder(self) -> str:
        """The package that it is in, or is."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def read_modules(root: Path) -> dict[str, Module]:
    """The modules of the rooms below a folder, by name."""
    found = {}
    for path in sorted(path for room in ROOMS for path in (root / room).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text()
        found[name] = Module(name, path, len(text.splitlines()), ast.parse(text))
    return found


def imports_of(module: Module, modules: Modules) -> set[str]:
    """What a module imports: our own modules by their whole names, others as they are written."""
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            inner = {f"{base}.{alias.name}" for alias in node.names}
            found |= (inner & modules.keys()) | ({base} if inner - modules.keys() else set())
    return found - {module.name}


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    """The module behind `from`, with the dots of a relative import resolved."""
    if not node.level:
        return node.module or ""
    package = module.folder.split(".")
    start = package[: len(package) - node.level + 1]
    return ".".join([*start, *([node.module] if node.module else [])])


def wrong_directions(modules: Modules) -> list[str]:
    """Imports of a room that may not be known here, or of a package that belongs to another room."""
    found = []
    for module in modules.values():
        for name in sorted(imports_of(module, modules)):
            top = name.partition(".")[0]
            if (top in ROOMS and top not in {module.room, *ROOMS[module.room]}) or (
                ONLY_IN.get(top, module.room) != module.room
            ):
                found.append(f"{module.name} imports {name}")
    return found


def settings_below_the_stages(modules: Modules) -> list[str]:
    """Modules of experiments that see Hydra's config and are neither the entry nor of the command line."""
    entry, package = SETTINGS_ONLY_IN
    return [
        f"{module.name} imports {name}"
        for module in modules.values()
        if module.room == HOUSE and module.name != entry and module.folder != package
        for name in sorted(imports_of(module, modules))
        if name.partition(".")[0] in ("hydra", "omegaconf")
    ]


def file_graph(modules: Modules) -> Graph:
    """Which modules of experiments each module of experiments imports."""
    house = {name: module for name, module in modules.items() if module.room == HOUSE}
    return {name: imports_of(module, modules) & house.keys() for name, module in house.items()}


def folder_graph(modules: Modules) -> Graph:
    """Which other folders of experiments the modules of each folder import from."""
    found: Graph = {}
    for name, imported in file_graph(modules).items():
        others = {modules[other].folder for other in imported} - {modules[name].folder}
        found.setdefault(modules[name].folder, set()).update(others)
    return found


def cycle(graph: Graph) -> list[str]:
    """Some names that import each other in a ring, the first one again at the end; none if there is no ring."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def import_levels(graph: Graph) -> dict[str, int]:
    """Of each name: 1 if it imports none of the others, else one more than the highest that it imports."""
    found: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        found[name] = 1 + max((found[other] for other in graph[name]), default=0)
    return found


def loose_modules(modules: Modules) -> list[str]:
    """Modules of experiments that are in none of its folders."""
    return [name for name, module in modules.items() if module.folder == HOUSE != name]


def long_files(modules: Modules) -> list[str]:
    """Files of more lines than one idea needs."""
    return [f"{module.path} has {module.lines} lines" for module in modules.values() if module.lines > LONGEST]


def imports_by_string(modules: Modules) -> list[str]:
    """Where a module is imported by its name in a string, or such a name stands for that, outside the few places."""
    found = []
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and module.name not in BY_STRING:
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in IMPORTERS:
                    found.append(f"{module.name}:{node.lineno} calls {called}")
        if module.name not in TABLES:
            found += [
                f"{module.name}:{node.lineno} names {node.value}"
                for node in _strings(module.tree)
                if "." in node.value and node.value.rstrip(".") in modules and not node.value.startswith(SETTINGS)
            ]
    return found


def _strings(tree: ast.AST) -> Iterator[ast.Constant]:
    """All constants that are strings, except those behind "-m", which name what another process is to run."""
    for node in ast.walk(tree):
        for child in (children := list(ast.iter_child_nodes(node))):
            if isinstance(child, ast.Constant) and isinstance(child.value, str):
                before = children[children.index(child) - 1] if children[0] is not child else None
                if not (isinstance(before, ast.Constant) and before.value == "-m"):
                    yield child


def command_lines_below(modules: Modules) -> list[str]:
    """Strings of the rooms other than experiments that speak of the command line's stages."""
    return [
        f"{module.name}:{node.lineno} says {node.value!r}"
        for module in modules.values()
        if module.room != HOUSE
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "stage=" in node.value
    ]


def changeable_values(modules: Modules) -> list[str]:
    """Dataclasses that are not frozen, but those that are filled step by step."""
    found = []
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and f"{module.name}.{node.name}" not in FILLED:
                for decorator in map(ast.unparse, node.decorator_list):
                    if decorator.startswith("dataclass") and "frozen=True" not in decorator:
                        found.append(f"{module.name}.{node.name}")
    return found


def untyped_packages(root: Path) -> list[str]:
    """Rooms that do not tell type checkers to read their types."""
    return [room for room in ROOMS if not (root / room / "py.typed").is_file()]


def tests_without_oracle(paths: Iterable[Path]) -> list[str]:
    """Tests whose docstring does not say where the truth comes from that they compare with."""
    return [
        f"{path.name}: {node.name}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and "Oracle:" not in (ast.get_docstring(node) or "")
    ]
