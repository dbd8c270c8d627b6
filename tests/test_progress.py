"""What is shown of how far some work is: on a terminal, in a log, and nowhere else."""

import itertools
import logging
import os
import re
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional as F

from data import progress as module
from data.augmentation import Augmentation
from data.front_ends.log_mel import LogMel
from data.packing import pack
from data.progress import progress
from data.scenes import ClipSet
from data.waves import WaveStore
from experiments.command.console import logging_put_back, start_logging
from experiments.datasets.datamodule import DataModule
from experiments.inference.classifier import IntegerClassifier, load_classifier
from experiments.inference.sounds import classify_files
from experiments.inference.teacher_logits import write_logits
from experiments.quantization.forms import integer_logits
from experiments.run import main
from experiments.runs.record import Run
from experiments.settings.parts import Hardware, Recipe
from experiments.training.trainer import Trainer

ERASED = "\x1b[2K"  # ECMA-48, EL
CURSOR_HIDDEN, CURSOR_SHOWN = "\x1b[?25l", "\x1b[?25h"  # DEC's private modes
FRONT_END = LogMel(mels=16, fft=1024, window=1024, hop=4000)
CONTROL = re.compile(r"(\x1b\[[0-9;?]*[a-zA-Z]|[\r\n])")
BAR = " ━╸╺"


class Clock:
    """Seconds that go on when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


class Terminal:
    """A pseudo-terminal; within it, standard output and error of this process lead to it."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave)  # or a line's end would come as two characters
        os.set_blocking(self.master, False)
        self.stream = open(slave, "w", encoding="utf-8")  # noqa: SIM115
        self.stack, self.written = ExitStack(), ""

    def read(self) -> str:
        """What was written since the last time."""
        self.stream.flush()
        found = b""
        while True:
            try:
                found += os.read(self.master, 1 << 16)
            except BlockingIOError:
                self.written += found.decode()
                return found.decode()

    def screen(self) -> list[str]:
        """The lines that are seen, but for the bars."""
        self.read()
        lines, row, column = [""], 0, 0
        for token in CONTROL.split(self.written):
            if token == "\r":
                column = 0
            elif token == "\n":
                row, column = row + 1, 0
                lines += [""] * (row == len(lines))
            elif token.startswith("\x1b["):
                row -= int(token[2:-1]) if token.endswith("A") else 0
                lines[row] = "" if token == ERASED else lines[row]
            else:
                lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + len(token) :]
                column += len(token)
        lines = [line.strip(BAR) for line in lines]
        while lines and not lines[-1]:  # there is nothing below
            lines.pop()
        return lines

    def __enter__(self) -> None:
        self.stack.enter_context(redirect_stdout(self.stream))
        self.stack.enter_context(redirect_stderr(self.stream))
        self.stack.enter_context(logging_put_back())
        start_logging()

    def __exit__(self, *_: object) -> None:
        self.stack.close()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")  # or rich would ask the terminal that the tests are started from
    made = Terminal()
    yield made
    made.stream.close()
    os.close(made.master)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == module.__name__]


