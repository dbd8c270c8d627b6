"""Studies: their cells, the table of those that are finished, and the tables that are made of it."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data.errors import UserError
from data.readers.tau22 import read_tau22
from experiments.evaluation.bootstrap import difference_intervals
from experiments.evaluation.metrics import log_loss, macro_accuracy
from experiments.evaluation.predictions import predictions_text
from experiments.study import __main__ as command
from experiments.study import digest as digests
from experiments.study.__main__ import STUDIES
from experiments.study.cells import Answers, Cell, read_answers, read_rows, write_rows
from experiments.study.commands import Options
from experiments.study.digest import digest_of
from experiments.study.esc50 import ESC50
from experiments.study.table import devices_table, differences_table, methods_table

LABELS = ((7, "dog"), (8, "rain"))  # of source recordings
TABLES = Path(__file__).parent.parent / "docs/studies"


def answers(method: str, seed: int = 0, fold: int = 0, n: int = 60) -> tuple[Answers, np.ndarray]:
    """A cell with random probabilities of three classes, and these; clips and places are the same for all methods."""
    p = np.random.default_rng([len(method), seed, fold]).dirichlet(np.ones(3), size=n)
    labels = np.random.default_rng(fold).integers(0, 3, n)
    losses = -np.log(p[np.arange(n), labels])
    found = Answers(
        method=method,
        fold=fold,
        seed=seed,
        version="1",
        commands="abc",
        labels=labels,
        locations=np.arange(n) // 4,
        answers=p.argmax(1),
        losses=losses,
        devices=np.array(["a", "s1"])[np.arange(n) % 3 // 2],
    )
    return found, p


def table_of(*cells: Answers) -> dict[tuple[str, int, int], Answers]:
    return {cell.key: cell for cell in cells}


def test_a_row_says_after_reading_what_was_written(tmp_path: Path) -> None:
    """Oracle: the arrays that were written, losses to 4 decimals; and the project's own metrics of the probabilities in
    the columns that people read."""
    path, (cell, p) = tmp_path / "a" / "rows.csv", answers("labels")
    other, _ = answers("distilled", seed=3, fold=2)
    write_rows(path, table_of(cell, other))
    found = read_rows(path)
    assert list(found) == [("distilled", 2, 3), ("labels", 0, 0)]
    read = found[cell.key]
    for name in ("labels", "locations", "answers", "devices"):
        assert getattr(read, name).tolist() == getattr(cell, name).tolist()
    np.testing.assert_allclose(read.losses, cell.losses, atol=5e-5)
    line = next(line for line in path.read_text().splitlines() if line.startswith("labels"))
    accuracy, loss = (float(word) for word in line.split(",")[5:7])
    assert accuracy == pytest.approx(macro_accuracy(p, cell.labels), abs=5e-5)
    assert loss == pytest.approx(log_loss(p, cell.labels), abs=5e-5)
    assert read_rows(tmp_path / "none.csv") == {}


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    """Oracle: a table of two rows of which the second was changed, and one that has the same cell twice."""
    path, (cell, _) = tmp_path / "rows.csv", answers("labels")
    write_rows(path, table_of(answers("a")[0], cell))
    whole = path.read_text()
    first, second = whole.splitlines()[1:]
    cases = {
        second.rsplit(" ", 1)[0]: "row 2 is damaged",
        second.replace(f" {cell.losses[-1]:.4f},", ","): "row 2 is damaged",
        second.replace("labels,0,", "labels,0.5,"): "row 2 is damaged",
        second.replace("labels,0,", "labels,,"): "row 2 is damaged",
        first: "row 2 is of a cell that has a row already",
    }
    for text, message in cases.items():
        path.write_text(whole.replace(second, text))
        with pytest.raises(UserError, match=message):
            read_rows(path)


def test_a_difference_is_that_of_the_pooled_clips_and_its_interval_the_bootstrap_s() -> None:
    """Oracle: difference_intervals of the probabilities themselves, both seeds' one after the other, with the same
    locations as what is drawn."""
    ones, others = [answers("one", seed) for seed in (0, 1)], [answers("another", seed) for seed in (0, 1)]
    rows = table_of(*(cell for cell, _ in [*ones, *others]))
    first, second = (np.concatenate([p for _, p in both]) for both in (ones, others))
    labels = np.concatenate([cell.labels for cell, _ in ones])
    places = [f"0 {place}" for cell, _ in ones for place in cell.locations]
    edges = difference_intervals(first, second, labels, places)
    accuracy, loss = (metric(first, labels) - metric(second, labels) for metric in (macro_accuracy, log_loss))
    low, high = (100 * edge for edge in edges["accuracy"])
    below, above = edges["log_loss"]
    assert differences_table(rows, [("one", "another"), ("one", "none")]).splitlines()[2:] == [
        f"| one - another | {100 * accuracy:+.1f} ({low:+.1f} to {high:+.1f}) | {loss:+.3f} "
        f"({below:+.3f} to {above:+.3f}) | 2 |"
    ]


def test_a_difference_of_one_device_is_that_of_its_clips_alone() -> None:
    """Oracle: the table of the same cells without the clips of the other device; two of three clips are of device a."""
    pairs, rows = [("one", "another")], [answers(name, fold=fold)[0] for fold in (0, 1) for name in ("one", "another")]
    lines = devices_table(table_of(*rows), pairs).splitlines()[2:]
    for line, device, clips in zip(lines, ("a", "s1"), (80, 40), strict=True):
        alone = table_of(*(cell.of_device(device) for cell in rows))
        accuracy, loss = differences_table(alone, pairs).splitlines()[2].split(" | ")[1:3]
        assert line == f"| one - another | {device} | {clips} | {accuracy} | {loss} |"
    assert devices_table(table_of(*(cell.of_device("a") for cell in rows)), pairs) == ""


def test_methods_are_shown_over_all_of_their_cells() -> None:
    """Oracle: the metrics of the answers put one after the other; 2 folds of 60 clips, by 2 seeds."""
    cells = [answers("one", seed, fold) for fold in (0, 1) for seed in (0, 1)]
    p, labels = np.concatenate([p for _, p in cells]), np.concatenate([cell.labels for cell, _ in cells])
    line = methods_table(table_of(*(cell for cell, _ in cells))).splitlines()[2]
    assert line.startswith(f"| one | {100 * macro_accuracy(p, labels):.1f} % (")
    assert f"| {log_loss(p, labels):.3f} (" in line
    assert line.endswith("| 2 | 2 | 120 |")


def test_cells_of_other_clips_are_not_compared() -> None:
    """Oracle: two cells of one fold whose labels differ."""
    one, (other, _) = answers("one")[0], answers("another")
    other = Answers(**{**vars(other), "labels": other.labels[::-1].copy()})
    with pytest.raises(UserError, match="tested on other clips"):
        differences_table(table_of(one, other), [("one", "another")])


def test_answers_are_joined_by_name(tmp_path: Path, miniature) -> None:
    """Oracle: a table in another order gives the same answers, and these are the project's metrics."""
    rows = miniature.indices("test")
    names, p = [miniature.filenames[row] for row in rows], np.random.default_rng(0).dirichlet(np.ones(10), len(rows))
    cell = Cell(method="m", fold=0, seed=0, commands=(), run=tmp_path)
    found = []
    for order in (np.arange(len(rows)), np.random.default_rng(1).permutation(len(rows))):
        text = predictions_text([names[i] for i in order], p[order], miniature.scenes)
        (tmp_path / "predictions.csv").write_text(text)
        found.append(read_answers(cell, miniature, "1", "abc"))
    one, other = found
    assert one.losses.tolist() == other.losses.tolist()
    assert one.losses.mean() == pytest.approx(log_loss(p, miniature.labels[rows]), abs=1e-6)
    assert one.right.mean() == pytest.approx((p.argmax(1) == miniature.labels[rows]).mean())
    places = [miniature.clips[row].location for row in sorted(rows, key=lambda row: miniature.filenames[row])]
    devices = {clip.filename: clip.device for clip in miniature.clips}
    assert one.devices.tolist() == [devices[name] for name in sorted(names)]
    assert [places[i] == places[0] for i in range(len(rows))] == (one.locations == one.locations[0]).tolist()


