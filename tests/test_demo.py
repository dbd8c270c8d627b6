"""The local page: what a browser shows of a sound, and what the server refuses."""

import asyncio
import base64
import contextlib
import io
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import requests
import soundfile
import torch
from aiohttp import web
from command import ROOT
from torchaudio.compliance.kaldi import get_mel_banks

from data.front_ends import band_centres, build_front_end
from data.scenes import SCENES
from experiments.inference import server
from experiments.inference.classifier import IntegerClassifier, load_classifier
from experiments.inference.origin import origin_of
from experiments.run import resolve
from experiments.stages import demo
from students.quantize.answer import ONE, Confidence, exponentials, probabilities
from students.quantize.read import read_tflite
from students.quantize.tflite import write_tflite


def sound(seconds: float = 2.0, rate: int = 44_100) -> bytes:
    """A WAV of noise whose first second is quieter."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate))
    samples[:rate] *= 0.01
    return as_wav(samples, rate)


def as_wav(samples: np.ndarray, rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


@contextlib.contextmanager
def serving(model: Path, *, shift: int = 0) -> Iterator[str]:
    """The address of a server in a thread."""
    app = server.make_app(load_classifier(model), origin_of(model), shift)
    loop, runner = asyncio.new_event_loop(), server.make_runner(app)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, server.HOST, 0).start()

    loop.run_until_complete(start())
    thread = Thread(target=loop.run_forever)
    thread.start()
    yield f"http://{server.HOST}:{runner.addresses[0][1]}"
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(runner.cleanup())
    loop.close()


@pytest.fixture(scope="module")
def address(small_model: Path) -> Iterator[str]:
    with serving(small_model) as found:
        yield found


def connect(address: str, sent: bytes) -> socket.socket:
    """A connection over which something was sent, and whose other end must answer or close it."""
    connection = socket.create_connection((server.HOST, int(address.rsplit(":", 1)[1])), timeout=60)
    connection.sendall(sent)
    return connection


def head(size: int) -> bytes:
    """Of a request that sends a sound."""
    return f"POST /classify HTTP/1.1\r\nHost: {server.HOST}\r\nContent-Length: {size}\r\n\r\n".encode()


def status(connection: socket.socket) -> int:
    """Of the next answer."""
    return int(connection.recv(100).split()[1])


def wait_until_places_are(taken: bool, address: str) -> None:
    """Ask with a size that is refused, but not before the number of sounds: 503 if all places are taken, else 413."""
    expected = 503 if taken else 413
    for _ in range(10_000):
        with connect(address, head(server.LARGEST_BYTES + 1)) as connection:
            if status(connection) == expected:
                return
    raise AssertionError(f"never {expected}")


def post(address: str, data: bytes | Iterator[bytes], **headers: str) -> requests.Response:
    return requests.post(f"{address}/classify", data=data, headers=headers, timeout=60)


def test_an_answer_is_the_models_input_and_output(address: str, small_model: Path) -> None:
    """Oracle: front end, network and the definition of calibrated probabilities, called by hand on the wave that
    soundfile and soxr give; tolerance: a shade of 256."""
    classifier = load_classifier(small_model)
    waves = torch.cat(list(classifier.waves(sound())))
    spectrograms = classifier.front_end(waves)
    q = classifier.network.integer_logits(spectrograms).numpy()
    expected = probabilities(q, exponentials(classifier.network.output.scale, 1.0))
    answer = post(address, sound()).json()
    np.testing.assert_array_equal(answer["probabilities"], expected / ONE)
    shown = answer["spectrogram"]
    cells = np.frombuffer(base64.b64decode(shown["cells"]), np.uint8).reshape(shown["bands"], shown["frames"])
    whole = torch.cat([spectrograms[0, 0], spectrograms[1, 0]], dim=1)
    shades = 255 * (whole - whole.min()) / (whole.max() - whole.min())
    np.testing.assert_allclose(cells, shades, atol=0.51)


def test_seconds_are_smoothed(address: str, small_model: Path) -> None:
    """Oracle: p += (q - p) / 4 in floats over six seconds of different loudness, of the probabilities q that a page
    without it gets; each is within a step of 1/32,768 for the bits kept and one for the answer's own; without it, q
    itself."""
    levels = np.repeat([0.5, 0.005, 0.05, 0.005, 0.5, 0.1], 44_100)
    data = as_wav(levels * np.random.default_rng(0).uniform(-1, 1, len(levels)), 44_100)
    plain = post(address, data).json()
    assert plain["smoothed"] == plain["probabilities"]
    average = list[np.ndarray]()
    for q in np.array(plain["probabilities"]):
        average.append(average[-1] + (q - average[-1]) / 4 if average else q)
    assert np.ptp(average, axis=0).max() > 100 / ONE
    with serving(small_model, shift=2) as smoothing:
        assert requests.get(f"{smoothing}/about", timeout=60).json()["smoothing"] == 4
        answer = post(smoothing, data).json()
    assert answer["probabilities"] == plain["probabilities"]
    np.testing.assert_allclose(answer["smoothed"], average, rtol=0, atol=2 / ONE)


def test_examples_are_sounds_that_are_computed(address: str) -> None:
    """Oracle: the names that the page is given; soundfile reads ten seconds of them with a peak of 0.3, the same twice
    and not the same as each other; another name is a message."""
    names = [each["name"] for each in requests.get(f"{address}/about", timeout=60).json()["examples"]]
    assert len(set(names)) == 2
    found = [requests.get(f"{address}/example/{name}", timeout=60).content for name in [*names, names[0]]]
    assert found[0] == found[2] != found[1]
    for content in found[:2]:
        samples, rate = soundfile.read(io.BytesIO(content))
        assert len(samples) == 10 * rate
        assert np.abs(samples).max() == pytest.approx(0.3, abs=1e-4)
    unknown = requests.get(f"{address}/example/rain", timeout=60)
    assert unknown.status_code == 404
    assert f"take one of {names[0]}, {names[1]}" in unknown.json()["message"]


def test_a_model_of_longer_clips_and_more_classes_is_served(long_model: Path) -> None:
    """Oracle: by hand: 12 s are two clips of five seconds, of 128 frames each, and a rest that is shorter than half a
    clip."""
    with serving(long_model) as address:
        known = requests.get(f"{address}/about", timeout=60).json()
        answer = post(address, sound(12, 32_000)).json()
    assert known["clip_seconds"] == 5
    assert known["scenes"] == read_tflite(long_model)[1]["scenes"]
    assert np.shape(answer["probabilities"]) == (2, 50)
    assert answer["spectrogram"]["frames"] == 2 * 128


@pytest.mark.parametrize("mel", [{"kind": "log_mel"}, {"kind": "kaldi_fbank"}])
def test_the_axis_is_kaldis(mel: dict) -> None:
    """Oracle: the centres that torchaudio's filter banks come with; 0.1 Hz."""
    front_end = build_front_end(32_000, mel)
    rate, fft = (32_000, 4096) if mel["kind"] == "log_mel" else (16_000, 512)
    low, high = (0.0, 15_500.0) if mel["kind"] == "log_mel" else (20.0, 8_000.0)
    _, centres = get_mel_banks(front_end.mels, fft, float(rate), low, high, 100.0, -500.0, 1.0)
    np.testing.assert_allclose(band_centres(front_end), centres[:, 0], atol=0.1)