def test_a_log_gets_at_most_a_line_a_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: by hand: of steps of 10 s and 64 clips each sixth one is said; what takes less than a minute is not. The
    loss is read for a line alone."""
    caplog.set_level("INFO")
    read = itertools.count(1)
    with progress("epoch 2/9", 100, "batches", rate="clips", loss=lambda: next(read) / 2) as line:
        for _ in range(13):
            clock.now += 10
            line.advance(1, counted=64)
    assert messages(caplog) == [
        "epoch 2/9: 6 of 100 batches, 0:15:40 left, loss 0.500, 6.4 clips/s",
        "epoch 2/9: 12 of 100 batches, 0:14:40 left, loss 1.000, 6.4 clips/s",
    ]
    caplog.clear()
    with progress("packing", 50_000, done=10_000) as line:
        for step in line.over([30, 20, 9, 1], lambda _: 5000):
            clock.now += step
    assert messages(caplog) == ["packing: 30,000 of 50,000 clips, 0:01:00 left, 333 clips/s"]


def test_a_terminal_shows_one_line_which_is_gone_in_the_end(terminal: Terminal, clock: Clock) -> None:
    """Oracle: the screen, by hand: the line is always the last one, messages stand above it, and in the end alone. It
    is written, and the loss read, once in half a second at most. The cursor is hidden meanwhile."""
    reads = itertools.count()
    with terminal:
        with progress("epoch 2/9", 1000, "batches", rate="clips", loss=lambda: 1 + next(reads) / 4) as line:
            assert terminal.screen() == ["epoch 2/9: 0 of 1,000 batches"]
            clock.now += 0.5
            line.advance(1, counted=64)
            first = "epoch 2/9: 1 of 1,000 batches, 0:08:20 left, loss 1.000, 128 clips/s"
            assert terminal.screen() == [first]
            logging.getLogger("test").info("a message of %d words", 5)
            assert terminal.screen() == ["a message of 5 words", first]
            for _ in range(31):
                clock.now += 1 / 64
                line.advance(1, counted=64)
            assert terminal.read() == ""
            for _ in range(225):  # 256 of them are four seconds
                clock.now += 1 / 64
                line.advance(1, counted=64)
            last = "epoch 2/9: 257 of 1,000 batches, 0:00:13 left, loss 3.000, 3,655 clips/s"
            assert terminal.screen() == ["a message of 5 words", last]
            assert CURSOR_HIDDEN in terminal.written
            assert CURSOR_SHOWN not in terminal.written
        assert CURSOR_SHOWN in terminal.written + terminal.read()
        assert terminal.screen() == ["a message of 5 words"]
        logging.getLogger("test").info("another one")
        assert terminal.screen() == ["a message of 5 words", "another one"]
    assert next(reads) == 9


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (80, "epoch 2/9: 1 of 1,000 batches, 0:08:20 left, loss 1.250, 128 clips/s"),
        (50, "epoch 2/9: 1 of 1,000 batches, 0:08:20 left"),
        (30, "epoch 2/9: 1 of 1,000 batches"),
        (20, "epoch 2/9: 1 of 1,0\u2026"),
        (2, "e\u2026"),
    ],
)
def test_a_narrow_terminal_shows_less_in_one_line(
    terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch, columns: int, text: str
) -> None:
    """Oracle: by hand: whole parts, the most important ones, of at most the terminal's width."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with terminal, progress("epoch 2/9", 1000, "batches", rate="clips", loss=lambda: 1.25) as line:
        clock.now += 0.5
        line.advance(1, counted=64)
        assert terminal.screen() == [text]


def test_names_move_no_cursor(terminal: Terminal, clock: Clock) -> None:
    """Oracle: Python's escape, by hand."""
    with terminal, progress("[red]a\x1b[2Jb", 2):
        assert terminal.screen() == ["[red]a\\x1b[2Jb: 0 of 2 clips"]


def test_of_works_within_each_other_the_outer_one_is_shown(terminal: Terminal, clock: Clock) -> None:
    """Oracle: the screen; also after a work that an error ended."""
    with terminal, pytest.raises(ZeroDivisionError), progress("first", 1):
        raise ZeroDivisionError
    with terminal, progress("outer", 2), progress("inner", 3) as line:
        clock.now += 100
        line.advance()
        assert terminal.screen() == ["outer: 0 of 2 clips"]
    with terminal, progress("last", 2):
        assert terminal.screen() == ["last: 0 of 2 clips"]