def test_folds_test_each_train_clip_once_and_never_at_a_place_of_training(shared_data: Path, tmp_path: Path) -> None:
    """Oracle: the official lists: the folds' test clips are the train clips, the official test clips are in none."""
    root = shared_data / "tau22-mini"
    official, study = read_tau22(root), STUDIES["tau22"]
    options = Options(runs=tmp_path, root=root)
    folds = [study.clips(options, fold) for fold in range(3)]
    tested = sorted(clip.filename for clips in folds for clip in clips.clips if clip.split == "test")
    assert tested == sorted(clip.filename for clip in official.clips if clip.split in ("train", "validation"))
    for clips in folds:
        places = {split: {clip.location for clip in clips.clips if clip.split == split} for split in ("train", "test")}
        assert not places["train"] & places["test"]
        assert (clips.root / clips.clips[0].filename).is_file()
    assert [clips.filenames for clips in folds] == [study.clips(options, fold).filenames for fold in range(3)]
    other = tmp_path / "other"
    shutil.copytree(root, other, ignore=shutil.ignore_patterns("*.wav"))
    with pytest.raises(UserError, match=r"a fold of another data set than .*other: choose another folder with --runs"):
        study.clips(Options(runs=tmp_path, root=other), 0)


def test_students_are_compared_that_differ_in_nothing_but_their_teachers() -> None:
    """Oracle: the commands of two cells, word by word; and what a distilled one learns from is written by a command
    before it, on the same clips, by the same seed."""
    cells = STUDIES["tau22"].cells(Options(runs=Path("r"), root=Path("d")))
    by_key = {cell.key: cell for cell in cells}
    assert len(by_key) == len(cells)
    of_methods = {key: cell for key, cell in by_key.items() if key[0] in {"labels_refit", "distilled_refit"}}
    assert len(of_methods) == 2 * 3 * 2
    for (method, fold, seed), cell in of_methods.items():
        held_out = by_key[method.replace("refit", "held_out"), fold, seed]
        assert (held_out.commands, held_out.run) == (cell.commands, Path(f"{cell.run}.held_out"))
        assert cell.commands[-1][:2] == ("student", f"name={method}-f{fold}-s{seed}")
        assert f"seed={seed}" in cell.commands[-1]
        if not method.startswith("distilled"):
            continue
        alone = by_key[method.replace("distilled", "labels"), fold, seed].commands[-1]
        *teachers, student = cell.commands
        changed = set(student) ^ set(alone)
        logits = next(word for word in changed if word.startswith("logits="))
        assert changed == {student[1], alone[1], logits, "distill=none"}
        written = [f"r/teacher/{words[1].removeprefix('name=')}/logits.h5" for words in teachers]
        assert logits == f"logits=[{','.join(written)}]"
        assert all(f"data.root=r/fold{fold}" in words and f"seed={seed}" in words for words in teachers)