def test_what_is_no_sound_is_a_message(address: str) -> None:
    """Oracle: status 400 and the reason, for bodies that are empty, text, cut, or too long; one byte too much is 413;
    the server answers all the same afterwards."""
    for data, reason in {
        b"": "cannot be read as audio",
        b"<html>": "cannot be read as audio",
        sound()[:40]: "cannot be read as audio",
        sound()[:44]: "88,200 samples and 0 are there",
        sound(server.LONGEST_SECONDS + 1, 8_000): "is longer than 120 s",
    }.items():
        response = post(address, data)
        assert response.status_code == 400
        assert reason in response.json()["message"]
    for data in (bytes(server.LARGEST_BYTES + 1), (bytes(1 << 20) for _ in range(49))):  # the latter says no length
        response = post(address, data)
        assert response.status_code == 413
        assert "more than 48 MiB" in response.json()["message"]
    assert post(address, sound(0.2)).status_code == 200


def test_strangers_are_turned_away(address: str) -> None:
    """Oracle: status 403 for another name of this host (DNS rebinding) and for other sites' pages, 200 for our own;
    nothing listens on the other addresses of this machine."""
    port = address.rsplit(":", 1)[1]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "[::1]"):
        for response in (requests.get(address, headers={"Host": host}, timeout=60), post(address, sound(), Host=host)):
            assert response.status_code == 403, host
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{port}", "http://127.0.0.1:1", ""):
        assert post(address, sound(), Origin=origin).status_code == 403, origin
    assert post(address, sound(), Origin=address).status_code == 200
    assert requests.get(address, headers={"Host": f"localhost:{port}"}, timeout=60).status_code == 200
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", int(port)))


