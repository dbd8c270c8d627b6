"""The one listing of sound files: what is taken, what is left out, and that nothing vanishes."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data.errors import UserError
from data.impulse import read_impulses
from data.packing import pack
from data.scenes import Clip, ClipSet
from data.sound_files import SUFFIXES, list_sounds
from data.waves import read_pieces
from experiments.inference.sounds import sound_files
from experiments.submission.evaluation_set import evaluation_files


def names(folder: Path, *, deep: bool) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_sounds(folder, deep=deep).sounds]


def test_the_sounds_of_a_folder_are_those_with_a_sounds_name(tmp_path: Path) -> None:
    """Oracle: names by hand."""
    for name in ("b.wav", "a.FLAC", "c.sph", "d.WaV", "notes.txt", ".hidden.wav", "._b.wav", "wav"):
        (tmp_path / name).touch()
    for name in ("folder.wav", "deep", ".git", "__MACOSX"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.Ogg").touch()
    assert names(tmp_path, deep=False) == ["a.FLAC", "b.wav", "c.sph", "d.WaV"]
    deep = ["__MACOSX/x.Ogg", "a.FLAC", "b.wav", "c.sph", "d.WaV", "deep/x.Ogg", "folder.wav/x.Ogg"]
    assert names(tmp_path, deep=True) == deep
    assert [path.name for path in list_sounds(tmp_path).others] == ["notes.txt", "wav"]
    assert list_sounds(tmp_path / "nowhere") == ([], [])
    assert len(set(SUFFIXES)) == len(SUFFIXES)


def test_links_are_followed_and_each_folder_is_read_once(tmp_path: Path) -> None:
    """Oracle: a folder by hand: links to a file, to a folder elsewhere (twice), to one inside, and around itself."""
    inside, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    for folder in (inside / "real", elsewhere):
        folder.mkdir(parents=True)
        (folder / "x.wav").touch()
    (inside / "a_alias").symlink_to(inside / "real")
    (inside / "b").symlink_to(elsewhere)
    (inside / "c").symlink_to(elsewhere)
    (inside / "real/around").symlink_to(inside)
    (inside / "file.wav").symlink_to(elsewhere / "x.wav")
    assert names(inside, deep=True) == ["b/x.wav", "file.wav", "real/x.wav"]


USERS: dict[str, Callable[[Path], object]] = {
    "impulse responses": lambda folder: read_impulses(folder, 32_000),
    "prediction": sound_files,
    "evaluation": evaluation_files,
}


@pytest.mark.parametrize("user", USERS)
def test_every_folder_is_read_by_the_same_rules(user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: two sounds of which one ends in .WAV, a hidden file of macOS; a link to nothing, a pipe and a folder that
    may not be read are named. What forbids is simulated: root may read everything."""
    for name in ("a.WAV", "b.wav"):
        soundfile.write(tmp_path / name, np.full(100, 0.5), 32_000, format="WAV")
    (tmp_path / "._a.WAV").write_bytes(b"no sound")
    found = USERS[user](tmp_path)
    assert len(found[0] if user == "prediction" else found) == 2
    (tmp_path / "gone.wav").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(UserError, match=r"gone\.wav: No such file[^$]*pipe\.wav: no regular file[^$]*mend the perm"):
        USERS[user](tmp_path)
    for name in ("gone.wav", "pipe.wav"):
        (tmp_path / name).unlink()
    (tmp_path / "locked").mkdir()
    place, listdir = tmp_path / "locked" if user == "prediction" else tmp_path, os.listdir

    def refuse(folder: Path) -> list[str]:
        if Path(folder) == place:
            raise PermissionError(13, "Permission denied", str(folder))
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(UserError, match=f"{place}: Permission denied"):
        USERS[user](tmp_path)


def test_what_forbids_to_read_a_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the message of a file, of a pipe, and of those a table names: in other letters, behind a folder that may
    not be entered, a folder, and simply missing. What forbids is simulated: root may read everything."""
    soundfile.write(tmp_path / "a.WAV", np.full(100, 0.5), 32_000, format="WAV")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(UserError, match=r"pipe\.wav cannot be read as audio \(it is no regular file\)"):
        list(read_pieces(tmp_path / "pipe.wav", 32_000, 1.0))
    clips = [Clip(name, "bus", "", "", name, 0, "a") for name in ("a.wav", "folder.wav", "locked/b.wav", "c.wav")]
    opening, asking = os.open, os.stat

    def refuse(call: Callable) -> Callable:
        def refusing(path: object, *arguments: object, **more: object) -> object:
            if "locked" in str(path) or (call is opening and str(path).endswith("a.WAV")):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *arguments, **more)

        return refusing

    monkeypatch.setattr(os, "open", refuse(opening))
    with pytest.raises(UserError, match=r"a\.WAV cannot be read as audio \(Permission denied\)"):
        list(read_pieces(tmp_path / "a.WAV", 32_000, 1.0))
    monkeypatch.setattr(os, "stat", refuse(asking))
    with pytest.raises(UserError) as caught:
        pack(ClipSet("x", tmp_path, clips), tmp_path / "cache")
    lines = [
        "  a.wav (a.WAV is there)",
        "  folder.wav (no regular file)",
        "  locked/b.wav (Permission denied)",
        "  c.wav",
    ]
    assert str(caught.value).splitlines()[1:5] == lines
