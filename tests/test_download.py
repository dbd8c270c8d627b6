"""Fetching the data set, from a server of our own that lies, breaks off and goes on."""

import contextlib
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data import download
from data.download import download_tau22, fetch_subset_lists, unpack
from data.errors import UserError
from data.records import DEVELOPMENT, RECORDS, UNFINISHED

TOP = "TAU-urban-acoustic-scenes-2022-mobile-development"  # that the published archives unpack into


class Server:
    """A record of archives on a server that may cut its answers short."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.md5: dict[str, str] = {}
        self.break_after: int | None = None  # bytes of one answer
        self.break_at: int | None = None  # byte of a file, however often it is asked for
        self.asked: list[tuple[str, str | None]] = []
        self.ranges = True
        self.wrong_by = 0  # bytes by which the record's sizes are wrong
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def add(self, name: str, members: dict[str, bytes]) -> None:
        self.files[name] = zipped(members)
        self.md5[name] = hashlib.md5(self.files[name]).hexdigest()

    def describe(self, name: str) -> dict[str, object]:
        links = {"self": f"{self.url}/{name}"}
        return {
            "key": name,
            "size": len(self.files[name]) + self.wrong_by,
            "checksum": f"md5:{self.md5[name]}",
            "links": links,
        }

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = request.path.strip("/")
        self.asked.append((name, request.headers.get("Range")))
        if name == "record":
            data = json.dumps({"files": [self.describe(name) for name in self.files]}).encode()
        else:
            data = self.files[name]
        start = int((request.headers.get("Range") or "bytes=0-")[6:-1]) if self.ranges and name != "record" else 0
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        if name != "record":
            data = data[: self.break_at][: None if self.break_after is None else start + self.break_after]
        request.wfile.write(data[start:])


def zipped(members: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return memory.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "BLOCK", 1000)
    server = Server()
    server.add("set.meta.zip", {f"{TOP}/meta.csv": b"filename\n", f"{TOP}/evaluation_setup/fold1_train.csv": b"x\n"})
    server.add("set.audio.1.zip", {f"{TOP}/audio/{n}.wav": bytes(1000 + n) for n in range(50)})
    yield server
    server.http.shutdown()


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def whole(server: Server) -> dict[str, bytes]:
    """What the archives hold, read by zipfile, without their top folder."""
    members = {}
    for data in server.files.values():
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members |= {name.removeprefix(f"{TOP}/"): archive.read(name) for name in archive.namelist()}
    return dict(sorted(members.items()))


def fetch(server: Server, root: Path) -> None:
    download_tau22(root, replace(RECORDS[DEVELOPMENT], url=f"{server.url}/record"))


def test_the_data_set_comes_whole_and_the_terms_are_shown(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the members of the archives, and nothing beside them."""
    caplog.set_level("INFO")
    fetch(server, tmp_path / "set")
    assert content(tmp_path / "set") == whole(server)
    assert not (tmp_path / "set" / UNFINISHED).exists()
    assert "non-commercial use only" in caplog.text


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_stopped_goes_on_where_it_stopped(server: Server, tmp_path: Path, ranges: bool) -> None:
    """Oracle: the bytes that the server is asked for: what came is not asked for again, unless the server cannot."""
    server.break_at = 10_000
    with pytest.raises(UserError, match=r"set.audio.1.zip could not be fetched whole .* fetch the data set again"):
        fetch(server, tmp_path / "set")
    assert (tmp_path / "set" / UNFINISHED).is_dir()
    server.break_at, server.asked, server.ranges = None, [], ranges
    fetch(server, tmp_path / "set")
    assert server.asked == [("record", None), ("set.audio.1.zip", "bytes=10000-")]
    assert content(tmp_path / "set") == whole(server)


def test_a_connection_that_keeps_breaking_is_taken_up_at_once(server: Server, tmp_path: Path) -> None:
    """Oracle: a server that gives 20,000 bytes a time: four connections for 61 kB, each from where the last broke."""
    server.break_after = 20_000
    fetch(server, tmp_path / "set")
    assert content(tmp_path / "set") == whole(server)
    asked = [r for n, r in server.asked if n == "set.audio.1.zip"]
    assert asked == [f"bytes={n}-" for n in (0, 20_000, 40_000, 60_000)]


def test_a_wrong_md5_is_found_and_mended_by_the_next_run(server: Server, tmp_path: Path) -> None:
    """Oracle: the md5 of other bytes; later the right one."""
    right, server.md5["set.audio.1.zip"] = server.md5["set.audio.1.zip"], "0" * 32
    with pytest.raises(UserError, match=r"set.audio.1.zip is not what the record says"):
        fetch(server, tmp_path / "set")
    assert not list((tmp_path / "set").glob("audio/*"))
    server.md5["set.audio.1.zip"] = right
    fetch(server, tmp_path / "set")
    assert content(tmp_path / "set") == whole(server)


def test_a_wrong_size_in_the_record_ends_with_a_message(server: Server, tmp_path: Path) -> None:
    """Oracle: sizes 7 bytes above those of the files; one request for the first file, and not one after another."""
    server.wrong_by = 7
    with pytest.raises(UserError, match=r"ended at byte \d+ of \d+: fetch the data set again later"):
        fetch(server, tmp_path / "set")
    assert [name for name, _ in server.asked] == ["record", "set.meta.zip"]


