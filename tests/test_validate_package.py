"""A challenge package is looked through as the organisers will."""

import copy
import json
import math
import stat
import warnings
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from command import run
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from packages import CLIPS, LABEL, PDF, description, files, table, zipped

from data.errors import UserError
from data.scenes import DEVICES, SCENES
from experiments.runs.plain_yaml import DEPTH, read_yaml
from experiments.submission.layout import EDITIONS
from experiments.submission.meta import meta_defects
from experiments.submission.package import BYTES, MEMBERS
from experiments.submission.validate import ROWS, validate

OUTPUT, META = f"task1/{LABEL}/{LABEL}.output.csv", f"task1/{LABEL}/{LABEL}.meta.yaml"
REPORT = "task1/Doe_TUX_task1.technical_report.pdf"
SECOND = "Doe_TUX_task1_2"
fuzzed = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def defects(folder: Path, content: dict[str, bytes], names: list[str] | None = CLIPS) -> str:
    return "\n".join(validate(zipped(folder / "p.zip", content), names).defects)


def edited(spoil: Any) -> bytes:
    """The description after a function has changed it."""
    meta = description()
    spoil(meta)
    return yaml.safe_dump(json.loads(json.dumps(meta))).encode()  # without aliases


def test_a_sound_package_passes_and_its_figures_are_said(tmp_path: Path) -> None:
    """Oracle: the package's own content, by hand."""
    found, _, systems = validate(zipped(tmp_path / "p.zip", files(LABEL, SECOND)), CLIPS)
    assert found == []
    assert [system.label for system in systems] == [LABEL, SECOND]
    assert (systems[0].clips, systems[0].accuracy, systems[0].bytes, systems[0].macs) == (CLIPS, 50.0, 46512, 29234920)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.pop(REPORT), "task1/Doe_TUX_task1.technical_report.pdf is missing"),
        (lambda f: f.update({REPORT: b"hello"}), "the technical report is no PDF"),
        (lambda f: f.update({REPORT: PDF[:-8]}), "the technical report is no PDF with a page, or only a part of one"),
        (lambda f: f.update({REPORT: b"%PDF-%%EOF"}), "the technical report is no PDF with a page"),
        (lambda f: f.update({REPORT: PDF.replace(b"/Kids", b"/Kidz")}), "the technical report is no PDF with a page"),
        (lambda f: f.pop(OUTPUT), ".output.csv is missing"),
        (lambda f: f.pop(META), ".meta.yaml is missing"),
        (lambda f: (f.pop(META), f.pop(OUTPUT)), "it holds 0 systems"),
        (lambda f: f.update({"readme.txt": b""}), "'readme.txt' does not belong"),
        (lambda f: f.update({f"__MACOSX/{OUTPUT}": b""}), "does not belong"),
        (lambda f: f.update({"../evil": b""}), "'../evil' leads out of the package"),
        (lambda f: f.update({"task1/../../evil": b""}), "leads out of the package"),
        (lambda f: f.update({"/etc/passwd": b""}), "'/etc/passwd' has an absolute path"),
        (lambda f: f.update({"C:/x": b""}), "has an absolute path"),
        (lambda f: f.update({"task1\\x": b""}), "has characters in its name"),
        (lambda f: f.update({"a\x1b[2J": b""}), r"'a\x1b[2J' has characters in its name"),
        (lambda f: f.update(files(*(f"Doe_TUX_task1_{n}" for n in range(1, 6)))), "'Doe_TUX_task1_5' is no label"),
        (lambda f: f.update({"task1/Doe_TUX_task2_1/x": b""}), "'Doe_TUX_task2_1' is no label"),
        (lambda f: f.update({"task1/Doe_task1_1/x": b""}), "'Doe_task1_1' is no label"),
        (lambda f: f.update(files("Roe_TUX_task1_2")), "its labels are of several teams: Doe_TUX, Roe_TUX"),
    ],
)
def test_every_defect_of_the_layout_is_named(tmp_path: Path, spoil: Any, message: str) -> None:
    """Oracle: the organisers' rules of names and folders, one broken at a time."""
    content = files()
    spoil(content)
    assert message in defects(tmp_path, content)


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        (b"", "lacks the columns"),
        (b"\xff\xfe" + table().encode("utf-16-le"), "is no comma- or tab-separated table"),
        (b"\xef\xbb\xbf" + table().encode(), "lacks the columns filename"),
        (table().replace("\t", ",").encode(), "lacks the columns"),
        (table().replace("tram", "boat").encode(), "lacks the columns tram"),
        (table().replace("airport\tbus\tmetro\t", "bus\tairport\tmetro\t", 1).encode(), "the header is"),
        (table().replace("filename\tscene_label", "scene_label\tfilename", 1).encode(), "the header is"),
        (table().replace("2.wav", "7.wav").encode(), "2.wav: missing"),
        (table().replace("2.wav", "1.wav").encode(), "1.wav: there twice"),
        (table().replace("2.wav", "7.wav").encode(), "7.wav: no clip of the list of files"),
        ((table() + "9.wav\tbus\n").encode(), "rows that do not have 12 values"),
        (table().split("\n")[0].encode(), "it has no rows"),
        (table().encode() + b"\n", "there are empty lines at its end"),
        (table().replace("\n", "\r\n").encode() + b"\r\n\r\n", "there are empty lines at its end"),
        (table().replace("\n", "\r").encode(), "a line ends in CR alone"),
        (table().encode() + b"\n" * ROWS, f"lines, more than {ROWS:,}; it is not looked into"),
    ],
)
def test_every_defect_of_a_table_is_named(tmp_path: Path, spoiled: bytes, message: str) -> None:
    """Oracle: pandas wrote the sound table; the rules of the format, one broken at a time."""
    assert message in defects(tmp_path, {**files(), OUTPUT: spoiled})