def test_a_sender_who_asks_is_invited_only_to_what_is_taken(address: str) -> None:
    """Oracle: RFC 9110, 10.1.1: the first answer to "Expect: 100-continue" is 100 for a sound, after which it is
    classified, and the refusal itself for one that is too large or from a stranger; nobody has to ask."""

    def asking(size: int, host: str = server.HOST) -> bytes:
        return head(size).replace(server.HOST.encode(), host.encode())[:-2] + b"Expect: 100-continue\r\n\r\n"

    data = sound(0.2)
    with connect(address, asking(server.LARGEST_BYTES + 1)) as connection:
        assert status(connection) == 413
    with connect(address, asking(len(data), "evil.example")) as connection:
        assert status(connection) == 403
    with connect(address, asking(len(data))) as connection:
        assert status(connection) == 100
        connection.sendall(data)
        assert status(connection) == 200


def test_one_sound_is_classified_at_a_time(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: how many are classified at once, counted, of as many as are let in; the page is answered meanwhile."""
    inside, most, pages, classify = [], [], [], server.classify_sound

    def counted(*arguments: object) -> dict:
        inside.append(1)
        most.append(len(inside))
        pages.append(requests.get(address, timeout=60).status_code)
        try:
            return classify(*arguments)
        finally:
            inside.pop()

    monkeypatch.setattr(server, "classify_sound", counted)
    with ThreadPoolExecutor(server.AT_ONCE) as pool:
        assert all(response.ok for response in pool.map(lambda data: post(address, data), [sound()] * server.AT_ONCE))
    assert most == [1] * server.AT_ONCE
    assert pages == [200] * server.AT_ONCE


def test_no_more_sounds_are_let_in_than_there_are_places(address: str) -> None:
    """Oracle: counted by hand: as many uploads as there are places, none of which ends; the next is refused at once;
    one that ends is answered, and those that are broken off make room."""
    data = sound(0.2)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(address, head(len(data)) + data[:-1])) for _ in range(server.AT_ONCE)]
        wait_until_places_are(True, address)
        response = post(address, data)
        assert response.status_code == 503
        assert f"{server.AT_ONCE} sounds are being classified: try again" in response.json()["message"]
        slow[0].sendall(data[-1:])
        assert status(slow[0]) == 200
        wait_until_places_are(False, address)
        assert post(address, data).status_code == 200


def test_a_sound_that_takes_too_long_to_arrive_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: status 408 of an upload that stands still, and its place is free again."""
    monkeypatch.setattr(server, "UPLOAD_SECONDS", 0.05)
    monkeypatch.setattr(server, "AT_ONCE", 1)
    with connect(address, head(1000) + b"RIFF") as connection:
        assert status(connection) == 408
        wait_until_places_are(False, address)


@pytest.mark.parametrize("sent", [b"", b"POST /classify HT", b"POST /classify HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "])
def test_a_request_without_an_end_is_closed(sent: bytes, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the other end closes the connection of nothing, half a line and half a header, without an answer."""
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.05)
    with serving(small_model) as address, connect(address, sent) as connection:
        assert connection.recv(100) == b""


def test_what_nobody_waits_for_is_not_classified(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: which sounds are begun, of three: the first one's sender goes while it is classified, and its computation
    is told so; the second one's goes before its turn; the third is answered."""
    begun, began, told = [], Event(), []

    def classify(_: object, data: bytes, stop: Event, *__: object) -> dict:
        begun.append(data)
        if data == b"first":
            began.set()
            told.append(stop.wait(60))
        return {}

    monkeypatch.setattr(server, "classify_sound", classify)
    monkeypatch.setattr(server, "AT_ONCE", 2)
    with serving(small_model) as address:
        with connect(address, head(5) + b"first"):
            assert began.wait(60)
            with connect(address, head(6) + b"second"):
                wait_until_places_are(True, address)
            wait_until_places_are(False, address)
        assert post(address, b"third").status_code == 200
    assert begun == [b"first", b"third"]
    assert told == [True]


def test_a_computation_ends_soon_after_it_is_told(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the clips that the network computes, counted, of 40, when it is told at the third look."""
    classifier, computed = load_classifier(small_model), []
    looks = iter([False, False, True])
    stop = Event()
    monkeypatch.setattr(stop, "is_set", lambda: next(looks))
    answers = IntegerClassifier.answers
    monkeypatch.setattr(
        IntegerClassifier, "answers", lambda self, some: computed.append(len(some)) or answers(self, some)
    )
    with pytest.raises(server.StoppedError):
        server.classify_sound(classifier, sound(40, 8_000), stop)
    assert computed == [server.CLIPS] * 2


def test_a_defect_is_told_here_and_not_there(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: a model that fails: status 500 without the reason, which is in the log; the next sound is answered."""
    with monkeypatch.context() as patch:
        patch.setattr(server, "classify_sound", lambda *_: {}["a reason"])
        response = post(address, sound())
    assert response.status_code == 500
    assert "a reason" not in response.text
    assert "a reason" in caplog.text
    assert post(address, sound()).status_code == 200


def test_the_page_needs_nothing_else(address: str) -> None:
    """Oracle: the text: no address but its own; headers that forbid all else."""
    response = requests.get(address, timeout=60)
    assert "//" not in response.text.replace("// ", "")
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert requests.get(f"{address}/../demo.py", timeout=60).status_code == 404
    assert requests.get(f"{address}/classify", timeout=60).status_code == 405


def test_a_port_that_is_taken_is_a_message(small_model: Path) -> None:
    """Oracle: a socket of ours holds the port; and a number that is none."""
    given = ["stage=demo", f"model={small_model}"]
    with socket.create_server((server.HOST, 0)) as holder:
        settings = resolve([*given, f"demo.port={holder.getsockname()[1]}"])
        with pytest.raises(demo.UserError, match=r"cannot be had \(Address already in use.*choose another port"):
            demo.run(settings)
    with pytest.raises(demo.UserError, match=r"demo\.port=70000 must be from 0 to 65535"):
        resolve([*given, "demo.port=70000"])


@pytest.mark.slow  # some seconds
def test_the_stage_serves_until_it_is_interrupted(small_model: Path, tmp_path: Path) -> None:
    """Oracle: the address it prints answers; after requests that are broken off, no HTTP or nameless, and Ctrl-C
    while others are open and a long sound is classified, exit code 0, not a word more, and nothing on disk; what waits
    for answers then waits less than a second."""
    command = [sys.executable, "-m", "experiments.run", "stage=demo", f"model={small_model}", "demo.port=0"]
    with subprocess.Popen(
        [*command, f"hydra.run.dir={tmp_path}"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            line = next(line for line in process.stdout if "http" in line)
            address = line.split()[1]
            assert post(address, sound()).status_code == 200
            assert post(address, b"no gzip", **{"Content-Encoding": "gzip"}).status_code == 400
            place = server.HOST, int(address.rsplit(":", 1)[1])
            for body in (
                b"Content-Length: 999\r\n\r\nbroken off",
                b"Transfer-Encoding: chunked\r\n\r\nzz",
                b"\xff\r\n\r\n",
            ):
                with socket.create_connection(place) as connection:
                    connection.sendall(b"POST /classify HTTP/1.1\r\nHost: 127.0.0.1\r\n" + body)
            with socket.create_connection(place) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert b"403" in connection.recv(100)
            data = sound(server.LONGEST_SECONDS, 8_000)
            with (
                connect(address, head(9) + b"?"),
                connect(address, b"POST /"),
                connect(address, head(len(data)) + data),
            ):
                assert requests.get(address, timeout=60).status_code == 200
                process.send_signal(signal.SIGINT)
                rest, errors = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 0
    assert rest + errors == ""
    assert 2 * server.STOP_SECONDS < 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1100, "light")])
@pytest.mark.slow  # some seconds
def test_a_person_sees_the_probabilities(width: int, scheme: str, address: str, tmp_path: Path) -> None:
    """Oracle: the server's own answer, in percent, second by second; canvases of many colours; a message for a file
    that is none; an example; the browser's beeping microphone, of which the server's answer to a second and a level are
    shown while it is recorded; no page wider than the screen, no error in the console."""
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("needs chromium on the PATH")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    (tmp_path / "x.wav").write_bytes(sound())
    (tmp_path / "text.wav").write_bytes(b"no sound")
    answer, said = post(address, sound()).json(), []
    scenes = [scene.replace("_", " ") for scene in SCENES]
    microphone = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *microphone])
        page = browser.new_page(viewport={"width": width, "height": 740}, color_scheme=scheme)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text))
        page.goto(address)
        page.wait_for_selector("#limits:has-text('up to 2 minutes and 48 MiB')")
        assert page.inner_text("#model").startswith("Model model.tflite: its accuracy is not known")
        page.click("#examples button")
        page.wait_for_selector("#about:has-text('10 s of clicks in noise, an example')")
        page.set_input_files("#file", tmp_path / "x.wav")
        page.wait_for_selector("#about:has-text('2 s of x.wav')")
        for second, row in enumerate(answer["probabilities"]):
            page.locator("#second").fill(str(second))
            shares = page.locator("#bars .share").all_inner_texts()
            assert [int(share.removesuffix(" %")) for share in shares] == [int(100 * p + 0.5) for p in row]
        page.locator("#second").press("ArrowLeft")
        unsure = "" if max(answer["probabilities"][0]) >= 6554 / ONE else ": not sure"  # twice the chance of ten
        assert page.inner_text("#when") == f"From 0 to 1 s{unsure}"
        for canvas in ("spectrogram", "strip"):
            colours = (
                "c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer))"
            )
            assert page.locator(f"#{canvas}").evaluate(f"c => ({colours})(c).size") > (
                200 if canvas == "spectrogram" else 10
            )
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        assert not said
        page.set_input_files("#file", tmp_path / "text.wav")
        page.wait_for_selector("#status.wrong:has-text('text.wav: the sound cannot be read as audio')")
        assert "400 (Bad Request)" in said.pop()  # the browser's own note
        with page.expect_response("**/classify") as first:
            page.click("#record")
        row = first.value.json()["probabilities"][0]
        page.wait_for_selector("#past li")
        most, share = int(np.argmax(row)), int(100 * max(row) + 0.5)
        line = f"1 s: {scenes[most]} {share} %{'' if max(row) >= 6554 / ONE else ', not sure'}"
        assert page.locator("#past li").last.inner_text() == line
        page.wait_for_selector("#level[aria-valuenow]:not([aria-valuenow='-60'])")  # it falls slowly
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.inner_text("#status").startswith("Recording: ")
        page.click("#record")
        page.wait_for_selector("#about:has-text('of the recording')")
        assert page.locator("#live").is_hidden()
        assert page.locator("#bars li").count() == 10
        browser.close()
    assert not said


