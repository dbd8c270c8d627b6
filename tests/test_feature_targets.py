"""Teachers' features beside the logits: written once, joined by filename, standardised, or refused in words."""

import hashlib
import json
import logging
from pathlib import Path

import h5py
import numpy as np
import pytest

from data.errors import UserError
from data.feature_targets import feature_targets, kept_features, read_features, require_features, standardised
from data.logits import LogitsWriter, read_logits
from data.logits_file import FEATURES, FORMAT, LOGITS, FeatureColumn, content_digest, is_current
from data.scenes import SCENES
from data.store import Store, create

NAMES = [f"audio/clip {i}.wav" for i in range(6)]
ALL = np.arange(6)
LOGIT_VALUES = np.arange(60, dtype=np.float32).reshape(6, 10)
VALUES = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def write(path: Path, features: np.ndarray | None = VALUES, names: list[str] = NAMES, layer: str = "pooled") -> Path:
    column = None if features is None else FeatureColumn(layer, features.shape[1])
    writer = LogitsWriter(path, names, SCENES, {"teacher": "test"}, features=column)
    order = [NAMES.index(name) for name in names]
    writer.fill(range(len(names)), LOGIT_VALUES[order], None if features is None else features[order])
    writer.seal(test_accuracy=0.5)
    return path


def test_features_are_joined_by_name_and_are_as_float16_rounds_them(tmp_path: Path) -> None:
    """Oracle: numpy's rounding; a file whose rows are in another order; the logits beside them are as without."""
    path, shuffled = write(tmp_path / "a.h5"), write(tmp_path / "b.h5", names=NAMES[::-1])
    expected = VALUES.astype(np.float16)[[4, 1]]
    for each in (path, shuffled):
        found = read_features(each, [NAMES[4], NAMES[1]])
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(read_logits(each, NAMES, SCENES), LOGIT_VALUES)
    assert kept_features(path) == ("pooled", 4)
    np.testing.assert_array_equal(feature_targets([path], NAMES, ALL), feature_targets([shuffled], NAMES, ALL))


def test_a_file_without_features_is_as_it_was_before_there_were_any(tmp_path: Path) -> None:
    """Oracle: the file of earlier versions, laid out by hand, byte for byte."""
    about = {"format": FORMAT, "scenes": json.dumps(SCENES), "teacher": "test", "test_accuracy": 0.5}
    digest = hashlib.sha256(json.dumps([about, NAMES], sort_keys=True).encode() + LOGIT_VALUES.tobytes()).hexdigest()
    by_hand = tmp_path / "by hand.h5"
    create(by_hand, NAMES, {"logits": (np.float32, (10,))}, {**about, "digest": digest})
    Store(by_hand, LOGITS).fill(range(6), logits=LOGIT_VALUES)
    assert write(tmp_path / "now.h5", None).read_bytes() == by_hand.read_bytes()
    assert kept_features(by_hand) is None


def test_a_writer_goes_on_with_features_of_the_same_layer_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the rows that are missing: those not written, those whose features are not numbers, or all of them where
    the features are of another layer, another number of channels, or not wanted."""
    path, column = tmp_path / "logits.h5", FeatureColumn("pooled", 4)

    def opened(features: FeatureColumn | None) -> list[int]:
        writer = LogitsWriter(path, NAMES, SCENES, {"weights": "1"}, features=features)
        missing = writer.missing.tolist()
        writer.fill([0, 2], LOGIT_VALUES[[0, 2]], None if features is None else VALUES[[0, 2], : features.channels])
        writer._lock.close()
        return missing

    assert opened(column) == [0, 1, 2, 3, 4, 5]
    assert opened(column) == [1, 3, 4, 5]
    with h5py.File(path.with_suffix(".partial.h5"), "r+") as file:
        file[FEATURES][2, 3] = np.inf
    assert opened(column) == [1, 2, 3, 4, 5]
    assert "1 clips are computed again" in caplog.text
    for other in (FeatureColumn("blocks.3", 4), FeatureColumn("blocks.3", 3), None):
        assert opened(other) == [0, 1, 2, 3, 4, 5]
        assert opened(other) == [1, 3, 4, 5]


@pytest.mark.parametrize(
    ("value", "fits"), [(65504, True), (-65504, True), (65519, True), (65520, False), (np.nan, False)]
)
def test_features_beyond_float16_are_refused(tmp_path: Path, value: float, fits: bool) -> None:
    """Oracle: IEEE 754's half precision: the largest number is 65,504, and what is nearer to 65,536 overflows."""
    features = VALUES.copy()
    features[3, 1] = value
    if fits:
        assert abs(read_features(write(tmp_path / "logits.h5", features), NAMES)[3, 1]) == 65504
        return
    with pytest.raises(UserError, match=r"features of the layer blocks\.3 are not numbers, or beyond 65,504.*pooled"):
        write(tmp_path / "logits.h5", features, layer="blocks.3")
    assert not (tmp_path / "logits.h5").exists()