@pytest.mark.parametrize("value", ["nan", "inf", "-0.1", "1.5", "", "1_0", "0x1", "\u0661", "much", "." + "1" * 101])
def test_what_is_no_probability_is_refused(tmp_path: Path, value: str) -> None:
    """Oracle: only decimal numbers from 0 to 1 are probabilities; Python's float() takes more."""
    lines = table().split("\n")
    cells = lines[1].split("\t")
    lines[1] = "\t".join([*cells[:2], value, *cells[3:]])
    assert "0.wav: " in defects(tmp_path, {**files(), OUTPUT: "\n".join(lines).encode()})


def test_a_number_of_many_digits_is_no_long_work(tmp_path: Path) -> None:
    """Oracle: a pattern that tries each split of the digits would take minutes; a defect quotes no more than a page."""
    lines = table().split("\n")
    cells = lines[1].split("\t")
    lines[1] = "\t".join(["x" * 100_000, cells[1], "1" * 100_000 + "x", *cells[3:]])
    found = defects(tmp_path, {**files(), OUTPUT: "\n".join(lines).encode()})
    assert "xxx ... xxx" in found
    assert len(found) < 10_000


@pytest.mark.parametrize("name", ["x.mp3", "0x.wav", "0.flac", "0.WAV", "00.wav", "-1.wav", "118800.wav", "1 .wav"])
def test_clips_are_called_as_the_official_ones(tmp_path: Path, name: str) -> None:
    """Oracle: the organisers' checker wants a whole number and .wav; the set has 0 to 118799. A folder has its own
    names, and so has a set of which only the names are known (2025)."""
    content = {**files(), OUTPUT: table().replace("2.wav", name).encode()}
    assert f"{name}: no clip of the official evaluation set of 2023" in defects(tmp_path, content, None)
    assert defects(tmp_path, content, [*CLIPS[:2], name]) == ""
    found = validate(zipped(tmp_path / "p.zip", content), None, 2025).defects
    assert (f"{OUTPUT}: {name}: no name such as 0.wav, 1.wav, ..." in found) == (name != "118800.wav")


def test_a_list_that_is_not_the_official_one_is_told() -> None:
    """Oracle: the official set, by hand, and two others: one clip short, one called otherwise."""
    names = [f"{number}.wav" for number in range(118_800)]
    other_than_official = EDITIONS[2023].other_than_official
    assert other_than_official(names) is None
    assert other_than_official(names[1:]).startswith("118,799 clips: the official evaluation set has 118,800")
    assert other_than_official([*names[1:], "x.mp3"]).startswith("118,800 clips, 1 of them with other names: ")


