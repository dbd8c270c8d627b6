"""Tables as text: read and written without guessing, and no damaged one passes."""

import csv
import gzip
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import UserError
from data.tables import BYTES, ROWS, VALUES, parse_table, read_table, table_text, write_table

cells = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('"\t,\n \0'), max_size=8)
names = st.lists(cells, min_size=1, max_size=4, unique=True)
SEPARATORS, ENDS = st.sampled_from([",", "\t"]), st.sampled_from(["\n", "\r\n"])


def as_csv_writes(header: Sequence[str], rows: Sequence[Sequence[object]], **form: object) -> str:
    """Oracle: Python's own csv writer."""
    text = io.StringIO(newline="")
    csv.writer(text, **{"lineterminator": "\n", **form}).writerows([header, *rows])
    return text.getvalue()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(cells, cells), max_size=6), SEPARATORS, ENDS)
def test_what_was_written_is_read(tmp_path: Path, rows: list[tuple[str, str]], separator: str, end: str) -> None:
    """Oracle: Python's own csv writer, plain and gzipped, with both line ends; it does not quote blanks, which are
    content among commas only if they are quoted, and in rows that hold nothing else."""
    quoting = csv.QUOTE_ALL if separator == "," else csv.QUOTE_MINIMAL
    text = as_csv_writes(["filename", "label"], rows, delimiter=separator, lineterminator=end, quoting=quoting)
    if separator == "\t":
        rows = [row for row in rows if "".join(row).strip(" ")]
    for name, data in {"x.csv": text.encode(), "x.csv.gz": gzip.compress(text.encode())}.items():
        (tmp_path / name).write_bytes(data)
        assert read_table(tmp_path / name, ["label"]) == {
            "filename": [row[0] for row in rows],
            "label": [row[1] for row in rows],
        }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names, st.data(), SEPARATORS)
def test_a_table_is_written_as_csv_writes_it_and_read_again(
    tmp_path: Path, header: list[str], data: st.DataObject, separator: str
) -> None:
    """Oracle: Python's own csv writer, to the last byte, all values quoted to keep blanks; what went in."""
    rows = data.draw(st.lists(st.tuples(*[cells] * len(header)), max_size=5))
    columns = {name: [row[place] for row in rows] for place, name in enumerate(header)}
    blank = separator == "," and any(value.startswith(" ") for row in [header, *rows] for value in row)
    blank = blank or any(not "".join(row).strip(" ") and row != ("",) for row in rows)
    quoting = csv.QUOTE_ALL if blank else csv.QUOTE_MINIMAL
    expected = as_csv_writes(header, rows, delimiter=separator, quoting=quoting)
    assert table_text(columns, separator=separator) == expected
    path = write_table(tmp_path / "x.csv", columns, separator=separator)
    assert path.read_bytes() == expected.encode()
    assert read_table(path, header, separator=separator) == columns


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from('ab"\t\n\r ,'), max_size=30), SEPARATORS)
def test_any_text_is_read_as_csv_reads_it_or_refused(tmp_path: Path, text: str, separator: str) -> None:
    """Oracle: Python's own strict csv reader; below the header, rows for which it takes a line of nothing but
    separators and blanks are no content, nor are blanks behind commas."""
    (tmp_path / "x.csv").write_bytes(text.encode())
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text.rstrip("\r\n"), newline=""):
            taken.append(line)
            yield line

    found: list[list[str]] = []
    try:
        for row in csv.reader(lines(), delimiter=separator, strict=True, skipinitialspace=separator == ","):
            if not found or len(taken) > 1 or taken[0].strip(f"{separator} \r\n"):
                found.append(row)
            taken.clear()
        header, *rows = found or [[]]
    except csv.Error:
        rows = None
    if rows is None or len(set(header)) < len(header) or any(len(row) != len(header) for row in rows):
        with pytest.raises(UserError, match=r"x\.csv"):
            read_table(tmp_path / "x.csv", [], separator=separator)
    else:
        expected = {name: [row[place] for row in rows] for place, name in enumerate(header)}
        assert read_table(tmp_path / "x.csv", [], separator=separator) == expected


