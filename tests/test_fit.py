"""The training loop: its schedule, its seed, and what it may see."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from sklearn import metrics
from torch import nn
from torch.nn import functional as F

from data.augmentation import Augmentation
from data.augmenter import Roll, Sounds
from data.batches import Batch, Batches
from data.errors import UserError
from data.front_ends.log_mel import LogMel
from data.scenes import ClipSet
from data.waves import WaveStore
from experiments.distributed.fabric import compile_mode
from experiments.inference.network import predict
from experiments.settings.parts import Recipe
from experiments.training.loop import fit
from experiments.training.losses import NotFiniteError
from experiments.training.optimization import parameter_groups
from experiments.training.state import TrainingState, load_state, save_state
from students import build_student

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
AUGMENTATION = Augmentation(roll=4000, impulse_p=0.5, mixstyle_p=0.5, frequency_mask=8)


def batches(store: WaveStore, clips: ClipSet, split: str, count: int) -> Batches:
    rows = np.random.default_rng(0).permutation(clips.indices(split))[:count]
    return Batches(store, rows, clips.labels, clips.from_reference_device, batch_size=8)


def train(
    store: WaveStore,
    clips: ClipSet,
    *,
    seed: int,
    loss=None,
    recipe: Recipe = SHORT,
    augmentation: Augmentation = AUGMENTATION,
    network: nn.Module | None = None,
    fabric: Fabric | None = None,
    clips_to_learn: Batches | None = None,
    **more: object,
) -> tuple[nn.Module, list]:
    torch.manual_seed(0)
    rows: list = []
    network = fit(
        fabric or Fabric(accelerator="cpu", devices=1),
        network or build_student("cp_mobile", size="6k"),
        LogMel(mels=64, fft=1024, window=1024, hop=1000),
        clips_to_learn or batches(store, clips, "train", 40),
        batches(store, clips, "validation", 20),
        loss=loss or (lambda y, b: F.cross_entropy(y, b.labels)),
        recipe=recipe,
        augmentation=augmentation,
        responses=torch.randn(4, 100, generator=torch.Generator().manual_seed(1)),
        seed=seed,
        **{"on_epoch": lambda row, _: rows.append(row), **more},
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


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_the_kept_epoch_is_the_one_with_the_best_validation(
    miniature: ClipSet, miniature_waves: WaveStore, average: float
) -> None:
    """Oracle: the history's lowest log loss is the returned network's own, by scikit-learn."""
    recipe = Recipe(**{**vars(SHORT), "epochs": 4, "learning_rate": 3e-3, "keep": "best", "average": average})
    network, rows = train(miniature_waves, miniature, seed=0, recipe=recipe)
    front_end = LogMel(mels=64, fft=1024, window=1024, hop=1000)
    probabilities, labels = predict(network, front_end, batches(miniature_waves, miniature, "validation", 20))
    found = metrics.log_loss(labels, probabilities, labels=range(10))
    assert found == pytest.approx(min(row["validation/log_loss"] for row in rows), abs=1e-6)


def test_a_loss_that_is_no_number_stops_with_the_clips_of_its_step(
    miniature: ClipSet, miniature_waves: WaveStore
) -> None:
    """Oracle: a loss made NaN in the third step; its rows, noted."""
    seen: list[list[int]] = []

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        seen.append(batch.rows.tolist())
        return logits.sum() * (float("nan") if len(seen) == 3 else 1.0)

    with pytest.raises(NotFiniteError, match="epoch 1, step 3") as caught:
        train(miniature_waves, miniature, seed=0, loss=loss)
    assert caught.value.rows == seen[2]


def test_a_batch_in_parts_gives_the_gradients_of_the_whole(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: the same training in one part, of a network without BatchNorm, clips mixed. Tolerance 1e-6 in weights
    that move by 1e-2."""
    found = []
    for parts in (1, 3):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 10, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        before = network[0].weight.detach().clone()
        recipe = Recipe(**{**vars(SHORT), "accumulate": parts})
        settings = {"recipe": recipe, "network": network, "augmentation": Augmentation(mixup_p=1.0)}
        train(miniature_waves, miniature, seed=0, **settings)
        found.append(network[0].weight.detach())
    torch.testing.assert_close(*found, atol=1e-6, rtol=0)
    assert (found[0] - before).abs().max() > 5e-3


