"""What the yaml files of conf/ say: a first line about each file, and comments beside single values."""

from collections.abc import Iterator
from pathlib import Path

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from experiments.command.composition import CONF, ROOT


def about(path: Path) -> str:
    """The first comment of a yaml file that is none of Hydra's; empty if it has none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    texts = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    return next((text for text in texts if not text.startswith("@package")), "")


def comments_of(hydra: GlobalHydra, overrides: list[str]) -> dict[str, str]:
    """The comments that stand beside values, by dotted key, in the files that a config is composed of.

    Args:
        hydra: within `composing()`.
        overrides: of the command, which choose the files.
    """
    found: dict[str, str] = {}
    for part in hydra.config_loader().compute_defaults_list(ROOT, overrides, RunMode.RUN).defaults:
        path = CONF / f"{part.config_path}.yaml"
        if part.config_path is not None and path.is_file():
            prefix = f"{part.package}." if part.package else ""
            found |= {f"{prefix}{key}": text for key, text in beside_values(path.read_text(encoding="utf-8"))}
    return found


def beside_values(text: str) -> Iterator[tuple[str, str]]:
    """Dotted keys of a yaml text, with the comment that follows each value on its line."""
    root = yaml.compose(text)
    yield from _beside(root, text.splitlines(), "") if isinstance(root, yaml.MappingNode) else []


def _beside(node: yaml.MappingNode, lines: list[str], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode):
            yield from _beside(value, lines, f"{name}.")
            continue
        _, hash_sign, comment = lines[value.end_mark.line][value.end_mark.column :].partition("#")
        if hash_sign and not node.flow_style:
            yield name, comment.strip()