def test_systems_are_compared_with_each_other(tmp_path: Path) -> None:
    """Oracle: two tables of other clips contradict each other where nobody says which are right, as in 2025."""
    content = files(LABEL, SECOND)
    path = OUTPUT.replace(LABEL, SECOND)
    content[path] = content[path].replace(b"2.wav", b"3.wav")
    found = "\n".join(validate(zipped(tmp_path / "p.zip", content), None, 2025).defects)
    assert f"{path}: 2.wav: missing" in found
    assert f"{path}: 3.wav: no clip of {LABEL}, which has others" in found


def _leaves(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _leaves(value, (*path, key))


LEAVES = list(_leaves(description()))
OPTIONAL = ("department", "location")  # of an affiliation
NULL = ("embeddings", "data_augmentation", "ensemble_method_subsystem_count", "decision_making", "source_code")
NULL += ("external_data_usage", "complexity_management", "external_datasets", "total_audio_length", *OPTIONAL)


def _at(meta: dict, path: tuple) -> Any:
    for key in path[:-1]:
        meta = meta[key]
    return meta


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: ".".join(map(str, path)))
def test_every_field_is_asked_for(path: tuple) -> None:
    """Oracle: the organisers' list of fields, each taken away, and set to what it cannot be."""
    assert meta_defects(description(), LABEL) == []
    gone, wrong, null = description(), description(), description()
    del _at(gone, path)[path[-1]]
    _at(wrong, path)[path[-1]] = {"a": [1]}
    _at(null, path)[path[-1]] = None
    assert meta_defects(wrong, LABEL)
    assert bool(meta_defects(gone, LABEL)) != (path[-1] in OPTIONAL or path[-2:] == ("external_datasets", 0))
    assert bool(meta_defects(null, LABEL)) != (path[-1] in NULL)


def as_fractions(meta: dict) -> None:
    """Accuracies from 0 to 1."""
    results = meta["results"]["development_dataset"]
    for part in (results["overall"], *results["class_wise"].values(), *results["device_wise"].values()):
        part["accuracy"] /= 100


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda m: m["submission"].update(label=SECOND),
            f"submission.label is '{SECOND}', its folder is named {LABEL}",
        ),
        (lambda m: m["submission"].update(abbreviation="eleven char"), "abbreviation must be a text of at most 10"),
        (lambda m: m["submission"].update(authors=2 * m["submission"]["authors"]), "submission.authors"),
        (lambda m: m["submission"]["authors"][0].update(email="nobody"), "submission.authors must be"),
        (lambda m: m["system"]["complexity"].update(total_model_size=128_001), "a number from 1 to 128000, not 128001"),
        (lambda m: m["system"]["complexity"].update(total_model_size=46.5), "is below 4 bits a parameter; is it in"),
        (lambda m: m["system"]["complexity"].update(macs=29), "from 1000 to 30000000, not 29"),
        (lambda m: m["system"]["complexity"].update(macs=30_000_001), "from 1000 to 30000000, not 30000001"),
        (lambda m: m["system"]["complexity"].update(macs=29e6), "macs must be a whole number"),
        (lambda m: m["system"]["complexity"].update(total_parameters=True), "total_parameters must be"),
        (lambda m: m["system"]["complexity"].update(total_parameters=45_999), "more parameters that are not zero"),
        (
            lambda m: m["system"]["energy_consumption"].update(inference="1e-3"),
            "inference must be a number above 0",
        ),
        (lambda m: m["system"]["energy_consumption"].update(training=0), "training must be a number above 0, not 0"),
        (
            lambda m: m["system"]["energy_consumption"].update(baseline_training=-1),
            "baseline_training must be a number",
        ),
        (lambda m: m["system"]["description"].update(input_sampling_rate="lots"), "a text such as 44.1kHz, not 'lots'"),
        (lambda m: m["submission"]["authors"][0].update(email="@"), "submission.authors must be"),
        (lambda m: m["submission"].update(name="a\x1b[2Jb"), "printable characters, not"),
        (lambda m: m["submission"].update(name="a" * 201), "name must be a text of at most 200"),
        (lambda m: m["system"].update(external_datasets=m["system"]["external_datasets"] * 101), "at most 100"),
        (as_fractions, "no accuracy is above 1: are they in percent?"),
        (lambda m: m["system"]["energy_consumption"].update(inference=math.nan), "inference must be"),
        (lambda m: m["system"]["energy_consumption"].update(training=math.inf), "training must be"),
        (
            lambda m: m["results"]["development_dataset"]["overall"].update(accuracy=50.2),
            "mean of the class-wise ones is 50",
        ),
        (lambda m: m["results"]["development_dataset"]["overall"].update(logloss=2.0), "is not between the least and"),
        (
            lambda m: m["results"]["development_dataset"]["class_wise"]["bus"].update(accuracy=101),
            "from 0 to 100, not 101",
        ),
    ],
)
def test_what_a_description_cannot_say_is_refused(tmp_path: Path, spoil: Any, message: str) -> None:
    """Oracle: the task's limits and the arithmetic of means, one broken at a time."""
    assert message in defects(tmp_path, {**files(), META: edited(spoil)})


