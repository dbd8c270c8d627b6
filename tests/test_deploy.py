"""The deploy stage: the folder of C that it writes, compiled and run on this machine and on an emulated Cortex-M4."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from c_code import compiled, need
from command import run

from data.audio import decode
from data.front_ends.integer_log_mel import as_samples
from data.waves import to_float
from experiments.device.emulator import RAM_SIZE
from experiments.device.measure import Device, check_on_host, measured
from experiments.device.toolchain import DEVICE, HOST
from experiments.models.on_device import device_estimate, model_in
from students.device.library import library_files, state_bytes
from students.device.vectors import signals, vectors_text
from students.quantize.read import read_tflite
from students.quantize.tflite import write_tflite

SANITIZED = "CFLAGS=-O1 -fsanitize=address,undefined -fno-sanitize-recover"


@pytest.fixture(scope="module")
def deployed(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the stage wrote for a network of 6k with 64 bands."""
    need(HOST, DEVICE)
    folder = tmp_path_factory.mktemp("deployed")
    result = run(folder, "stage=deploy", f"model={small_model}", "name=small", "tracking=none")
    assert result.returncode == 0, result.stderr
    assert not re.search("is not (compared|measured)", result.stdout)
    return folder / "runs" / "deploy" / "small"


def files_of(folder: Path) -> dict[str, str]:
    """The C and what comes with it, by path."""
    names = [
        path for path in folder.rglob("*") if path.suffix in (".c", ".h", ".ino", ".md") or path.name == "Makefile"
    ]
    return {str(path.relative_to(folder)): path.read_text() for path in names}


def make(folder: Path, *words: str) -> subprocess.CompletedProcess:
    need("make", HOST)
    return subprocess.run(["make", "-C", folder, *words], capture_output=True, text=True)


def test_selftest_is_equal_under_sanitizers_and_without_a_warning(deployed: Path, tmp_path: Path) -> None:
    """Oracle: 20 signals' layers and answers from Python, in vectors.h; the compiler's and the sanitizers' silence."""
    folder = shutil.copytree(deployed, tmp_path / "copy")
    done = make(folder, "selftest", SANITIZED)
    assert done.returncode == 0, done.stdout + done.stderr
    equal, of = re.search(r"(\d+) of (\d+) equal\n", done.stdout).groups()
    assert equal == of
    assert int(of) > len(signals()) >= 20
    assert not done.stderr


