"""Settings as they are declared: types, ranges, choices and paths; what the command line says of wrong ones."""

import dataclasses
import inspect
import math
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_command_line import SCREEN

from data.errors import UserError
from data.front_ends import front_ends
from data.ranges import Range, described, fits, numbers_without_range, wanted
from data.registry import build
from data.settings import problems_of
from experiments.command.keys import declared_keys
from experiments.run import resolve
from experiments.settings.shared import SPECIAL, Settings
from experiments.settings.stages import STAGES
from students import list_students
from teachers import list_teachers

KEYS = declared_keys()
TOO_LARGE = 10**30


def declared(kind: type, prefix: str = "") -> Iterator[tuple[str, type, dataclasses.Field, Any]]:
    """Every setting of a dataclass: its key, the dataclass, the field, its type with ranges."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for each in dataclasses.fields(kind):
        if kind is Settings and each.name in SPECIAL:
            continue
        if dataclasses.is_dataclass(hints[each.name]):
            yield from declared(hints[each.name], f"{prefix}{each.name}.")
        else:
            yield f"{prefix}{each.name}", kind, each, hints[each.name]


DECLARED = {key: rest for key, *rest in declared(Settings)}
for name, stage in STAGES.items():
    DECLARED |= {key: rest for key, *rest in declared(stage.own, f"{name}.")} if stage.own else {}
BUILDERS = {f"teacher {name}": entry.build for name, entry in list_teachers().items()}
BUILDERS |= {f"student {name}": entry.build for name, entry in list_students().items()}
BUILDERS |= {f"front end {name}": entry.build for name, entry in front_ends().items()}


def alternatives(kind: Any) -> tuple[Any, ...]:
    return (kind,) if typing.get_origin(kind) in (None, Annotated, Literal, list, dict) else typing.get_args(kind)


def wrong_values(kind: Any) -> list[Any]:
    """Values that a setting of a type may not have, by the declaration alone."""
    found: list[Any] = [math.nan, math.inf, -math.inf]
    kinds = alternatives(kind)
    if type(None) not in kinds:
        found.append(None)
    for each in kinds:
        if typing.get_origin(each) is Annotated:
            base, limits = typing.get_args(each)
            found += [TOO_LARGE, -TOO_LARGE, limits.low - 1, limits.high + 1, True, [], ["x"], {"a": 1}, "many", ""]
            found += [limits.low] * limits.above + [limits.high] * limits.below + [1.5] * (base is int)
        elif each is bool:
            found += [2, "maybe", [], {}]
        elif each is str:
            found += [[1], {"a": "b"}]
        elif typing.get_origin(each) is Literal:
            found += ["none of them", -1, 99, [math.nan], {"a": 99}]
    return found


# The declarations.


def test_every_number_has_a_range() -> None:
    """Oracle: the types of all settings, and of all parameters of builders of teachers, students and front ends: a new
    number without a range is named here."""
    without = [key for key, (_, _, kind) in DECLARED.items() if numbers_without_range(kind)]
    assert KEYS.keys() == DECLARED.keys()
    for name, builder in BUILDERS.items():
        parameters = inspect.signature(builder).parameters.values()
        without += [f"{name}: {p.name}" for p in parameters if numbers_without_range(p.annotation)]
    assert without == []


@pytest.mark.parametrize("key", DECLARED)
def test_a_setting_refuses_what_its_declaration_excludes(key: str) -> None:
    """Oracle: the ends of its range, values beyond them, other types, and what is no finite number; the message names
    the key and, unless the value is no finite number, what is allowed. Its default is accepted."""
    owner, field, kind = DECLARED[key]
    prefix = key.removesuffix(field.name)
    for value in wrong_values(kind):
        if field.metadata.get("is_path") and value == []:
            continue
        problems = list(problems_of(owner, {field.name: value}, prefix))
        if fits(kind, value) and not field.metadata.get("choices"):
            assert not problems  # an alternative of the type, such as a list
            continue
        assert len(problems) == 1, (key, value)
        assert problems[0].startswith((f"{key}=", f"unknown {key} "))
        assert any(word in problems[0] for word in ("must be", "choose one of"))
    if field.default is not dataclasses.MISSING:
        assert not list(problems_of(owner, {field.name: field.default}, prefix))


@pytest.mark.parametrize("name", BUILDERS)
def test_a_builder_refuses_what_its_parameters_exclude(name: str) -> None:
    """Oracle: the ends of each range, values beyond them, other types; nothing is built. The message names the
    builder, the parameter and what is allowed."""
    calls = []

    def called(**arguments: Any) -> None:
        calls.append(arguments)

    signature = inspect.signature(BUILDERS[name])
    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    for parameter in signature.parameters.values():
        for value in wrong_values(parameter.annotation):
            if fits(parameter.annotation, value):
                continue
            with pytest.raises(UserError, match="must be") as error:
                build(name, called, {parameter.name: value})
            assert str(error.value).startswith(f"{name}: {parameter.name}=")
            assert len(str(error.value).splitlines()) == 1
    assert calls == []


@given(st.integers(-5, 5), st.integers(-5, 5), st.booleans(), st.booleans(), st.floats(-6, 6))
def test_a_range_has_what_lies_between_its_ends(low: int, high: int, above: bool, below: bool, number: float) -> None:
    """Oracle: the definition of open and closed intervals, as sympy or a textbook has it."""
    inside = (number > low if above else number >= low) and (number < high if below else number <= high)
    assert (number in Range(low, high, above, below)) == inside


def test_types_are_told_in_words() -> None:
    """Oracle: sentences by hand."""
    share, count = Annotated[float, Range(0, 1)], Annotated[int, Range(1, 9, unit="Hz")]
    assert described(count) == "a whole number from 1 to 9 Hz"
    assert described(share | None) == "a number from 0 to 1, or null"
    assert described(Literal["a", 8] | Sequence[share]) == "a, 8, or a list, each a number from 0 to 1"
    assert wanted(count, 10) == "from 1 to 9 Hz"
    assert wanted(count, "x") == "a whole number from 1 to 9 Hz"
    assert wanted(share | None, 2.0) == "from 0 to 1"
    assert not fits(count, True)
    assert not fits(Literal[1], True)
    assert fits(share, 1)


# The command line: all keys by themselves.

WRONG_TYPES = {"[1,2]": [1, 2], "{a:1}": {"a": 1}, "many": "many", "null": None, "nan": math.nan, "-1": -1}
AT_ONCE = 10  # wrong settings that one message lists


def refused(key: str, value: Any) -> bool:
    """Whether a setting may not have a value; Hydra makes texts of numbers, and true of any number but 0."""
    owner, field, kind = DECLARED[key]
    if kind is bool and value == -1:
        return False
    is_text = str in alternatives(kind) and not field.metadata.get("choices")
    return (
        not is_text
        and dict not in (kind, typing.get_origin(kind))
        and bool(list(problems_of(owner, {field.name: value})))
    )


@pytest.mark.parametrize("start", range(0, len(DECLARED), AT_ONCE))
def test_the_command_line_refuses_wrong_types_of_every_setting(start: int) -> None:
    """Oracle: the declared types: each key is named, with what it must be, in a message that fits on a screen."""
    left = {}
    for number, key in enumerate(list(DECLARED)[start : start + AT_ONCE]):
        wrong = [text for text, value in WRONG_TYPES.items() if refused(key, value)]
        left |= {key: wrong[(number + start // AT_ONCE) % len(wrong)]} if wrong else {}
    while left:  # what Hydra's schema refuses is found before the rest
        with pytest.raises(UserError) as error:
            resolve(["rank", *(f"{key}={value}" for key, value in left.items())])
        message = str(error.value)
        named = [key for key in left if f"{key}=" in message or f"unknown {key} " in message]
        assert named, (left, message)
        assert len(message.splitlines()) <= SCREEN
        left = {key: value for key, value in left.items() if key not in named}