@pytest.mark.slow  # some seconds
def test_a_person_sees_that_the_model_is_not_sure(small_model: Path, tmp_path: Path) -> None:
    """Oracle: the server's own answer against a threshold between its two seconds: one of them is not sure, and so is
    the whole or not, by the mean of both; with a threshold of 1 nothing is sure, and the most probable scene is still
    named."""
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("needs chromium on the PATH")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    (tmp_path / "x.wav").write_bytes(sound())
    network, metadata = read_tflite(small_model)
    scenes, own = [scene.replace("_", " ") for scene in metadata["scenes"]], load_classifier(small_model)
    rows = np.concatenate([own.answers(own.spectrograms(waves)).calibrated for waves in own.waves(sound())]) / ONE
    first, second = rows.max(axis=1)
    assert first != second
    thresholds = float(max(first, second)), 1.0
    with contextlib.ExitStack() as stack:
        addresses = []
        for number, threshold in enumerate(thresholds):
            said = {**metadata, "confidence": Confidence(threshold=threshold).described()}
            addresses.append(stack.enter_context(serving(write_tflite(network, tmp_path / f"{number}.tflite", said))))
        playwright = stack.enter_context(sync_api.sync_playwright())
        page = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()
        for address, threshold in zip(addresses, thresholds, strict=True):
            page.goto(address)
            page.wait_for_selector("#limits:has-text('minutes')")
            page.set_input_files("#file", tmp_path / "x.wav")
            page.wait_for_selector("#about:has-text('2 s of x.wav')")
            assert page.inner_text("#verdict") == "Not sure"
            assert page.inner_text("#about").startswith(f"most probably {scenes[rows.mean(axis=0).argmax()]}: ")
            for number, share in enumerate((first, second)):
                page.locator("#second").fill(str(number))
                unsure = "" if share >= threshold else ": not sure"
                assert page.inner_text("#when") == f"From {number} to {number + 1} s{unsure}"


