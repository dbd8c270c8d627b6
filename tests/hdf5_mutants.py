"""Stores that are not what they should be, written with h5py: what a stranger, or another program, may have made.

Conventions: a mutant is a file's content after one change to a column or an attribute of a whole store.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
from fuzzing import Mutant

HUGE = 1 << 40  # rows that no file has
Change = Callable[[h5py.File, str], None]


def structural(original: bytes, folder: Path, columns: list[str], attributes: list[str]) -> Iterator[Mutant]:
    """One mutant for each change of each column and of each attribute, and some of the whole file."""
    path = folder / "mutant.h5"
    for name, change in _all_changes(columns, attributes):
        path.write_bytes(original)
        with h5py.File(path, "r+") as file:
            change(file)
        yield name, path.read_bytes()
    yield "user block", bytes(512) + original


def _all_changes(columns: list[str], attributes: list[str]) -> Iterator[tuple[str, Callable[[h5py.File], None]]]:
    for column in columns:
        for name, change in COLUMN_CHANGES.items():
            yield f"{column}: {name}", lambda file, change=change, column=column: change(file, column)
    for attribute in attributes:
        for name, change in ATTRIBUTE_CHANGES.items():
            yield f"attribute {attribute}: {name}", lambda file, change=change, key=attribute: change(file, key)
    yield "many attributes", lambda file: file.attrs.update({f"a{i}": i for i in range(3000)})


def _replaced(**made: object) -> Change:
    """Another dataset in a column's place: its values, or what h5py is told."""

    def change(file: h5py.File, column: str) -> None:
        values = file[column][:]
        del file[column]
        file.create_dataset(column, **({"data": values} | made))

    return change


def _computed(compute: Callable[[np.ndarray], object]) -> Change:
    def change(file: h5py.File, column: str) -> None:
        values = compute(file[column][:])
        del file[column]
        file[column] = values

    return change


def _linked(make: Callable[[h5py.File, str], object]) -> Change:
    def change(file: h5py.File, column: str) -> None:
        file.move(column, "elsewhere")
        file[column] = make(file, column)

    return change


def _laid_out(prepare: Callable[[h5py.h5p.PropDCID], None], rows: int | None = None) -> Change:
    """A dataset of the right type and shape whose values lie somewhere else, or nowhere."""

    def change(file: h5py.File, column: str) -> None:
        kind, shape = file[column].id.get_type(), file[column].shape
        del file[column]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        prepare(plan)
        space = h5py.h5s.create_simple((rows or shape[0], *shape[1:]))
        h5py.h5d.create(file.id, column.encode(), kind, space, plan)

    return change


def _virtual(file: h5py.File, column: str) -> None:
    data = file[column]
    layout, source = (
        h5py.VirtualLayout(data.shape, data.dtype),
        h5py.VirtualSource(file.filename, "elsewhere", data.shape),
    )
    layout[:] = source
    file.move(column, "elsewhere")
    file.create_virtual_dataset(column, layout)


def _committed(file: h5py.File, column: str) -> None:
    del file[column]
    file[column] = np.dtype("f4")


def _group(file: h5py.File, column: str) -> None:
    del file[column]
    file.create_group(column)


def _absent(file: h5py.File, column: str) -> None:
    del file[column]


REFERENCE, TEXT = h5py.ref_dtype, h5py.string_dtype()
PAIR = np.dtype([("x", "f4"), ("y", "i8")])
COLUMN_CHANGES: dict[str, Change] = {
    "absent": _absent,
    "a group": _group,
    "a type": _committed,
    "a soft link": _linked(lambda file, column: h5py.SoftLink("/elsewhere")),
    "a link to itself": _linked(lambda file, column: h5py.SoftLink(f"/{column}")),
    "a link to another file": _linked(lambda file, column: h5py.ExternalLink("/dev/zero", "/elsewhere")),
    "virtual": _virtual,
    "chunked": _replaced(chunks=True),
    "compressed": _replaced(compression="gzip"),
    "of variable length": _replaced(maxshape=None, chunks=True, shuffle=True),
    "compact": _laid_out(lambda plan: plan.set_layout(h5py.h5d.COMPACT)),
    "in another file": _laid_out(lambda plan: plan.set_external(b"/etc/passwd", 0, h5py.h5f.UNLIMITED)),
    "without a place": _laid_out(lambda plan: plan.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)),
    "without a place, of many rows": _laid_out(lambda plan: plan.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE), HUGE),
    "texts": _replaced(data=["a"] * 4, dtype=TEXT),
    "references": _replaced(data=None, shape=(4,), dtype=REFERENCE),
    "pairs": _replaced(data=np.zeros(4, PAIR)),
    "lists": _replaced(data=None, shape=(4,), dtype=h5py.vlen_dtype("i4")),
    "truth values": _replaced(data=np.zeros(4, bool)),
    "complex numbers": _replaced(data=np.zeros(4, complex)),
    "opaque": _replaced(data=np.zeros(4, "V3")),
    "dates": _replaced(data=np.zeros(4, "M8[s]").astype(h5py.opaque_dtype("M8[s]"))),
    "arrays": _replaced(data=None, shape=(4,), dtype=np.dtype(("f4", (3,)))),
    "float64": _replaced(data=np.zeros(4)),
    "int64, big-endian": _replaced(data=np.zeros(4, ">i8")),
    "a single value": _replaced(data=np.float32(1)),
    "nothing": _replaced(data=h5py.Empty("f4")),
    "no rows": _computed(lambda values: values[:0]),
    "a row less": _computed(lambda values: values[:-1]),
    "rows twice": _computed(lambda values: np.concatenate([values, values])),
    "an axis more": _computed(lambda values: values[..., None]),
    "of 32 axes": _computed(lambda values: values.reshape(values.shape + (1,) * (32 - values.ndim))),
}

DEEP = "[" * 100_000
ATTRIBUTE_CHANGES: dict[str, Change] = {
    "absent": lambda file, key: file.attrs.__delitem__(key),
    **{
        name: lambda file, key, value=value: file.attrs.__setitem__(key, value)
        for name, value in {
            "a list": [1, 2, 3],
            "long": "x" * (2 << 20),
            "an empty text": "",
            "escape sequences": "\x1b[31m\r\n",
            "brackets": DEEP,
            "digits": f"[{'1' * 100_000}]",
            "no list": '{"a": 1}',
            "a list of numbers": "[1, 2, 3]",
            "a list of lists": "[[], []]",
            "equal names": '["bus", "bus", "bus"]',
            "no number": float("nan"),
            "a large number": 1e300,
            "a negative number": -7,
            "a truth value": True,
            "bytes": np.bytes_(b"\xff\xfe"),
            "a complex number": 1j,
            "nothing": h5py.Empty("f4"),
            "a pair": np.zeros((), PAIR),
            "texts": np.array(["a", "b"], TEXT),
        }.items()
    },
}
