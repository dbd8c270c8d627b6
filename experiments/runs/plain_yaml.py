"""Reading of YAML that is not trusted, with PyYAML's safe loader, less what a plain description has no use for.

Conventions: UTF-8; no aliases (ten lines of them unfold to gigabytes), no key twice in a mapping (the last would win),
no deep nesting, not too many values (PyYAML takes a second for ten thousand), no numbers of a thousand digits (which
take the square of their length). What is returned is made of dict, list, str, int, float, bool, None, dates and bytes.
"""

from typing import Any

import yaml

from data.errors import UserError

DEPTH = 20  # of mappings and lists in each other
BYTES, EVENTS = 1 << 20, 20_000  # the latter are values, and beginnings and ends of mappings and lists
DIGITS = 100  # of a number


def read_yaml(data: bytes) -> Any:
    """The document.

    Raises:
        UserError: what is wrong with it.
    """
    if len(data) > BYTES:
        raise UserError(f"it has {len(data):,} bytes, more than {BYTES:,}")
    try:
        text = data.decode("utf-8-sig")
        _require_plain(text)
        return yaml.load(text, Loader=_Loader)
    except UserError:
        raise
    except Exception as error:  # PyYAML raises errors of many kinds for values that do not fit their tags
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"no readable YAML ({why})") from error


def part_of(data: bytes, key: str) -> dict[str, Any]:
    """The mapping that a document has under a key; an empty one where there is none, or the document is damaged."""
    try:
        document = read_yaml(data)
    except UserError:
        return {}
    found = document.get(key) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


class _Loader(yaml.SafeLoader):
    """That refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for name, _ in node.value:
            if (key := self.construct_object(name, deep=True)) in seen:
                raise UserError(f"{key!r} is there twice, again in line {_line(name)}")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _short_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > DIGITS:
        raise ValueError(f"a number of {len(node.value):,} digits in line {_line(node)}")
    return loader.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _short_number)


def _line(found: yaml.Node | yaml.Event) -> int:
    """Where something begins, from 1."""
    assert found.start_mark is not None  # the parser sets it
    return found.start_mark.line + 1


def _require_plain(text: str) -> None:
    """Before anything is built: the parser goes from event to event, without recursion."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        if number > EVENTS:
            raise UserError(f"it has more than {EVENTS:,} values")
        if isinstance(event, yaml.AliasEvent):
            raise UserError(f"it has an alias (*{event.anchor}) in line {_line(event)}: write it out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH:
            raise UserError(f"it nests deeper than {DEPTH} levels in line {_line(event)}")