def test_a_gradient_is_clipped_to_its_norm(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: the norm over all parameters, at every optimiser step, by hand."""
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def noting(self: torch.optim.AdamW, *arguments: object, **settings: object) -> object:
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.cat(gradients).norm()))
        return step(self, *arguments, **settings)

    recipe = Recipe(**{**vars(SHORT), "clip": 0.25, "optimizer": "adamw"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", noting)
        train(miniature_waves, miniature, seed=0, recipe=recipe)
    assert len(norms) == 10
    assert max(norms) == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("averaging", [{"keep": "best", "ema": 0.9}, {"keep": "last", "average": 0.5}])
def test_a_training_that_goes_on_ends_like_one_that_was_not_stopped(
    miniature: ClipSet, miniature_waves: WaveStore, tmp_path: Path, averaging: dict
) -> None:
    """Oracle: bit equality of the weights, with an average of weights and mixup; the state goes by way of a file."""
    recipe = Recipe(**{**vars(SHORT), "epochs": 3, **averaging})
    settings = {"seed": 1, "recipe": recipe, "augmentation": replace(AUGMENTATION, mixup_p=0.5)}

    def save(row: dict, state: TrainingState) -> None:
        folder = tmp_path / f"{row['epoch']}"
        folder.mkdir()
        save_state(folder, {}, state)

    whole, _ = train(miniature_waves, miniature, **settings, on_epoch=save)
    for epoch in (1, 2, 3):
        state = load_state(tmp_path / f"{epoch}", {})
        rest, rows = train(miniature_waves, miniature, **settings, state=state)
        assert len(rows) == 3 - epoch
        for name, value in whole.state_dict().items():
            assert torch.equal(value, rest.state_dict()[name]), (epoch, name)


def test_an_average_of_weights_follows_them_at_its_decay(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: the recursion by hand over one epoch's steps, from the weights that a hook sees; tolerance 1e-6."""
    seen: list[torch.Tensor] = []

    step = torch.optim.Adam.step

    def noting(self: torch.optim.Adam, *arguments: object, **settings: object) -> object:
        result = step(self, *arguments, **settings)
        seen.append(self.param_groups[0]["params"][0].detach().clone())
        return result

    recipe = Recipe(**{**vars(SHORT), "epochs": 1, "ema": 0.5})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", noting)
        network, _ = train(miniature_waves, miniature, seed=0, recipe=recipe)
    expected = seen[0]
    for weights in seen[1:]:
        expected = 0.5 * expected + 0.5 * weights
    assert len(seen) == 5
    torch.testing.assert_close(next(network.parameters()).detach(), expected, atol=1e-6, rtol=0)
    assert (next(network.parameters()) - seen[-1]).abs().max() > 1e-5


def test_the_mean_of_the_last_epochs_weights_is_kept(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: by hand: the mean of the weights after the last two of four epochs (within 1e-6), where BatchNorm has the
    mean and variance that these weights give over all clips; the epochs themselves are those of a training without an
    average, bit for bit; what is validated is the average."""
    recipe = Recipe(**{**vars(SHORT), "epochs": 4, "batch_size": 40})
    rows = np.random.default_rng(0).permutation(miniature.indices("train"))[:40]
    clips = Batches(miniature_waves, rows, miniature.labels, miniature.from_reference_device, batch_size=40)
    front_end = LogMel(mels=64, fft=1024, window=1024, hop=1000, edge_jitter=0.0)
    after: list[list[dict]] = []
    found = []
    for average in (0.0, 0.3):
        after.append([])
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
        )
        network.append(nn.Linear(64, 10))
        history: list[dict] = []

        def note(row: dict, state: TrainingState, history: list = history) -> None:
            history.append(row)
            after[-1].append({name: value.clone() for name, value in state.network.items()})

        fit(
            Fabric(accelerator="cpu", devices=1),
            network,
            front_end,
            clips,
            batches(miniature_waves, miniature, "validation", 20),
            loss=lambda y, b: F.cross_entropy(y, b.labels),
            recipe=replace(recipe, average=average),
            augmentation=Augmentation(),
            responses=None,
            seed=0,
            on_epoch=note,
        )
        found.append((network, history))
    for plain, averaged in zip(*after, strict=True):
        assert all(torch.equal(value, averaged[name]) for name, value in plain.items())
    network, history = found[1]
    for name, value in network.named_parameters():
        mean = (after[0][2][name] + after[0][3][name]) / 2
        torch.testing.assert_close(value.detach(), mean, atol=1e-6, rtol=0)
    with torch.no_grad():
        maps = network[0](front_end(next(clips.in_order()).waves))
    torch.testing.assert_close(network[1].running_mean, maps.mean((0, 2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(network[1].running_var, maps.var((0, 2, 3)), atol=1e-5, rtol=1e-4)
    probabilities, labels = predict(network, front_end, batches(miniature_waves, miniature, "validation", 20))
    expected = metrics.log_loss(labels, probabilities, labels=range(10))
    assert history[-1]["validation/log_loss"] == pytest.approx(expected, abs=1e-6)
    assert history[1] == {**found[0][1][1], "clips_per_second": history[1]["clips_per_second"]}


def test_mixed_clips_have_mixed_labels_and_targets(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: rows of labels that sum to 1 and have two classes at most, and some have two."""
    seen: list[torch.Tensor] = []

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        seen.append(batch.labels)
        return F.cross_entropy(logits, batch.labels)

    train(miniature_waves, miniature, seed=0, loss=loss, augmentation=Augmentation(mixup_p=1.0))
    labels = torch.cat(seen)
    torch.testing.assert_close(labels.sum(1), torch.ones(len(labels)))
    assert ((labels > 0).sum(1) <= 2).all()
    assert ((labels > 0.01).sum(1) == 2).any()


def test_lower_layers_learn_slower_and_frozen_ones_not_at_all(miniature: ClipSet, miniature_waves: WaveStore) -> None:
    """Oracle: Adam's first step moves every weight by its layer's rate, whatever the gradient; a frozen layer keeps its
    weights and its BatchNorm statistics."""
    recipe = Recipe(**{**vars(SHORT), "epochs": 1, "layer_decay": 0.5, "frozen_layers": 1})
    moved: dict[int, float] = {}

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4), nn.Conv2d(4, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    layers = [[*network[0].parameters(), *network[1].parameters()], [network[2].weight], [network[2].bias]]
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        if not moved and (network[2].bias - before["2.bias"]).abs().max() > 0:
            for number, name in ((1, "2.weight"), (2, "2.bias")):
                moved[number] = float((network.state_dict()[name] - before[name]).abs().max())
        return F.cross_entropy(logits, batch.labels)

    train(
        miniature_waves,
        miniature,
        seed=0,
        loss=loss,
        recipe=recipe,
        network=network,
        groups=parameter_groups(layers, recipe),
    )
    assert moved[2] == pytest.approx(SHORT.learning_rate, rel=1e-3)
    assert moved[1] == pytest.approx(SHORT.learning_rate / 2, rel=1e-3)
    for name, value in network.state_dict().items():
        if name.startswith(("0.", "1.")):
            assert torch.equal(value, before[name]), name


def test_only_a_long_training_is_compiled_by_itself() -> None:
    """Oracle: the rule, on a machine with and without a compiler."""
    cpu = torch.device("cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXX", sys.executable)  # something that is there
        assert compile_mode("auto", cpu, clips=150 * 139_620) == "default"
        assert compile_mode("auto", cpu, clips=150 * 81) is None
        patch.setenv("CXX", "no-such-compiler")
        assert compile_mode("auto", cpu, clips=150 * 139_620) is None
    assert compile_mode("true", cpu, clips=1) == "default"
    assert compile_mode("false", cpu, clips=10**9) is None
    assert compile_mode("cuda-graphs", torch.device("cuda"), clips=1) == "reduce-overhead"
    with pytest.raises(UserError, match="cuda-graphs needs CUDA"):
        compile_mode("cuda-graphs", cpu, clips=1)
    with pytest.raises(UserError, match="auto, true, false"):
        compile_mode("yes", cpu, clips=1)


def test_a_rolled_clip_gets_the_target_of_the_nearest_shift(
    miniature: ClipSet, miniature_waves: WaveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: targets that say of which clip and which of the shifts -4000, 0, 4000 they are; the shift itself, read
    off an impulse in the wave that the front end sees."""
    rows = miniature.indices("train")[:16]
    known = (-4000, 0, 4000)
    targets = np.arange(len(miniature.clips) * 3, dtype=np.float32).reshape(-1, 3, 1).repeat(10, axis=2)
    some = Batches(
        miniature_waves,
        rows,
        miniature.labels,
        miniature.from_reference_device,
        batch_size=8,
        targets=targets,
        target_shifts=known,
    )
    shifts = torch.tensor([-4000, -2500, -1500, 0, 1999, 2001, 3000, 4000])
    batch = next(some.in_order())
    expected = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2])
    assert torch.equal(batch.rolled(shifts, some.target_shifts).targets[:, 0], 3.0 * batch.rows + expected)
    assert torch.equal(batch.rolled(None, some.target_shifts).targets[:, 0], 3.0 * batch.rows + 1)

    seen = []

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        seen.append((batch.rows, batch.targets[:, 0].long() % 3, batch.targets[:, 0].long() // 3))
        return F.cross_entropy(logits, batch.labels)

    drawn = []

    roll = Roll.augment_waves

    def noting(step: Roll, sounds: Sounds, generator: torch.Generator) -> Sounds:
        rolled = roll(step, sounds, generator)
        drawn.append(rolled.shifts)
        return rolled

    monkeypatch.setattr(Roll, "augment_waves", noting)
    train(miniature_waves, miniature, seed=0, loss=loss, augmentation=Augmentation(roll=4000), clips_to_learn=some)
    for (rows_, place, of), own in zip(seen, drawn, strict=True):
        assert torch.equal(of, rows_)
        assert torch.equal(place - 1, (own / 4000).round().long())
    assert len(seen) == 4


def half(scale: float) -> Fabric:
    """fp16 on a CPU, which Fabric does not offer: its own precision plugin with torch's scaler for CPUs."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6)
    return Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler=scaler)])