@pytest.mark.slow  # six seconds of a microphone
def test_the_latest_seconds_are_answered_again_and_again(long_model: Path) -> None:
    """Oracle: the server's answers to five seconds each, one a second from the fifth on, and their moving average by
    hand; of 50 classes the five most probable."""
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("needs chromium on the PATH")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    microphone = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with serving(long_model, shift=1) as address, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *microphone])
        page, answers = browser.new_page(), []
        page.on("response", lambda response: answers.append(response) if "classify" in response.url else None)
        page.goto(address)
        page.wait_for_selector("#limits:has-text('minutes')")
        page.click("#record")
        page.wait_for_selector("#past li:nth-child(2)")
        first, second = (np.array(response.json()["probabilities"][0]) for response in answers[:2])
        lines = page.locator("#past li").all_inner_texts()[-2:]
        later, earlier = (int(line.split(" s: ")[0]) for line in lines)
        assert later > earlier == 5  # the sixth second, or a later one if the machine is slow
        for line, row in zip(lines, (first + (second - first) / 2, first), strict=True):
            name, share = f"sound {row.argmax()}", int(100 * row.max() + 0.5)
            assert line.split(": ")[1] == f"{name} {share} %{'' if row.max() >= 1311 / ONE else ', not sure'}"
        assert page.locator("#chances li").count() == 5
        browser.close()


@pytest.mark.slow  # a browser of its own
def test_a_microphone_that_is_refused_is_a_message(address: str) -> None:
    """Oracle: the message in a browser that allows none, and a page that goes on."""
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("needs chromium on the PATH")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--use-fake-device-for-media-stream"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#limits:has-text('minutes')")
        page.click("#record")
        page.wait_for_selector("#status.wrong:has-text('The microphone may not be used: allow it for this page')")
        assert page.locator("#live").is_hidden()
        page.click("#examples button >> nth=1")
        page.wait_for_selector("#about:has-text('10 s of gliding tones, an example')")
        browser.close()