def test_nothing_is_guessed(tmp_path: Path) -> None:
    """Oracle: the text itself, where pandas alone would find missing values, numbers, truth and dates."""
    values = ["NA", "", "null", "NaN", "None", "007", "1e3", "1.0", "True", "-", "#N/A", "2022-01-01", " bus ", "1,5"]
    columns = {"filename": values, "NA": values[::-1]}
    assert read_table(write_table(tmp_path / "x.csv", columns), []) == columns
    assert read_table(write_table(tmp_path / "y.csv", columns, separator=","), [], separator=",") == columns


def test_numbers_are_written_as_csv_writes_them() -> None:
    """Oracle: Python's own csv writer, on the columns of a table of predictions."""
    rows = [["a.wav", 1, 0.1, f"{1 / 3:.8g}"], ['b "2".wav', -7, 1e-9, "1"]]
    columns = dict(zip("abcd", map(list, zip(*rows, strict=True)), strict=True))
    assert table_text(columns) == as_csv_writes("abcd", rows, delimiter="\t")


@pytest.mark.parametrize("separator", [",", "\t"])
def test_names_go_through_a_table_byte_for_byte(tmp_path: Path, separator: str) -> None:
    """Oracle: the names themselves, which file systems allow; pandas' own reader; a mark at the start of a file is of
    a column's name where it is quoted."""
    odd = ["a\rb.wav", "\r", "c\r\nd.wav", " e.wav ", "\tf.wav", '"g".wav', "h,i;j.wav", "NA", "nan", "1e5", "001", "-"]
    odd += [
        "#x",
        "\ufeffk.wav",
        "m\u00fc.wav",
        "mu\u0308.wav",
        "\u202el.wav",
        "\x1b[2J.wav",
        "n\u2028o.wav",
        "\x85",
        "$'\\'",
    ]
    for columns in ({"filename": odd, "label": odd[::-1]}, {"\ufefffilename": odd}):
        path = write_table(tmp_path / "x.csv", columns, separator=separator)
        assert read_table(path, [], separator=separator) == columns
    path = write_table(tmp_path / "x.csv", {"filename": odd}, separator=separator)
    assert pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)["filename"].tolist() == odd


def test_names_that_are_no_text_are_refused_by_name() -> None:
    """Oracle: the bytes, by hand: UTF-8 cannot say them."""
    with pytest.raises(UserError, match=r"names that are no UTF-8 .*\n  m\\xfcll\.wav\n"):
        table_text({"filename": ["a.wav", os.fsdecode(b"m\xfcll.wav")]})


