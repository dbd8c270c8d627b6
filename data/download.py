"""Fetch the real data set: archives that are checked, gone on with where they stopped, and unpacked safely.

Conventions: what is under way lies in `<root>/.download`; while that folder exists the data set is incomplete, and the
next run goes on. An archive is removed once it is unpacked. Sizes and md5 sums come from the record itself; md5 sums
that are known from elsewhere must be the same (data/records.py).
Source: Zenodo's REST API, GET /api/records/<id>; subsets: the release of the DCASE 2024 baseline.
"""

import json
import logging
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pooch
import requests

from data.errors import UserError, listed
from data.locks import locked
from data.progress import progress
from data.records import DEVELOPMENT, RECORDS, UNFINISHED, Record
from data.whereabouts import meant_root

UNPACKED_SHARE = 1.5  # 24-bit audio unpacks to less than this much of its archive's size
SUBSET_URL = "https://github.com/CPJKU/dcase2024_task1_baseline/releases/download/files/"
SUBSET_SHA256 = {
    "split5.csv": "c7dadadd39bb96e0c0fdd98b88a03b6f671ea6544ed318ffadc2be3f23c6daef",
    "split10.csv": "69608bd9b241534e7cf79aefadbca3535bc0fe5ffcd1e5584f116a2b34ccf711",
    "split25.csv": "cacc595c8e4950a89544b6852b362a8a008c3f4d82b29eda5a5abb6fa4ecad1a",
    "split50.csv": "8937e3f534143351280c1946501f7cff21cd07683e9bc254d50fdc365f9d6877",
}
TIMEOUT = 60.0  # seconds without a byte
ATTEMPTS = 3  # connections in a row that bring nothing
BLOCK = 1 << 20  # bytes that are written at a time
MEGABYTE = 1e6  # bytes
BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)

pooch.get_logger().setLevel(logging.WARNING)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Archive:
    """A file of the record; `size` in bytes."""

    name: str
    size: int
    md5: str
    url: str


def download_tau22(root: str | Path, record: Record = RECORDS[DEVELOPMENT]) -> None:
    """Fetch, check and unpack a record below `root`, or go on with what is there.

    Args:
        root: new, empty, or a download that was stopped.
        record: what to fetch.

    Raises:
        UserError: the folder holds something else, the disk is too small (found before the first byte), the
            connection fails, a file is not what the record says, or an archive would write outside `root`. What was
            fetched is kept and the next run goes on, except for a file with a wrong md5 sum.
    """
    root = Path(root)
    ours = not root.exists() or (root / record.marker).exists() or (root / UNFINISHED).is_dir()
    if not ours and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(
            f"data.root={root} is not empty and has no {record.marker}: give the data set's folder or a new "
            f"one{meant_root(root, record.marker)}"
        )
    lock, elsewhere = Path(f"{root}.lock"), "choose another folder with data.root=..."
    with locked(lock, f"fetching {root}", otherwise="stop it", elsewhere=elsewhere, waits=True):
        if not (root / record.marker).exists() or (root / UNFINISHED).is_dir():
            _download(root, root / UNFINISHED, record)


def _download(root: Path, state: Path, record: Record) -> None:
    log.info("%s", record.terms)
    archives = _describe(record, root)
    missing = [archive for archive in archives if not _mark(state, archive).exists()]
    _check_space(root, missing, state)
    state.mkdir(parents=True, exist_ok=True)
    for number, archive in enumerate(missing, start=1):
        log.info("%s (%d of %d, %.2f GB)", archive.name, number, len(missing), archive.size / 1e9)
        path = _fetch(archive, state)
        unpack(path, root, record.top)
        _mark(state, archive).touch()
        path.unlink()
    # Renamed first: a folder that is half removed would make an unfinished download of a finished one.
    shutil.rmtree(state.replace(state.with_name(f"{state.name}.done")))


def fetch_subset_lists(folder: str | Path) -> Path:
    """Fetch the four lists of DCASE 2024 into a folder, unless they are there, and return it."""
    for name, digest in SUBSET_SHA256.items():
        try:
            pooch.retrieve(SUBSET_URL + name, f"sha256:{digest}", name, folder)
        except (requests.RequestException, OSError, ValueError) as error:
            raise UserError(
                f"cannot fetch {SUBSET_URL}{name} ({error}): fetch the four lists by hand into a folder and name it by "
                "data.subset_lists=FOLDER"
            ) from error
    return Path(folder)


