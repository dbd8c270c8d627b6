"""The miniature data set: official in form, and not trivial."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data.front_ends.log_mel import LogMel
from data.readers.synthetic import IMPULSE_FOLDER, record, write_synthetic
from data.scenes import DEVICE_GROUPS, DEVICES, ClipSet
from data.waves import WaveStore
from experiments.run import resolve


def test_it_looks_like_the_real_set(miniature: ClipSet) -> None:
    """Oracle: the format of TAU22 (44.1 kHz, 24 bit, mono, one second; s4-s6 in test only; nine devices)."""
    info = soundfile.info(miniature.root / miniature.filenames[0])
    assert (info.samplerate, info.subtype, info.channels, info.frames) == (44_100, "PCM_24", 1, 44_100)
    assert {c.device for c in miniature.clips} == set(DEVICES)
    for clip in miniature.clips:
        assert clip.device not in DEVICE_GROUPS["unseen"] or clip.split == "test"
    assert 200 <= len(miniature.clips) <= 900
    assert set(Counter(c.scene for c in miniature.clips if c.split == "test").values()) == {12}
    assert len(list((miniature.root / IMPULSE_FOLDER).glob("*.wav"))) > 4


@pytest.mark.slow  # makes three data sets: nine seconds
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(miniature: ClipSet, tmp_path: Path) -> None:
    """Oracle: equality of every file, and inequality of recordings."""
    again = write_synthetic(tmp_path / "again", seed=0)
    for path in [p for p in miniature.root.rglob("*") if p.is_file()]:
        assert (again / path.relative_to(miniature.root)).read_bytes() == path.read_bytes()
    one, other = (record("tram", np.random.default_rng(seed)) for seed in (0, 1))
    assert np.corrcoef(one, other)[0, 1] < 0.1


def test_a_linear_probe_on_the_mean_log_mel_does_not_solve_it(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: scikit-learn's logistic regression, trained on train and validation: better than chance (0.1), below
    0.6."""
    front_end = LogMel()
    means = torch.cat([front_end(miniature_waves.read(rows)).mean(3) for rows in np.array_split(np.arange(520), 9)])
    features, labels = means.flatten(1).numpy(), miniature.labels
    train = np.concatenate([miniature.indices("train"), miniature.indices("validation")])
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(
        features[train], labels[train]
    )
    score = probe.score(features[miniature.indices("test")], labels[miniature.indices("test")])
    assert 0.12 < score < 0.6


@pytest.mark.slow  # the settings of three commands: some seconds
def test_its_gentle_augmentation_is_that_of_the_default_teacher_alone() -> None:
    """Oracle: by hand from the recipes: 16 bands at most are hidden of the default teacher's 256, 8 of PANNs' 64, none
    of a wave; all have the batches of 280 clips."""
    found = {name: resolve(["teacher", f"teacher={name}"]).teacher for name in ("cp_resnet", "panns_head", "soundnet")}
    assert {name: each.augment.frequency_mask for name, each in found.items()} == {
        **{"cp_resnet": 16, "panns_head": 8, "soundnet": 0}
    }
    assert (found["soundnet"].augment.mixstyle_p, found["panns_head"].augment.mixstyle_p) == (0, 0.4)
    assert {each.fit.batch_size for each in found.values()} == {16}
