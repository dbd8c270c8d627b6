"""The training loop: its schedule, its seed, and what it may see."""

import math

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from sklearn import metrics
from torch import nn
from torch.nn import functional as F

from data.augment import Augment
from data.batches import Batches
from data.errors import UserError
from data.mel import LogMel
from data.scenes import ClipSet
from data.waves import WaveStore
from experiments.fit import fit
from experiments.predict import predict
from experiments.recipe import Recipe, learning_rate_factor, small_enough
from students import build_student

RECIPE = Recipe(
    epochs=150,
    batch_size=256,
    learning_rate=1e-3,
    weight_decay=1e-4,
    warm_up=14,
    constant_until=50,
    down_over=84,
    floor=0.005,
    keep="last",
)
SHORT = Recipe(
    epochs=2,
    batch_size=8,
    learning_rate=1e-3,
    weight_decay=0.0,
    warm_up=0,
    constant_until=2,
    down_over=0,
    floor=1.0,
    keep="last",
)


def test_the_schedule_is_the_published_one() -> None:
    """Oracle: exp(-5) at the start, 1 from 14 to 50, halfway between 1 and .005 at 92, .005 from 134 on."""
    expected = {0: math.exp(-5), 7: math.exp(-5 / 4), 14: 1, 49.9: 1, 92: (1 + 0.005) / 2, 134: 0.005, 149: 0.005}
    for epoch, factor in expected.items():
        assert learning_rate_factor(epoch, RECIPE) == pytest.approx(factor, abs=1e-9)


def test_a_shorter_training_has_the_same_schedule_scaled() -> None:
    """Oracle: a tenth of the epochs, each a tenth of the way."""
    short = RECIPE.lasting(15)
    for epoch in (0, 3, 9, 13.4):
        assert learning_rate_factor(epoch, short) == pytest.approx(learning_rate_factor(10 * epoch, RECIPE))
    assert RECIPE.lasting(None) is RECIPE


def test_impossible_recipes_are_refused() -> None:
    """Oracle: the messages."""
    with pytest.raises(UserError, match="epochs=0"):
        RECIPE.lasting(0)
    with pytest.raises(UserError, match="choose one of: best, last"):
        Recipe(**{**vars(SHORT), "keep": "first"})
    with pytest.raises(UserError, match="BatchNorm"):
        Recipe(**{**vars(SHORT), "batch_size": 1})


def test_batches_fit_small_sets() -> None:
    """Oracle: at least five steps an epoch; a large set is left alone."""
    assert small_enough(256, 139_620) == 256
    assert small_enough(256, 80) == 16
    assert small_enough(256, 3) == 2


def batches(store: WaveStore, clips: ClipSet, split: str, count: int) -> Batches:
    rows = np.random.default_rng(0).permutation(clips.indices(split))[:count]
    return Batches(store, rows, clips.labels, clips.from_reference_device, batch_size=8)


def train(store: WaveStore, clips: ClipSet, *, seed: int, loss=None, recipe: Recipe = SHORT) -> tuple[nn.Module, list]:
    torch.manual_seed(0)
    rows: list = []
    network = fit(
        Fabric(accelerator="cpu", devices=1),
        build_student("cp_mobile", size="6k"),
        LogMel(mels=64, fft=1024, window=1024, hop=1000),
        batches(store, clips, "train", 40),
        batches(store, clips, "validation", 20),
        loss=loss or (lambda y, b: F.cross_entropy(y, b.labels)),
        recipe=recipe,
        augment=Augment(roll=4000, impulse_p=0.5, mixstyle_p=0.5, frequency_mask=8),
        responses=torch.randn(4, 100, generator=torch.Generator().manual_seed(1)),
        seed=seed,
        on_epoch=lambda row, _: rows.append(row),
    )
    return network, rows


def test_the_same_seed_gives_the_same_weights(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: bit equality of two runs, and another result with another seed."""
    states = [train(miniature_waves, miniature, seed=seed)[0].state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_training_never_reads_a_test_clip(
    miniature: ClipSet, miniature_waves: WaveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: every row that is read during a training, noted."""
    seen: set[int] = set()

    class Noting:
        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            seen.update(rows.tolist())
            return wave[rows]

    wave = miniature_waves.wave
    monkeypatch.setattr(miniature_waves, "wave", Noting())
    train(miniature_waves, miniature, seed=0)
    assert seen
    assert not seen & set(miniature.indices("test").tolist())


def test_the_kept_epoch_is_the_one_with_the_best_validation(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: the history's lowest log loss is the returned network's own, by scikit-learn."""
    recipe = Recipe(**{**vars(SHORT), "epochs": 4, "learning_rate": 3e-3, "keep": "best"})
    network, rows = train(miniature_waves, miniature, seed=0, recipe=recipe)
    front_end = LogMel(mels=64, fft=1024, window=1024, hop=1000)
    probabilities, labels = predict(network, front_end, batches(miniature_waves, miniature, "validation", 20))
    found = metrics.log_loss(labels, probabilities, labels=range(10))
    assert found == pytest.approx(min(row["validation/log_loss"] for row in rows), abs=1e-6)


def test_a_loss_that_is_no_number_stops_with_advice(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: a loss made NaN."""
    with pytest.raises(UserError, match="lower the learning rate"):
        train(miniature_waves, miniature, seed=0, loss=lambda y, _: y.sum() * float("nan"))