def test_changed_features_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: the log; the file is not taken for what was written."""
    path = write(tmp_path / "logits.h5")
    assert is_current(path, {"teacher": "test"})
    with h5py.File(path, "r+") as file:
        file[FEATURES][1, 1] += 1
    assert not is_current(path, {"teacher": "test"})
    caplog.clear()
    read_features(path, NAMES)
    assert "it is not what was written" in caplog.text


ABOUT = {"format": FORMAT, "scenes": json.dumps(SCENES)}
OF_4 = {"features_layer": "pooled", "features_channels": 4}


@pytest.mark.parametrize(
    ("column", "about", "message"),
    [
        ((np.float16, (4,)), OF_4, None),
        ((np.float16, (5,)), OF_4, r"features of 4 channels it must have the columns"),
        (None, OF_4, r"features of 4 channels it must have the columns"),
        ((np.float16, (4,)), {}, r"no features it must have the columns"),
        ((np.float16, (4, 2)), OF_4, r"features has the shape \(6, 4, 2\)"),
        ((np.float16, ()), OF_4, r"features has the shape \(6,\)"),
        ((np.float32, (4,)), OF_4, r"features is not of the type float16"),
        ((np.float16, (4,)), {**OF_4, "features_channels": 0}, r"not the name of a layer and a number of channels"),
        ((np.float16, (4,)), {**OF_4, "features_channels": 65_537}, r"'pooled' and 65537"),
        ((np.float16, (4,)), {"features_channels": 4}, r"None and 4"),
        ((np.float16, (4,)), {**OF_4, "features_layer": ""}, r"not the name of a layer"),
    ],
)
def test_features_of_other_shapes_are_refused(
    tmp_path: Path, column: tuple | None, about: dict, message: str | None
) -> None:
    """Oracle: the message for each way in which a file contradicts itself or the contract, and for none."""
    path = tmp_path / "logits.h5"
    columns = {"logits": (np.float32, (10,)), **({} if column is None else {FEATURES: column})}
    create(path, NAMES, columns, {**ABOUT, **about})
    with h5py.File(path, "r+") as file:
        file["logits"][:], file["done"][:] = LOGIT_VALUES, 1
        if column is not None:
            file[FEATURES][:] = 1
    if message is None:
        np.testing.assert_array_equal(read_features(path, NAMES), 1)
        return
    with pytest.raises(UserError, match=f"(?s){message}.*write the logits again"):
        read_logits(path, NAMES, SCENES)


def test_what_cannot_be_learnt_is_refused(tmp_path: Path) -> None:
    """Oracle: the messages: no features at all, clips that are not there, values that are no numbers, and features that
    are the same for all clips that are trained on."""
    without, path = write(tmp_path / "without.h5", None), write(tmp_path / "with.h5")
    with pytest.raises(UserError, match=r"without\.h5: no features of a teacher are kept.*teacher\.features=pooled"):
        require_features([without])
    with pytest.raises(UserError, match="no features of a teacher are kept"):
        read_features(without, NAMES)
    with pytest.raises(UserError, match="lacks 1 of 2 clips"):
        feature_targets([path], [NAMES[0], "other.wav"], ALL[:1])
    same = write(tmp_path / "same.h5", np.where(ALL[:, None] == 5, 7, VALUES[:1]))
    assert feature_targets([same], NAMES, ALL).any()
    with pytest.raises(UserError, match=r"same\.h5: the features are the same for all clips that are trained on"):
        feature_targets([same], NAMES, ALL[:5])
    with h5py.File(path, "r+") as file:
        file[FEATURES][2, 2] = np.nan
    with pytest.raises(UserError, match="holds values that are not numbers"):
        feature_targets([path], NAMES, ALL)


def test_each_channel_has_mean_0_and_deviation_1_over_the_clips_that_are_trained_on() -> None:
    """Oracle: mean and deviation over these rows, within float16's rounding (1e-3); the other rows by the same line; a
    channel that is constant there is 0; one whose deviation is tiny stays finite where it is not trained on."""
    draw = np.random.default_rng(1)
    features = (draw.normal(size=(300, 130)) * np.geomspace(1e-3, 1e3, 130) + 5).astype(np.float16)
    rows = draw.permutation(300)[:200]
    features[rows, 7] = 3
    features[:, 8], features[rows[0], 8] = 0, 6e-8
    features[np.setdiff1d(np.arange(300), rows)[0], 8] = 60000
    found = standardised(features, rows)
    assert np.isfinite(found).all()
    varying = np.delete(np.arange(130), [7, 8])
    exact = features.astype(np.float64)[:, varying]
    of = exact[rows]
    np.testing.assert_allclose(found[:, varying], (exact - of.mean(0)) / of.std(0), atol=4e-3, rtol=1e-3)
    np.testing.assert_allclose(found[rows].astype(np.float64).mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.delete(found[rows].astype(np.float64).std(0), 7), 1, atol=1e-3)
    assert not found[:, 7].any()


def test_features_of_several_files_stand_side_by_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: numpy's concatenation of each file's own, of those files that have features, whatever their layers and
    numbers of channels; the log names them."""
    caplog.set_level(logging.INFO)
    more = np.random.default_rng(2).normal(size=(6, 3)).astype(np.float32)
    paths = [write(tmp_path / "a.h5"), write(tmp_path / "b.h5", None), write(tmp_path / "c.h5", more, layer="blocks.3")]
    found = feature_targets(paths, NAMES, ALL)
    expected = [standardised(each.astype(np.float16), ALL) for each in (VALUES, more)]
    np.testing.assert_array_equal(found, np.concatenate(expected, axis=1))
    assert "c.h5: blocks.3, 3 channels" in caplog.text
    assert "b.h5" not in caplog.text


def test_the_digest_tells_features_from_one_another(tmp_path: Path) -> None:
    """Oracle: SHA-256 of the same attributes and names with other features is another."""
    half = VALUES.astype(np.float16)
    digests = {content_digest(ABOUT, NAMES, {"logits": LOGIT_VALUES, FEATURES: each}) for each in (half, half + 1)}
    assert len(digests) == 2