def test_other_processes_than_the_first_and_programs_without_logging_show_nothing(
    terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: a terminal on which nothing was written; the first of two processes writes on it."""

    def written(level: int | None = None) -> str:
        with terminal:
            logging.getLogger().setLevel(level or logging.getLogger().level)
            with progress("work", 2) as line:
                clock.now += 100
                line.advance()
        return terminal.read()

    assert not written(logging.WARNING)  # Python's own
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert not written()
    monkeypatch.setenv("RANK", "0")
    assert "work: 1 of 2 clips" in written()


@pytest.mark.parametrize("variables", [{"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_a_file_gets_no_controls_though_colours_are_forced(
    clock: Clock, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, variables: dict
) -> None:
    """Oracle: the whole output, by hand."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with logging_put_back():
        start_logging()
        with progress("work", 2) as line:
            clock.now += 60
            line.advance()
    assert capfd.readouterr().out == "work: 1 of 2 clips, 0:01:00 left, 0.0 clips/s\n"


def test_ctrl_c_leaves_the_message_alone_on_the_terminal(
    terminal: Terminal, small_model: Path, miniature: ClipSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the end of the screen; the cursor, which is shown again; the exit code of shells."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(IntegerClassifier, "answers", stop)
    with terminal, pytest.raises(SystemExit) as ended:
        main(["predict", str(miniature.root / "audio"), f"model={small_model}", "name=x"])
    assert ended.value.code == 130
    *before, message = terminal.screen()
    assert "classifying: 0 of " in terminal.written
    assert message == "error: interrupted: no table is written, and the same command begins anew"
    assert not [line for line in before if "classifying: " in line]
    assert terminal.written.count(CURSOR_HIDDEN) == terminal.written.count(CURSOR_SHOWN) == 1


RECIPE = Recipe(
    epochs=1, batch_size=8, learning_rate=1e-3, weight_decay=0.0, constant_until=1, down_over=0, floor=1.0, keep="last"
)


def network() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(64, 10))


def training(data: DataModule, folder: Path, model: Path) -> None:
    trainer = Trainer(
        recipe=RECIPE,
        augmentation=Augmentation(),
        hardware=Hardware(accelerator="cpu", compile=False),
        residency="disk",
        seed=0,
    )
    run = Run(folder / "run", settings={}, inputs={})
    trainer.train(run, data, network(), FRONT_END, loss=lambda logits, batch: F.cross_entropy(logits, batch.labels))


def logits(data: DataModule, folder: Path, model: Path) -> None:
    identity = {name: name for name in ("teacher", "config", "weights", "waves", "clips", "impulses", "trained_on")}
    fabric = Fabric(accelerator="cpu", devices=1)
    write_logits(fabric, folder / "logits.h5", data, network(), FRONT_END, identity=identity, shifts=[0])


def packing(data: DataModule, folder: Path, model: Path) -> None:
    pack(data.clips, folder)


def on_device(data: DataModule, folder: Path, model: Path) -> None:
    front_end = load_classifier(model).front_end
    integer_logits(data, front_end, model, None, front_end)


def prediction(data: DataModule, folder: Path, model: Path) -> None:
    names = [data.clips.filenames[row] for row in data.clips.indices("test")]
    classify_files(load_classifier(model), [(name, data.clips.root / name) for name in names])


def submission(data: DataModule, folder: Path, model: Path) -> None:
    paths = [data.clips.root / data.clips.filenames[row] for row in data.clips.indices("test")]
    load_classifier(model).classify_clips(paths, "Kim_task1_1")


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (
            training,
            {"epoch 1/1": ("train", "batches, .* left, loss .*, .* clips/s"), "scoring": ("validation", "")},
        ),
        (logits, {"logits": (None, "clips")}),
        (packing, {"packing": (None, "clips")}),
        (on_device, {"scoring, stored": ("test", "clips"), "scoring, host": ("test", "clips")}),
        (prediction, {"classifying": ("test", "files, .* clips/s")}),
        (submission, {"Kim_task1_1": ("test", "clips")}),
    ],
)
def test_what_takes_long_says_how_far_it_is(
    work: Callable[[DataModule, Path, Path], None],
    expected: dict[str, tuple[str | None, str]],
    miniature: ClipSet,
    miniature_waves: WaveStore,
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Oracle: a log in which every step is said: the last line of each work counts all clips of its split, or whole
    batches of eight, or all files but the last, which may go on; nothing counts more."""
    monkeypatch.setattr(module, "LOG_SECONDS", 0.0)
    caplog.set_level("INFO")
    work(DataModule(miniature, miniature_waves, None), tmp_path, small_model)
    for name, (split, rest) in expected.items():
        count = len(miniature.filenames if split is None else miniature.indices(split))
        total = count // 8 if "batches" in rest else count
        done = total - 1 if "files" in rest else total
        last = [message for message in messages(caplog) if message.startswith(f"{name}: ")][-1]
        assert re.fullmatch(f"{name}: {done} of {total} {rest}.*", last), last