def unpack(path: Path, root: Path, top: str = RECORDS[DEVELOPMENT].top) -> None:
    """Unpack a zip below `root`, without its top folder.

    Raises:
        UserError: the archive is damaged, does not fit on the disk, or has members that are links or lie outside of
            `root` (nothing of it is unpacked then).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            places = {member.filename: _target(member, top) for member in members}
            if bad := [name for name, place in places.items() if place is None]:
                raise UserError(f"{path} would write outside of {root}; nothing of it was unpacked:\n{listed(bad)}")
            targets = {name: root / place for name, place in places.items() if place is not None}
            needed, free = sum(member.file_size for member in members), shutil.disk_usage(root).free
            needed -= sum(target.stat().st_size for target in targets.values() if target.is_file())
            if needed > free:
                raise UserError(f"{path} unpacks to {needed / 1e9:.1f} GB, {root} has {free / 1e9:.1f} GB free")
            for member in members:
                target = targets[member.filename]
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(target, "wb") as file:
                    shutil.copyfileobj(source, file, BLOCK)
    except (zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, NotImplementedError) as error:
        path.unlink(missing_ok=True)
        raise UserError(f"{path} is no zip archive ({error}): it was removed, fetch the data set again") from error


def _target(member: zipfile.ZipInfo, top: str) -> PurePosixPath | None:
    """Where a member belongs below the data set's folder; None if that is nowhere, or if it is a link."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if is_link or path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts):
        return None
    parts = path.parts[1:] if path.parts[:1] == (top,) else path.parts
    return PurePosixPath(*parts) if parts else None


def _mark(state: Path, archive: Archive) -> Path:
    """The file whose presence says that this version of the archive is unpacked."""
    return state / f"{archive.name}.{archive.md5}.unpacked"


def _describe(record: Record, root: Path) -> list[Archive]:
    """What the record consists of."""
    try:
        answer = requests.get(record.url, timeout=TIMEOUT)
        answer.raise_for_status()
        files = json.loads(answer.text)["files"]
        archives = [
            Archive(Path(f["key"]).name, int(f["size"]), f["checksum"].removeprefix("md5:"), f["links"]["self"])
            for f in files
            if f["key"].endswith(".zip")
        ]
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the data set is not at data.root={root}, and {record.url} does not answer ({error}): {record.help}"
        ) from error
    described = {archive.name: archive.md5 for archive in archives}
    if other := [name for name, md5 in record.md5.items() if described.get(name) != md5]:
        lines = [f"{name}: {described.get(name, 'not there')}, not {record.md5[name]}" for name in other]
        raise UserError(f"{record.url} has other md5 sums than were published, nothing is fetched:\n{listed(lines)}")
    return archives


def _check_space(root: Path, missing: Sequence[Archive], state: Path) -> None:
    """Room for everything unpacked and for the largest archive beside it."""
    if not missing:
        return
    place = next(folder for folder in (root, *root.resolve().parents) if folder.exists())
    here = sum(part.stat().st_size for part in state.glob("*.zip*"))
    needed = UNPACKED_SHARE * sum(a.size for a in missing) + max(a.size for a in missing) - here
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"the data set needs about {needed / 1e9:.0f} GB at {root} while it is unpacked, and there are "
            f"{free / 1e9:.0f} GB free: choose another folder with data.root=..."
        )
    log.info("about %.0f of %.0f GB that are free at %s will be used", needed / 1e9, free / 1e9, place)


def _fetch(archive: Archive, folder: Path) -> Path:
    """The archive whole and checked; a partial file of an earlier process is gone on with."""
    path, part = folder / archive.name, folder / f"{archive.name}.part"
    if path.exists():
        return path
    fruitless = 0
    while (before := _size(part)) < archive.size:
        try:
            _go_on(archive, part)
            if _size(part) < archive.size:
                raise UserError(
                    f"{archive.url} ended at byte {_size(part)} of {archive.size}: fetch the data set again later"
                )
        except BROKEN as error:
            fruitless = 0 if _size(part) > before else fruitless + 1
            if fruitless == ATTEMPTS:
                raise UserError(
                    f"{archive.name} could not be fetched whole ({error}): what is there is kept; fetch the "
                    "data set again and it goes on"
                ) from error
            log.info("%s: connection lost (%s), going on at byte %d", archive.name, error, _size(part))
        except (requests.RequestException, OSError) as error:
            raise UserError(f"{archive.url} cannot be fetched ({error}): try again, it goes on") from error
    if (found := pooch.file_hash(str(part), alg="md5")) != archive.md5:
        part.unlink()
        raise UserError(
            f"{archive.name} is not what the record says (md5 {found}, not {archive.md5}): the file was removed, "
            "fetch the data set again"
        )
    part.replace(path)
    return path


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _go_on(archive: Archive, part: Path) -> None:
    """One connection: what comes is appended, or, if the server cannot begin in the middle, written anew."""
    have = _size(part)
    with requests.get(archive.url, headers={"Range": f"bytes={have}-"}, stream=True, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        goes_on = answer.status_code == requests.codes.partial_content
        done = have / MEGABYTE if goes_on else 0
        with (
            open(part, "ab" if goes_on else "wb") as file,
            progress(archive.name, archive.size / MEGABYTE, "MB", done=done) as line,
        ):
            for block in answer.iter_content(BLOCK):
                file.write(block)
                line.advance(len(block) / MEGABYTE)