BOMB = "a: &a [x, x]\n" + "".join(f"{y}: &{y} [*{x}, *{x}]\n" for x, y in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BOMB.encode(), "alias"),
        (b"[" * 100_000, f"deeper than {DEPTH}"),
        (b"a: " + b"{a: " * 50 + b"1" + b"}" * 50, f"deeper than {DEPTH}"),
        (b"- " * 100 + b"1", f"deeper than {DEPTH}"),
        (b"a: 1\nb: 2\na: 3", "'a' is there twice, again in line 3"),
        (b"a: " + b"9" * 5000, "no readable YAML"),
        (b"a: 2024-99-99", "no readable YAML"),
        (b"a: !!python/object/apply:os.system [ls]", "no readable YAML"),
        (b"a: !!int ''", "no readable YAML"),
        (b"a: !!bool maybe", "no readable YAML"),
        (b"a: !!timestamp x", "no readable YAML"),
        (b"? [a]\n: b", "no readable YAML"),
        (b"a: \xff", "no readable YAML"),
        (b"a: \x00", "no readable YAML"),
        (b"a: 1\n---\nb: 1", "no readable YAML"),
        (b"<<: 5", "no readable YAML"),
    ],
)
def test_hostile_yaml_is_a_message(data: bytes, message: str) -> None:
    """Oracle: the message; PyYAML alone crashes on some of these and unfolds others."""
    with pytest.raises(UserError, match=message):
        read_yaml(data)


@pytest.mark.parametrize("value", ["0x" + "f" * 10_000, ".nan", "-.inf", "2024-01-01", "!!binary aGk=", '"\\ud800"'])
@pytest.mark.parametrize("field", ["accuracy: 50.0", "name: A system", "macs: 29234920"])
def test_odd_values_are_no_figures_and_no_crash(tmp_path: Path, field: str, value: str) -> None:
    """Oracle: none of them is a percentage, a name or a number of operations."""
    spoilt = yaml.safe_dump(description()).replace(field, f"{field.split(':')[0]}: {value}", 1)
    assert META in defects(tmp_path, {**files(), META: spoilt.encode()})


def test_a_number_to_the_base_of_60_is_what_yaml_says(tmp_path: Path) -> None:
    """Oracle: PyYAML: 1:30 is 90 in YAML 1.1, too few for operations."""
    spoilt = yaml.safe_dump(description()).replace("macs: 29234920", "macs: 1:30", 1)
    assert "macs must be a whole number from 1000 to 30000000, not 90" in defects(
        tmp_path, {**files(), META: spoilt.encode()}
    )