@pytest.mark.parametrize("study", STUDIES)
def test_a_run_folder_is_written_by_one_command(study: str) -> None:
    """Oracle: stage and name of all commands of a study: each pair belongs to one command, and a cell's answers are
    those of its last one, or of the first phase of it."""
    cells = STUDIES[study].cells(Options(runs=Path("r"), root=Path("d"), sounds=Path("s")))
    commands = {command for cell in cells for command in cell.commands}
    assert len({command[:2] for command in commands}) == len(commands) > len(cells) / 2
    for cell in cells:
        stage, run, *_ = cell.commands[-1]
        name = run.removeprefix("name=")
        assert cell.run in (Path("r") / stage / name, Path("r") / stage / f"{name}.held_out")
    compared = {method for pair in STUDIES[study].comparisons for method in pair}
    assert compared == {cell.method for cell in cells}
    assert set(STUDIES[study].by_device) <= set(STUDIES[study].comparisons)


def test_a_finished_cell_is_not_computed_again_and_a_shared_command_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, miniature, capsys: pytest.CaptureFixture
) -> None:
    """Oracle: the commands that were started, by a stand-in that writes predictions; one of them fails."""
    rows = miniature.indices("test")
    names, started = [miniature.filenames[row] for row in rows], []
    text = predictions_text(names, np.full((len(rows), 10), 0.1), miniature.scenes)

    def start(words: list[str], **_: object) -> SimpleNamespace:
        name = words[3]
        started.append(name)
        if name == "broken":
            return SimpleNamespace(returncode=1)
        (tmp_path / name).mkdir()
        (tmp_path / name / "predictions.csv").write_text(text)
        return SimpleNamespace(returncode=0)

    def cell(method: str, *commands: str) -> Cell:
        words = [(name, "name=n") for name in commands]
        return Cell(method=method, fold=0, seed=0, commands=words, run=tmp_path / commands[-1])

    cells = [cell("a", "shared", "x"), cell("b", "shared", "y"), cell("c", "broken", "z")]
    study = STUDIES["synthetic"]
    study = type(study)(
        about="", cells=lambda _: cells, clips=lambda *_: miniature, comparisons=[("a", "b"), ("c", "a")]
    )
    monkeypatch.setattr(command, "STUDIES", {"s": study})
    monkeypatch.setattr(command.subprocess, "run", start)
    monkeypatch.setattr(command, "digest_of", lambda commands: "-".join(name for name, _ in commands))
    arguments = ["study", "s", "--rows", str(tmp_path / "rows.csv"), "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit):
        command.main()
    printed = capsys.readouterr()
    assert started == ["shared", "x", "y", "broken"]
    assert "1 of 3 cells could not be computed" in printed.err
    assert printed.err.endswith(":\n  c, fold 0, seed 0\n")
    assert "| a - b | +0.0" in printed.out
    assert "c - a" not in printed.out
    started.clear()
    monkeypatch.setattr(sys, "argv", [*arguments, "--only", "^[ab] 0"])
    command.main()
    assert started == []
    cells[0] = cell("a", "shared", "another")
    with pytest.raises(SystemExit):
        command.main()
    assert started == []
    assert "rows that were made by other commands or settings:\n  a, fold 0, seed 0\n" in capsys.readouterr().err


@pytest.mark.slow  # some seconds
def test_rows_know_their_commands_wherever_the_files_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: by hand: other folders are the same commands; another file of weights, another setting, or no impulse
    responses are not, nor is another default."""

    def digest(**options: Path) -> str:
        cells = STUDIES["tau22"].cells(Options(**{"runs": Path("r"), "root": Path("d"), **options}))
        return digest_of(next(cell.commands for cell in cells if cell.method == "distilled_refit"))

    given = {"impulses": Path("a/micirp"), "yamnet": Path("a/yamnet.h5")}
    elsewhere = {"runs": Path("/x/y"), "root": Path("z"), "impulses": Path("micirp"), "yamnet": Path("/b/yamnet.h5")}
    assert digest(**given) == digest(**elsewhere)
    assert len({digest(**given), digest(), digest(**{**given, "yamnet": Path("a/other.h5")})}) == 3
    composed, before = digests.composed, digest(**given)
    monkeypatch.setattr(digests, "composed", lambda *words: composed(*words, "student.fit.least_steps=1"))
    digests._described.cache_clear()
    assert digest(**given) != before
    digests._described.cache_clear()


def test_esc_50_is_taken_as_published(tmp_path: Path) -> None:
    """Oracle: a table in the layout of meta/esc50.csv, whose column of folds says what each fold is tested on; and the
    words that the reader of this data set is given."""
    rows = [
        f"{fold}-{number}-A-0.wav,{fold},0,{label},True,{number},A" for fold in range(1, 6) for number, label in LABELS
    ]
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/esc50.csv").write_text("\n".join(["filename,fold,target,category,esc10,src_file,take", *rows]))
    options = Options(runs=tmp_path / "runs", root=tmp_path)
    tested = ESC50.clips(options, 3)
    assert {tested.filenames[row] for row in tested.indices("test")} == {"audio/3-7-A-0.wav", "audio/3-8-A-0.wav"}
    (cell,) = (cell for cell in ESC50.cells(options) if cell.key == ("labels", 3, 0))
    assert {"data=esc50", "data.test_fold=3", f"data.root={tmp_path}"} < {*cell.commands[0]}


@pytest.mark.slow  # composes the commands of a study for each
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tau22"], "needs --root=FOLDER"),
        (["synthetic", "--only", "nothing"], "the methods are labels, distilled"),
        (["synthetic", "--only", "("], "is no regular expression"),
        (["synthetic", "--jobs", "0"], "--jobs=0 must be at least 1"),
        (["synthetic", "--rows", "."], ". is a folder: name a table with --rows"),
        (["tau22", "--root", "nowhere", "--runs", "/proc/x"], "nowhere"),
        (["esc50", "--root", "nowhere"], "nowhere/fold1.csv is missing"),
        (["tau22", "--root", "nowhere"], "nowhere"),
        (["synthetic", "--table"], "has no finished cell yet"),
    ],
)
def test_what_is_wrong_with_a_study_s_command_is_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Oracle: one line on stderr that begins with `error: `, and exit status 1."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["study", *words])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: ")
    assert message in last


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.csv")), ids=lambda path: path.stem)
def test_the_documentation_has_the_tables_of_the_rows(path: Path) -> None:
    """Oracle: what the command prints of the committed rows, of which each method and difference stands in the text."""
    rows, text = read_rows(path), (TABLES.parent / "studies.md").read_text()
    assert methods_table(rows) in text
    assert differences_table(rows, STUDIES[path.stem].comparisons) in text
    assert devices_table(rows, STUDIES[path.stem].by_device) in text
