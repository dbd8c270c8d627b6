"""Lists of clips as text."""

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import UserError
from data.tables import read_table

cells = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(cells, cells), max_size=6), st.sampled_from([",", "\t"]), st.sampled_from(["\n", "\r\n"]))
def test_what_was_written_is_read(tmp_path: Path, rows: list[tuple[str, str]], separator: str, end: str) -> None:
    """Oracle: Python's own csv writer, plain and gzipped, with both line ends."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=end).writerows([("filename", "label"), *rows])
    for name, data in {"x.csv": text.getvalue().encode(), "x.csv.gz": gzip.compress(text.getvalue().encode())}.items():
        (tmp_path / name).write_bytes(data)
        assert read_table(tmp_path / name, ["label"]) == {
            "filename": [row[0] for row in rows],
            "label": [row[1] for row in rows],
        }


SPOILT = {
    "empty": (b"", "lacks the columns filename"),
    "no header": (b"a.wav,bus\n", r"lacks the columns filename: read as comma-separated, its header is \['a.wav'"),
    "ragged": (
        b"filename,label\na.wav,bus\nb.wav\nc.wav,bus,1\n",
        r"2 rows .*\n  line 3: 1 values\n  line 4",
    ),
    "a gap": (b"filename,label\na.wav,bus\n\nb.wav,bus\n", r"1 rows .*\n  line 3: empty"),
    "twice": (b"filename,filename\n", "the columns filename twice"),
    "binary": (bytes(range(256)), "is no comma- or tab-separated table"),
    "open quote": (b'filename,label\n"a.wav,bus\n', "is no comma- or tab-separated table"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_table_is_a_message(tmp_path: Path, name: str) -> None:
    """Oracle: the message, with the line."""
    content, message = SPOILT[name]
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_table(tmp_path / "x.csv", ["filename"])


def test_a_missing_or_half_zipped_table_is_a_message(tmp_path: Path) -> None:
    """Oracle: no file; a gzip cut in half."""
    with pytest.raises(UserError, match="is missing"):
        read_table(tmp_path / "x.csv", ["filename"])
    data = gzip.compress(b"filename\n" + b"".join(b"%d.wav\n" % n for n in range(1000)))
    (tmp_path / "x.csv.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="is no comma- or tab-separated table"):
        read_table(tmp_path / "x.csv.gz", ["filename"])


def test_a_byte_order_mark_and_empty_lines_are_no_content(tmp_path: Path) -> None:
    """Oracle: what spreadsheets write."""
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbffilename;x,label\r\na.wav,bus\r\n\r\n")
    assert read_table(tmp_path / "x.csv", []) == {"filename;x": ["a.wav"], "label": ["bus"]}