def test_two_downloads_at_once_fetch_everything_once(server: Server, tmp_path: Path) -> None:
    """Oracle: the server's list of requests, and the members of the archives."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: fetch(server, tmp_path / "set"), range(2)))
    assert sorted(name for name, _ in server.asked) == ["record", "set.audio.1.zip", "set.meta.zip"]
    assert content(tmp_path / "set") == whole(server)


def test_what_is_unpacked_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    """Oracle: the server's list of requests, after a kill that left the first archive unpacked."""
    server.md5["set.audio.1.zip"], right = "0" * 32, server.md5["set.audio.1.zip"]
    with pytest.raises(UserError):
        fetch(server, tmp_path / "set")
    server.md5["set.audio.1.zip"], server.asked = right, []
    fetch(server, tmp_path / "set")
    assert [name for name, _ in server.asked] == ["record", "set.audio.1.zip"]


EVIL = ["../evil.wav", f"{TOP}/../../evil.wav", "/evil.wav", "a\\..\\..\\evil.wav", "C:/evil.wav", f"{TOP}/C:/evil.wav"]


@pytest.mark.parametrize("name", EVIL)
def test_an_archive_that_would_write_elsewhere_is_refused_whole(tmp_path: Path, name: str) -> None:
    """Oracle: the folder's content, which stays empty, although the first member is harmless."""
    (tmp_path / "x.zip").write_bytes(zipped({f"{TOP}/audio/good.wav": b"1", name: b"2"}))
    (tmp_path / "set").mkdir()
    with pytest.raises(UserError, match=r"(?s)would write outside of .*evil\.wav"):
        unpack(tmp_path / "x.zip", tmp_path / "set")
    assert content(tmp_path) == {"x.zip": (tmp_path / "x.zip").read_bytes()}


@pytest.mark.parametrize("name", [f"{TOP}//outside/evil.wav", f"{TOP}/./outside/evil.wav", "//outside/evil.wav"])
def test_what_slashes_hide_stays_inside(tmp_path: Path, name: str) -> None:
    """Oracle: files there are after unpacking: below the folder, or none."""
    (tmp_path / "x.zip").write_bytes(zipped({name: b"1", f"{TOP}/": b""}))
    (tmp_path / "set").mkdir()
    with contextlib.suppress(UserError):
        unpack(tmp_path / "x.zip", tmp_path / "set")
    assert set(content(tmp_path)) - {"x.zip"} <= {"set/outside/evil.wav"}


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    """Oracle: a member whose Unix mode says symbolic link."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        link = zipfile.ZipInfo(f"{TOP}/audio")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc")
    (tmp_path / "set").mkdir()
    with pytest.raises(UserError, match="would write outside"):
        unpack(tmp_path / "x.zip", tmp_path / "set")
    assert not list((tmp_path / "set").iterdir())


def test_a_damaged_archive_is_a_message(tmp_path: Path) -> None:
    """Oracle: half of an archive."""
    data = zipped({"a.wav": bytes(5000)})
    (tmp_path / "x.zip").write_bytes(data[: len(data) // 2])
    (tmp_path / "set").mkdir()
    with pytest.raises(UserError, match="is no zip archive"):
        unpack(tmp_path / "x.zip", tmp_path / "set")


def test_a_full_disk_is_found_before_the_first_byte(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: a disk that claims to have 10 kB; the server's list of requests."""
    usage = download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(UserError, match=r"choose another folder with data\.root"):
        fetch(server, tmp_path / "set")
    assert server.asked == [("record", None)]
    assert not (tmp_path / "set").exists()


def test_no_connection_says_how_to_do_it_by_hand(tmp_path: Path) -> None:
    """Oracle: a port that nobody listens at; nothing is left behind."""
    with pytest.raises(UserError, match=r"does not answer .*fetch all zip files of .* by hand, unpack them"):
        download_tau22(tmp_path / "set", replace(RECORDS[DEVELOPMENT], url="http://127.0.0.1:9/record"))
    assert not (tmp_path / "set").exists()


def test_a_folder_with_other_things_is_left_alone(server: Server, tmp_path: Path) -> None:
    """Oracle: the folder's content."""
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UserError, match=r"is not empty and has no meta.csv"):
        fetch(server, tmp_path)
    assert content(tmp_path) == {"mine.txt": b"x"}
    assert not server.asked


def test_the_lists_of_the_subsets_are_fetched_once_and_checked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the server's list of requests, and a list whose sha256 is another."""
    server.files |= {"split5.csv": b"filename\n", "split10.csv": b"filename\nx\n"}
    digests = {name: hashlib.sha256(server.files[name]).hexdigest() for name in ("split5.csv", "split10.csv")}
    monkeypatch.setattr(download, "SUBSET_SHA256", digests)
    monkeypatch.setattr(download, "SUBSET_URL", f"{server.url}/")
    for _ in range(2):
        fetch_subset_lists(tmp_path / "lists")
    assert content(tmp_path / "lists") == {name: server.files[name] for name in sorted(digests)}
    assert len(server.asked) == 2
    server.files["split5.csv"] = b"another\n"
    with pytest.raises(UserError, match=r"cannot fetch .*split5.csv .* by hand into a folder"):
        fetch_subset_lists(tmp_path / "other")