def test_members_that_are_no_plain_files_are_refused(tmp_path: Path) -> None:
    """Oracle: the standard library's zip of a link, an encrypted member, another method, and one there twice."""

    def with_member(change: Any) -> str:
        path = zipped(tmp_path / "p.zip", files())
        info = zipfile.ZipInfo("task1/x")
        with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings(action="ignore"):
            change(info)
            archive.writestr(info, b"x", info.compress_type)
        return "\n".join(validate(path, CLIPS).defects)

    assert "is a link" in with_member(lambda i: setattr(i, "external_attr", (stat.S_IFLNK | 0o777) << 16))
    assert "compressed by method 12" in with_member(lambda i: setattr(i, "compress_type", zipfile.ZIP_BZIP2))
    assert f"'{OUTPUT}' is there 2 times" in with_member(lambda i: setattr(i, "filename", OUTPUT))
    data = bytearray(zipped(tmp_path / "p.zip", files()).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # bit 0 of the flags in the central directory
    (tmp_path / "p.zip").write_bytes(data)
    assert "is encrypted" in "\n".join(validate(tmp_path / "p.zip", CLIPS).defects)


def test_bombs_are_not_unpacked(tmp_path: Path) -> None:
    """Oracle: a member that says it unfolds to more than its limit is not read, one that lies about it is damaged, and
    many members are not looked into."""
    size = BYTES[".meta.yaml"] + 1
    assert f"has {size} bytes uncompressed" in defects(tmp_path, {**files(), META: b" " * size})
    data = bytearray(zipped(tmp_path / "p.zip", {**files(), META: b" " * size}).read_bytes())
    at = data.index(META.encode(), data.index(b"PK\x01\x02")) - 46
    data[at + 24 : at + 28] = (10).to_bytes(4, "little")
    (tmp_path / "p.zip").write_bytes(data)
    assert f"'{META}' is damaged" in "\n".join(validate(tmp_path / "p.zip", CLIPS).defects)
    many = {f"task1/{number}": b"" for number in range(MEMBERS)}
    assert "it is not looked into" in defects(tmp_path, {**files(), **many})


def spoilt(text: str, data: st.DataObject) -> str:
    """A few characters replaced by others."""
    at = data.draw(st.integers(0, len(text)))
    until = data.draw(st.integers(at, min(len(text), at + 30)))
    return (
        text[:at]
        + data.draw(st.one_of(st.text(max_size=8), st.sampled_from(list("\t\n\r\"',.-0eE:[]{}&*!|>#%@\x00"))))
        + text[until:]
    )


@pytest.mark.slow  # hundreds of packages
@fuzzed
@given(st.data())
def test_no_spoilt_table_passes_or_crashes(tmp_path: Path, data: st.DataObject) -> None:
    """Oracle: pandas: what passes holds the right columns, clips, probabilities and labels, and is warned of where rows
    do not sum to 1 or labels are not the most probable scenes."""
    content = spoilt(table(), data).encode("utf-8", "surrogatepass")
    found = validate(zipped(tmp_path / "p.zip", {**files(), OUTPUT: content}), CLIPS)
    if found.defects:
        return
    frame = pd.read_csv(BytesIO(content), sep="\t", dtype={"filename": str})
    assert list(frame) == ["filename", "scene_label", *SCENES]
    assert sorted(Path(name).name for name in frame["filename"]) == CLIPS
    p = frame[list(SCENES)].to_numpy(dtype=float)
    assert (p >= 0).all()
    chosen = p[np.arange(len(p)), [SCENES.index(label) for label in frame["scene_label"]]]
    is_sound = (abs(p.sum(1) - 1) <= 1e-3).all(), (chosen == p.max(1)).all()
    said = "\n".join(found.warnings)
    assert is_sound == ("do not sum to 1" not in said, "is not the most probable scene" not in said)


def holds(meta: dict) -> None:
    """An independent reading of what a description must say."""
    submission, system, results = meta["submission"], meta["system"], meta["results"]["development_dataset"]
    assert submission["label"] == LABEL
    assert 1 <= len(submission["abbreviation"]) <= 10
    assert submission["name"]
    assert sum(author.get("corresponding") is True for author in submission["authors"]) == 1
    assert all("@" in a["email"] and a["lastname"] and a["firstname"] for a in submission["authors"])
    assert len(system["description"].keys() & description()["system"]["description"].keys()) == 11
    costs = system["complexity"]
    assert 0 < costs["total_model_size"] <= 128_000
    assert 1000 <= costs["macs"] <= 30_000_000
    assert 2 * costs["total_model_size"] >= costs["total_parameters"]
    assert 0 <= costs["total_parameters_non_zero"] <= costs["total_parameters"]
    assert costs["memory_use"] > 0
    energy = [system["energy_consumption"][key] for key in ("training", "inference", "baseline_inference")]
    assert np.isfinite(energy).all()
    assert min(energy) > 0
    assert {"external_datasets", "source_code"} <= system.keys()
    by_class = pd.DataFrame(results["class_wise"])[list(SCENES)].astype(float)
    by_device = pd.DataFrame(results["device_wise"])[list(DEVICES)].astype(float)
    overall = pd.Series(results["overall"]).astype(float)
    for part in (by_class, by_device):
        assert np.isfinite(part.loc[["accuracy", "logloss"]].to_numpy()).all()
        assert part.loc["accuracy"].between(0, 100).all()
        assert part.loc["logloss"].min() - 0.01 <= overall["logloss"] <= part.loc["logloss"].max() + 0.01
    assert overall["accuracy"] == pytest.approx(by_class.loc["accuracy"].mean(), abs=0.11)


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3), st.dates(),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.integers(10**300, 10**310),
)  # fmt: skip