def test_half_precision_scales_the_loss_and_skips_what_overflows(
    miniature: ClipSet, miniature_waves: WaveStore
) -> None:
    """Oracle: torch's GradScaler: with a scale of 2^30 every gradient overflows in fp16, each step is skipped and
    halves the scale, and the weights stay; with 2^8 the network comes close to that of float32 (learning rate 1e-3, two
    steps: within 3e-3 everywhere, and moved)."""
    recipe = replace(SHORT, epochs=1, clip=1.0)
    states: list[TrainingState] = []
    settings = {
        "seed": 0,
        "recipe": recipe,
        "augmentation": Augmentation(),
        "on_epoch": lambda _, state: states.append(state),
    }
    start = small().state_dict()
    network, _ = train(miniature_waves, miniature, **settings, network=small(), fabric=half(2.0**30))
    assert all(torch.equal(value, start[name]) for name, value in network.named_parameters())
    assert states[0].precision["scale"] == 2.0**25
    whole, _ = train(miniature_waves, miniature, **settings, network=small())
    network, _ = train(miniature_waves, miniature, **settings, network=small(), fabric=half(2.0**8))
    assert states[2].precision["scale"] == 2.0**8
    for name, value in network.named_parameters():
        assert (value - start[name]).abs().max() > 1e-4, name
        torch.testing.assert_close(value, whole.get_parameter(name), atol=3e-3, rtol=0)
    fabric = half(2.0**8)
    train(miniature_waves, miniature, **settings, network=small(), fabric=fabric, state=states[0])
    assert fabric.strategy.precision.scaler.get_scale() == 2.0**25


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 10)
    )