@pytest.mark.parametrize(
    ("file", "table"),
    [
        ("network_tables", "layer_0"),
        ("network_tables", "layer_1"),
        ("network_tables", "layer_3"),
        ("network_tables", "scenelet_steps"),
        ("front_end_tables", "scenelet_window"),
        ("front_end_tables", "scenelet_turns"),
        ("front_end_tables", "scenelet_shares"),
        ("front_end_tables", "scenelet_logarithms"),
        ("answer_tables", "scenelet_exponentials"),
    ],
)
def test_one_changed_number_of_a_table_is_found(deployed: Path, tmp_path: Path, file: str, table: str) -> None:
    """Oracle: the selftest of a copy in which one number of a table is another one."""
    folder = shutil.copytree(deployed, tmp_path / "copy")
    source = folder / "src" / f"scenelet_{file}.c"
    head, rest = source.read_text().split(f" {table}[", 1)
    numbers = list(re.finditer(r"(?<=[ -])\d+(?=u?,)", rest[: rest.index("};")]))
    at = numbers[0 if table == "scenelet_exponentials" else len(numbers) // 2]
    other = str(int(at[0]) ^ 1 if table == "scenelet_steps" else int(at[0]) ^ 64)
    source.write_text(f"{head} {table}[{rest[: at.start()]}{other}{rest[at.end() :]}")
    done = make(folder, "selftest", "CFLAGS=-O1")
    assert done.returncode != 0
    assert re.search(f"table .*{table if 'layer' not in table else 'numbers'} differs", done.stdout)


@pytest.mark.slow  # two deploys
def test_files_are_those_of_the_model_alone(deployed: Path, small_model: Path, tmp_path: Path) -> None:
    """Oracle: a second run's bytes; the words that a device's code does not have; the licence's identifier in each."""
    assert run(tmp_path, "stage=deploy", f"model={small_model}", "name=small", "tracking=none").returncode == 0
    files = files_of(deployed)
    assert files == files_of(tmp_path / "runs" / "deploy" / "small")
    for name, text in files.items():
        if name.endswith((".c", ".h")):
            assert text.startswith("/* SPDX-License-Identifier: Apache-2.0."), name
            assert not re.search(r"\b(float|double|malloc|calloc|free)\b", text), name


def test_state_has_the_size_that_is_said(deployed: Path, small_model: Path, tmp_path: Path) -> None:
    """Oracle: sizeof, by the compiler of this machine."""
    sources = {name.split("/")[1]: text for name, text in files_of(deployed).items() if name.startswith("src/")}
    main = (
        '#include <stdio.h>\n#include "scenelet.h"\n'
        'int main(void) { printf("%d %d", (int)sizeof(scenelet), SCENELET_ARENA); return 0; }\n'
    )
    program = compiled({**sources, "main.c": main}, tmp_path)
    said, constant = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    assert constant == said
    assert int(said) == state_bytes(model_in(small_model)[0])
    ram = json.loads((deployed / "cost.json").read_text())["ram"]
    assert sum(ram.values()) - ram["stack"] == int(said)
    assert f"{int(said):,} bytes" in (deployed / "README.md").read_text()


@pytest.mark.slow  # twenty clips of five seconds, and one on an emulated processor
def test_a_model_of_longer_clips_and_more_classes_is_deployed(long_model: Path) -> None:
    """Oracle: the selftest's 20 signals of five seconds, with every layer's integers from Python; and, on the emulated
    Cortex-M4, whose memory a clip's samples alone would fill, the answer of Python (`measured` compares it)."""
    need(HOST, DEVICE)
    model, _ = model_in(long_model)
    assert model.samples == 160_000 > RAM_SIZE // 2
    files = library_files(model, "0")
    cost = measured(files, model, [0] * len(model.network.layers))
    assert cost.ram["log-mel of a clip"] >= 128 * 128
    check_on_host({**files, "selftest/vectors.h": vectors_text(model)})


def test_a_file_is_estimated_before_it_is_deployed(deployed: Path, small_model: Path) -> None:
    """Oracle: the compiler's sizes and the cycles on an emulated Cortex-M4: RAM is equal, the others within 6 %; what
    the count stage prints is the same."""
    cost = json.loads((deployed / "cost.json").read_text())
    found = device_estimate(small_model)
    assert not isinstance(found, str)
    assert found.ram == sum(cost["ram"].values()) - cost["ram"]["stack"]
    assert found.flash == pytest.approx(sum(cost["flash"].values()), rel=0.06)
    cycles = sum(part["cycles"] for part in [*cost["layers"], cost["front_end"]])
    assert found.cycles == pytest.approx(cycles, rel=0.06)
    printed = run(small_model.parent, "count", small_model.name)
    assert printed.returncode == 0, printed.stderr
    for words, value in zip(("RAM on a device, bytes", "flash on a device, bytes", "cycles on a device"), found):  # noqa: B905
        assert re.search(rf"{words}\W+{value:,}", printed.stdout), printed.stdout


def test_header_is_cpp_too_and_the_sketch_compiles(deployed: Path, tmp_path: Path) -> None:
    """Oracle: a C++ compiler, with what of Arduino the sketch uses."""
    compiler = "arm-none-eabi-g++"
    need(compiler)
    arduino = "#include <stdint.h>\nstruct { void begin(long) {} void println(const char *) {} } Serial;\n"
    sketch = (deployed / "examples" / "Microphone" / "Microphone.ino").read_text()
    (tmp_path / "sketch.cpp").write_text(arduino + sketch + "int main() { setup(); loop(); }\n")
    flags = ["-mcpu=cortex-m4", "-mthumb", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{deployed / 'src'}"]
    done = subprocess.run([compiler, *flags, tmp_path / "sketch.cpp"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_library_for_a_cortex_m4_is_made_without_a_warning(deployed: Path, tmp_path: Path) -> None:
    """Oracle: the compiler's silence."""
    need(DEVICE)
    folder = shutil.copytree(deployed, tmp_path / "copy")
    done = make(folder, "arm")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert "scenelet_kernels.o" in done.stdout


def test_page_and_readme_show_the_measured_cost(deployed: Path) -> None:
    """Oracle: cost.json, by hand: cycles and bytes of the parts sum to the whole."""
    cost, scores = (json.loads((deployed / name).read_text()) for name in ("cost.json", "score.json"))
    layers = sum(layer["cycles"] for layer in cost["layers"])
    assert scores["device/network_cycles"] == layers
    assert scores["device/cycles"] == layers + cost["front_end"]["cycles"]
    assert scores["device/flash_bytes"] == sum(cost["flash"].values())
    for page in ("report.html", "README.md"):
        assert f"{layers:,}" in (deployed / page).read_text()


@pytest.mark.slow  # some seconds
def test_what_an_interrupted_command_leaves_cannot_be_built(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: by hand: there is no Makefile, no README and no src after a command that fails while it writes, neither
    of its own nor of an earlier result."""
    words = ("stage=deploy", f"model={small_model}", "name=cut", "tracking=none", "force=true")
    folder = tmp_path / "runs" / "deploy" / "cut"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(tmp_path, *words).returncode == 0
    written = []

    def fails(path: Path, text: str) -> None:
        written.append(path)
        if len(written) > 10:
            raise OSError(28, "No space left on device", str(path))
        path.write_text(text)

    monkeypatch.setattr("experiments.stages.deploy.write_text", fails)
    assert run(tmp_path, *words).returncode == 1
    assert not {"src", "README.md", "Makefile", "selftest", "run.json"} & {path.name for path in folder.iterdir()}


def refused(folder: Path, *words: str) -> str:
    """What a command says that is refused; it leaves no folder."""
    result = run(folder, "stage=deploy", "name=refused", "tracking=none", *words)
    assert result.returncode == 1
    assert not (folder / "runs" / "deploy" / "refused").exists()
    return result.stderr


@pytest.mark.slow  # five deploys
def test_what_has_no_c_is_refused_in_one_message(small_model: Path, tmp_path: Path) -> None:
    """Oracle: the messages; no folder is written."""
    network, metadata = read_tflite(small_model)
    said = refused(tmp_path, f"model={small_model}", "deploy.ram=20_000")
    assert re.search(r"needs [\d,]+ bytes of RAM, without the stack, and deploy\.ram=20,000", said)
    assert "tensors of these devices of its own: none" in refused(tmp_path, f"model={small_model}", "deploy.device=a")
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(small_model.read_bytes()[:-1000])
    assert "damaged.tflite" in refused(tmp_path, f"model={damaged}")
    scene = write_tflite(network, tmp_path / "scene.tflite", {**metadata, "scenes": ["café", *metadata["scenes"][1:]]})
    assert "'café' is no text of ASCII" in refused(tmp_path, f"model={scene}")
    trigraph = {**metadata, "scenes": ["what??/", '"quoted"\\', *metadata["scenes"][2:]]}
    named = write_tflite(network, tmp_path / "named.tflite", trigraph)
    assert run(tmp_path, "stage=deploy", f"model={named}", "name=named", "tracking=none").returncode == 0
    odd = write_tflite(network, tmp_path / "odd.tflite", {**metadata, "mel": {**metadata["mel"], "fft": 6000}})
    assert "fft=6000 must be one of" in refused(tmp_path, f"model={odd}")
    assert "does not exist" in refused(tmp_path)


def test_a_finished_folder_is_refused_over_a_smaller_limit(deployed: Path, small_model: Path) -> None:
    """Oracle: the message, after the same command without a limit has run."""
    words = ("stage=deploy", f"model={small_model}", "name=small", "tracking=none")
    assert "the result is reused" in run(deployed.parents[2], *words).stdout
    result = run(deployed.parents[2], *words, "deploy.ram=100")
    assert result.returncode == 1
    assert "deploy.ram=100" in result.stderr


@pytest.mark.slow  # two deploys
def test_without_tools_the_folder_is_written_and_says_so(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the messages, with a PATH in which there is no compiler."""
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run(tmp_path, "stage=deploy", f"model={small_model}", "name=bare", "tracking=none")
    assert result.returncode == 0, result.stderr
    assert "not compared with Python on this machine: gcc is not installed: apt-get install gcc" in result.stdout
    assert "not measured on an emulated Cortex-M4: arm-none-eabi-gcc is not installed" in result.stdout
    folder = tmp_path / "runs" / "deploy" / "bare"
    assert "was not measured" in (folder / "README.md").read_text()
    assert not (folder / "cost.json").exists()
    monkeypatch.undo()
    need(DEVICE)
    assert run(tmp_path, "stage=deploy", f"model={small_model}", "name=bare", "tracking=none").returncode == 0
    assert (folder / "cost.json").exists()


FUZZ = """
#include <stdio.h>
#include <stdlib.h>
#include "scenelet.h"
static scenelet state;
static int16_t samples[64];
static uint32_t seed = 1;
static uint32_t drawn(void)
{
    return (seed = seed * 1664525u + 1013904223u) >> 16;
}
int main(int count, char **words)
{
    uint32_t pushes = (uint32_t)atoi(words[1]), clips = 0, i, at;
    scenelet_answer answer;
    (void)count;
    scenelet_init(&state, 1);
    for (; pushes > 0; pushes--) {
        uint32_t some = drawn() % 64, loud = drawn() % 16;
        for (i = 0; i < some; i++) {
            samples[i] = (int16_t)((int16_t)drawn() >> loud);
        }
        for (at = 0; at < some || scenelet_is_complete(&state);) {
            at += scenelet_push(&state, samples + at, some - at);
            if (scenelet_is_complete(&state)) {
                if (scenelet_push(&state, samples, 1) != 0) {
                    return 1;
                }
                if (scenelet_classify(&state, &answer) == SCENELET_INCOMPLETE) {
                    return 2;
                }
                clips++;
            } else if (scenelet_classify(&state, &answer) != SCENELET_INCOMPLETE) {
                return 3;
            }
        }
    }
    printf("%u", (unsigned)clips);
    return 0;
}
"""


@pytest.mark.slow  # a million pushes, 984 clips, under sanitizers
def test_any_samples_in_any_pieces_are_survived(deployed: Path, tmp_path: Path) -> None:
    """Oracle: the sanitizers' silence; by hand: a clip is complete after its samples, and only then."""
    sources = {name.split("/")[1]: text for name, text in files_of(deployed).items() if name.startswith("src/")}
    program = compiled({**sources, "main.c": FUZZ}, tmp_path)
    done = subprocess.run([program, "1000000"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 900 < int(done.stdout) < 1100


@pytest.mark.slow  # reads and classifies real clips, on an emulated processor too
def test_real_clips_have_the_answers_of_python(deployed: Path, small_model: Path, shared_data: Path) -> None:
    """Oracle: Model, from a wave file's samples to logits and probabilities: 75 clips on this machine, ten of them on
    the emulated Cortex-M4."""
    model, _ = model_in(small_model)
    clips = sorted((shared_data / "tau22-mini" / "audio").glob("*.wav"))[:75]
    decoded = decode(clips, model.front_end.sample_rate, model.samples / model.front_end.sample_rate)
    samples = as_samples(to_float(torch.from_numpy(decoded.wave), torch.from_numpy(decoded.scale)))
    logits = model.network.run(model.inputs(samples))
    answers, chances = model.answers(logits)
    program = deployed / "build" / "classify"
    assert make(deployed, "classify").returncode == 0
    said = subprocess.run([program], input=samples.numpy().astype("<i2").tobytes(), capture_output=True, check=True)
    found = [list(map(int, line.split()[-10:])) for line in said.stdout.decode().splitlines()]
    np.testing.assert_array_equal(found, logits.numpy())
    with_files = files_of(deployed)
    device = Device(with_files, deployed / "build")
    for clip in range(10):
        device.push(samples[clip].numpy())
        answer, one, two = device.answer(10)
        assert answer == answers[clip]
        np.testing.assert_array_equal(one, logits[clip])
        np.testing.assert_array_equal(two, chances[clip])


def test_signals_of_the_selftest_are_what_they_say() -> None:
    """Oracle: by hand: silence, single steps, full scale, and noise in between, of 16 bits."""
    silent, smallest, largest, *others = [signal.samples(1000) for signal in signals()]
    assert not silent.any()
    assert set(smallest) == {-1, 1}
    assert set(largest) == {-32768, 32767}
    assert all(len(np.unique(samples)) > 2 for samples in others[1:])