@pytest.mark.slow  # hundreds of packages
@fuzzed
@given(st.data())
def test_no_spoilt_description_passes_or_crashes(tmp_path: Path, data: st.DataObject) -> None:
    """Oracle: PyYAML's and pandas' own reading, of descriptions with other characters or other values."""
    if data.draw(st.booleans()):
        content = spoilt(yaml.safe_dump(description()), data).encode("utf-8", "surrogatepass")
    else:
        meta, path = copy.deepcopy(description()), data.draw(st.sampled_from(LEAVES))
        _at(meta, path)[path[-1]] = data.draw(JUNK)
        content = yaml.safe_dump(meta).encode()
    if not defects(tmp_path, {**files(), META: content}):
        holds(yaml.safe_load(content))


@fuzzed
@given(st.data())
@example(None)
@pytest.mark.slow  # some seconds
def test_no_damaged_zip_passes_or_crashes(tmp_path: Path, data: st.DataObject | None) -> None:
    """Oracle: the standard library: what passes unpacks to the very files that went in."""
    path = zipped(tmp_path / "p.zip", files())
    raw = bytearray(path.read_bytes())
    if data is not None:
        at = data.draw(st.integers(0, len(raw) - 1) | st.integers(max(0, len(raw) - 500), len(raw) - 1))
        match data.draw(st.sampled_from(["cut", "flip", "insert", "remove"])):
            case "cut":
                del raw[at:]
            case "flip":
                raw[at] ^= data.draw(st.integers(1, 255))
            case "insert":
                raw[at:at] = data.draw(st.binary(min_size=1, max_size=20))
            case "remove":
                del raw[at : at + data.draw(st.integers(1, 20))]
    path.write_bytes(raw)
    if validate(path, CLIPS).defects:
        assert data is not None
        return
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files()


def test_the_stage_lists_every_defect_and_fails(tmp_path: Path) -> None:
    """Oracle: exit codes, and one message of each file's kind; where nothing is wrong the figures are said."""
    (tmp_path / "audio").mkdir()
    for name in CLIPS:
        (tmp_path / "audio" / name).touch()
    zipped(tmp_path / "good.zip", files())
    good = run(tmp_path, "stage=validate", "package=good.zip", "submit.evaluation=.")
    assert good.returncode == 0, good.stderr
    assert "good.zip: no defect found" in good.stdout
    assert "29,234,920" in good.stdout
    said = " ".join(good.stdout.split())
    assert "the list of files has 3 clips: the official evaluation set has 118,800" in said
    bad = files()
    bad |= {OUTPUT: table().replace("2.wav", "x.wav").encode(), META: b"submission: 1", REPORT: b"", "x": b""}
    zipped(tmp_path / "bad.zip", bad)
    result = run(tmp_path, "stage=validate", "package=bad.zip", "submit.evaluation=.")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for message in (
        "2.wav: missing",
        "x.wav: no clip",
        "system is missing",
        "is no PDF with a page",
        "'x' does not belong",
    ):
        assert message in result.stderr
    assert "needs a package" in run(tmp_path, "stage=validate").stderr