SPOILT = {
    "empty": (b"", "lacks the columns filename"),
    "no header": (b"a.wav,bus\n", r"lacks the columns filename: read as comma-separated, its header is \['a.wav'"),
    "ragged": (
        b"filename,label\na.wav,bus\nb.wav\nc.wav,bus,1\n",
        r"2 rows .*\n  line 3: 1 values\n  line 4",
    ),
    "behind a gap": (b"filename,label\na.wav,bus\n\nb.wav\n", r"1 rows .*\n  line 4: 1 values"),
    "twice": (b"filename,filename\n", "the columns filename twice"),
    "nameless": (b"filename,label,,\na.wav,bus,,\n", "has 2 columns without a name: name them, or delete them"),
    "three times": (b"filename,x,x,x\na.wav,1,2,3\n", "the columns x twice"),
    "binary": (bytes(range(256)), r"is no comma- or tab-separated table \(line 2 is no UTF-8"),
    "bad encoding": ("filename\na.wav\nm\u00fcll.wav\n".encode("latin-1"), r"line 3 is no UTF-8, 'm\\xfcll\.wav'"),
    "open quote": (
        b'filename,label\na.wav,bus\n"b.wav,bus\nc.wav,bus\n',
        r"is no comma- or tab-separated table \(line 3: ",
    ),
    "text behind a quote": (b'filename,label\n"a.wav"x,bus\n', r"table \(line 2: ',' expected after"),
    "ragged, with quotes": (
        b'filename,label\n"a\n.wav",bus\n"b.wav"\n\nc.wav,bus\nd.wav,"bus",1\n',
        r"2 rows .*\n  line 4: 1 values\n  line 7: 3 values",
    ),
    "UTF-16": ("filename\ta\n".encode("utf-16"), "it is in UTF-16: save it as UTF-8"),
    "a workbook": (b"PK\x03\x04\x14\x00", "a zip file or a workbook: save the sheet as comma-separated text"),
    "zipped twice": (gzip.compress(gzip.compress(b"filename\n")), "it is zipped twice"),
    "zipped, and too large": (gzip.compress(bytes(BYTES + 1)), "more than 67,108,864 bytes unzipped"),
    "too large": (b"filename\n" + bytes(BYTES), "holds more than 67,108,864 bytes"),
    "one long line": (b"filename," * 5_000_000, "has 5,000,001 columns, more than 10,000"),
    "one long value": (b'filename\n"' + b"x" * 1_000_000, "field larger than field limit"),
    "many rows": (b"filename" + b"\n" * (ROWS + 1), "has 1,000,001 rows, more than 1,000,000"),
    "many values": (b"filename,\n" + b"," * VALUES, "values, more than 4,000,000"),
    "semicolons": (b"filename;label\na.wav;bus\n", "separate columns by tabs or commas"),
    "all rows short": (
        b"filename,label\n" + b"x\n" * 500_000,
        r"has 500000 rows .*\n  line 2: 1 values(?s:.*)and 499980 more",
    ),
    "a longer first row": (b"filename,label\na.wav,bus,1\nb.wav,bus,1\n", r"2 rows .*\n  line 2: 3 values"),
    "shorter rows": (b"filename,label,x\na.wav,bus\nb.wav,bus\n", r"2 rows .*\n  line 2: 2 values"),
    "separators behind each row": (b"filename,label\na.wav,bus,\n", r"1 rows .*\n  line 2: 3 values"),
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


def test_what_is_no_file_is_a_message(tmp_path: Path) -> None:
    """Oracle: a folder, a pipe into which nobody writes, a device without an end, and names that no file can have."""
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for path, message in {
        tmp_path / "pipe.csv": "is no regular file",
        tmp_path / "folder.csv": "Is a directory",
        Path("/dev/zero"): "is no regular file",
        tmp_path / ("x" * 300): "File name too long",
        tmp_path / "x\0.csv": "null byte",
    }.items():
        with pytest.raises(UserError, match=message):
            read_table(path, ["filename"])


def test_a_zipped_table_is_known_by_its_content(tmp_path: Path) -> None:
    """Oracle: browsers and people unzip files, and leave or change their names."""
    for name, data in {"x.csv": gzip.compress(b"filename\na.wav\n"), "y.csv.gz": b"filename\na.wav\n"}.items():
        (tmp_path / name).write_bytes(data)
        assert read_table(tmp_path / name, []) == {"filename": ["a.wav"]}


def test_a_header_is_checked_before_the_rows_and_in_linear_time() -> None:
    """Oracle: 200,000 columns, whose rows are never asked for; of fewer it is said what is wrong with them."""

    class Rowless(io.StringIO):
        def read(self, size: int | None = -1) -> str:
            raise AssertionError("rows are read")

    header = ["filename", *(f"column {n}" for n in range(4_000))]
    for wrong, message in (
        (header, "the header is"),
        (header[1:], "lacks"),
        (header + header, "twice"),
        (header * 50, "has 200,050 columns, more than 10,000"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            parse_table(Rowless(",".join(wrong) + "\n", newline=""), "x.csv", ["filename"], exact=True)
        assert len(str(caught.value)) < 1_000


def test_importing_the_module_does_not_import_pandas() -> None:
    """Oracle: the interpreter's own list of modules, in a new process."""
    code = "import sys, data.tables; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent).returncode == 0


def test_a_byte_order_mark_and_empty_lines_are_no_content(tmp_path: Path) -> None:
    """Oracle: what spreadsheets write."""
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbffilename;x,label\r\na.wav,bus\r\n\r\n")
    assert read_table(tmp_path / "x.csv", []) == {"filename;x": ["a.wav"], "label": ["bus"]}
