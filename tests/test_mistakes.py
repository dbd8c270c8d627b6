"""The most confident mistakes: which they are, and that they are heard on a page without being part of it."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from command import run
from test_report import make_run, page_of

from data.scenes import ClipSet
from experiments.evaluation.mistakes import MOST, mistakes
from experiments.report.mistakes import BANDS, FFT, FLOOR, HOP, RATE, log_mel, sounds_of
from experiments.runs.reader import read_run


def test_mistakes_are_the_most_confident_and_of_different_recordings(miniature: ClipSet, tmp_path: Path) -> None:
    """Oracle: numpy: of each recording the wrong answer of highest probability, sorted; right answers are none, however
    confident; a sound's path leads to its file."""
    rows = miniature.indices("test")
    p = np.random.default_rng(3).dirichlet(np.ones(10), size=len(rows))
    labels, clips = miniature.labels[rows], [miniature.clips[row] for row in rows]
    by_recording: dict[str, float] = {}
    for clip, answer, label, best in zip(clips, p.argmax(1), labels, p.max(1), strict=True):
        if answer != label:
            by_recording[clip.recording] = max(best, by_recording.get(clip.recording, 0))
    found = mistakes(miniature, p, tmp_path / "somewhere/else")
    assert [mistake.probability for mistake in found] == sorted(by_recording.values(), reverse=True)[:MOST]
    for mistake in found:
        place = [clip.filename for clip in clips].index(mistake.filename)
        assert (mistake.scene, mistake.answer) == (clips[place].scene, miniature.scenes[p[place].argmax()])
        assert Path(os.path.normpath(tmp_path / "somewhere/else" / mistake.sound)).samefile(
            miniature.root / mistake.filename
        )
    assert mistakes(miniature, np.eye(10)[labels], tmp_path) == []


@pytest.mark.slow  # a browser that loads thirty sounds
def test_mistakes_can_be_heard_and_nothing_of_them_is_in_the_page(
    tmp_path: Path,
    miniature: ClipSet,
    browser,
) -> None:
    """Oracle: Chromium's own player says how long each sound is; the page has no data but its icon's; a sound that is
    gone, or none, has words instead; with report.embed the page alone, in another folder, still plays them."""
    folder = make_run(tmp_path / "runs/quantize/a", miniature, mistakes=MOST)
    path = page_of(folder)
    assert "base64" not in path.read_text()
    count = len(read_run(folder).mistakes)
    assert 2 < count <= MOST
    assert lengths(browser, path) == [1.0] * count
    rows = json.loads((folder / "mistakes.json").read_text())
    rows[0]["sound"] = "../gone.wav"
    rows[1]["sound"] = "run.json"
    (folder / "mistakes.json").write_text(json.dumps(rows))
    assert lengths(browser, page_of(folder)) == [1.0] * (count - 2)
    assert path.read_text().count("The sound file is not there") == 2
    assert len(list((folder / "mistakes").iterdir())) == count - 2
    done = run(tmp_path, "stage=report", "report.runs=runs/quantize/a", "report.embed=true", "tracking=none")
    assert done.returncode == 0, done.stderr
    (elsewhere := tmp_path / "elsewhere.html").write_bytes((tmp_path / "runs/report/default/report.html").read_bytes())
    assert lengths(browser, elsewhere) == [1.0] * (count - 2)


def lengths(browser, path: Path) -> list[float]:
    """Seconds of each sound of a page, once its player has them and all pictures are there."""
    page = browser.new_page()
    page.goto(path.as_uri())
    found = page.evaluate(
        """async () => Promise.all([...document.querySelectorAll('audio')].map(a => new Promise((done, fail) => {
            a.onloadedmetadata = () => done(a.duration); a.onerror = () => fail(a.error); a.preload = 'auto'; a.load();
        })))"""
    )
    page.evaluate("Promise.all([...document.images].map(i => { i.loading = 'eager'; return i.decode() }))")
    page.close()
    return found


@pytest.mark.parametrize("seconds", ["yes", "-1", "1e300", "0.001", "[1]"])
def test_a_clip_of_any_length_is_drawn(tmp_path: Path, miniature: ClipSet, seconds: str) -> None:
    """Oracle: a PNG's first bytes, whatever the config says of the clips' length."""
    run = read_run(make_run(tmp_path / "runs/quantize/a", miniature))
    run = dataclasses.replace(run, config=f"data: {{clip_seconds: {seconds}}}", mistakes=run.mistakes[:1])
    (sound,) = sounds_of(run)
    assert sound.picture.startswith(b"\x89PNG")


def test_the_picture_is_of_a_log_mel() -> None:
    """Oracle: torchaudio's MelSpectrogram (HTK, no normalisation), within 1e-3 of its logarithms."""
    wave = np.random.default_rng(0).normal(size=RATE) / 10 + np.sin(np.arange(RATE) * 0.2)
    theirs = torchaudio.transforms.MelSpectrogram(RATE, n_fft=FFT, hop_length=HOP, n_mels=BANDS)
    expected = (theirs(torch.from_numpy(wave).float()) + FLOOR).log()
    np.testing.assert_allclose(log_mel(wave), expected.numpy(), rtol=0, atol=1e-3)
