"""Networks whose lower layers are frozen: their last layer alone learns, on features that are computed once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import embeddings
import numpy as np
import pytest
import safetensors.torch
import torch
from command import run
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional as F

from data.augmentation import Augmentation
from data.batches import Batches
from data.errors import UserError
from data.features import FeatureBatches
from data.front_ends import FrontEnd
from data.front_ends.log_mel import LogMel
from data.scenes import ClipSet
from data.waves import WaveStore
from experiments.settings.parts import Recipe
from experiments.training.feature_views import cached
from experiments.training.features import HeadAlone, Kept, frozen_backbone, unchanged
from experiments.training.loop import fit
from experiments.training.optimization import parameter_groups
from teachers import build_teacher
from teachers.layers import Head, head_of
from teachers.yamnet import YamNet

RECIPE = Recipe(
    epochs=3, batch_size=8, learning_rate=1e-2, weight_decay=1e-3, constant_until=3, down_over=0, floor=1.0, keep="last"
)
PLAIN, ROLLED = Augmentation(), Augmentation(roll=8000)
SHAPES = {
    "ast": ((1, 1, 128, 98), {"width": 32, "depth": 1, "heads": 2}),
    "beats": ((1, 1, 128, 98), {"width": 32, "depth": 1, "heads": 2}),
    "edgel3": ((1, 1, 256, 199), {}),
    "efficientat": ((1, 1, 128, 100), {}),
    "openl3": ((1, 1, 256, 199), {}),
    "panns": ((1, 1, 64, 101), {}),
    "pase": ((1, 1, 1, 1600), {"size": "pase"}),
    "passt": ((1, 1, 128, 100), {"width": 32, "depth": 1, "heads": 2, "frequency_patchout": 2}),
    "soundnet": ((1, 1, 1, 8000), {"layer": "pool5"}),
    "timm_cnn": ((1, 1, 64, 64), {"model_name": "mobilenetv3_small_050"}),
    "vggish": ((1, 1, 64, 96), {}),
    "yamnet": ((1, 1, 64, 96), {}),
}


def small_network() -> nn.Module:
    """A backbone with BatchNorm and dropout, and a dense layer."""
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(2)
    )
    backbone[1].running_mean.uniform_(-0.1, 0.1)
    return nn.Sequential(backbone, nn.Flatten(), nn.Linear(32, 10))


def front_end() -> LogMel:
    return LogMel(mels=64, fft=1024, window=1024, hop=1000, edge_jitter=0)


@pytest.fixture
def splits(miniature: ClipSet, miniature_waves: WaveStore) -> Callable[[str], Batches]:
    def make(split: str) -> Batches:
        rows = miniature.indices(split)[:44]
        return Batches(miniature_waves, rows, miniature.labels, miniature.from_reference_device, batch_size=8)

    return make


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def fitted(network: nn.Module, mel: FrontEnd, train: Batches, validation: Batches, groups: list | None) -> list:
    """Train it in place; returns the metrics of each epoch."""
    rows: list = []
    fit(
        fabric(),
        network,
        mel,
        train,
        validation,
        loss=lambda logits, batch: F.cross_entropy(logits, batch.labels),
        recipe=RECIPE,
        augmentation=PLAIN,
        responses=None,
        seed=1,
        on_epoch=lambda row, _: rows.append(row),
        groups=groups,
    )
    return rows


@pytest.mark.parametrize("builder", SHAPES)
def test_the_last_layer_of_every_pretrained_teacher_is_found(builder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: it gives as many logits as there are classes, from the features that reach it the network's own; all
    its parameters are in the last of the network's layers."""
    embeddings.make_narrow(monkeypatch)
    shape, arguments = SHAPES[builder]
    network = build_teacher(builder, classes=7, pretrained=False, **arguments)
    x, features = torch.randn(3, *shape[1:]), []
    head = head_of(network, torch.zeros(shape))
    assert (head[-1] if isinstance(head, Head) else head).out_features == 7
    head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(x), head(features[0]))


def test_a_network_without_a_last_dense_layer_is_refused() -> None:
    """Oracle: CP-ResNet, whose logits are a mean over maps; a dense layer of maps, which has no features (B, F)."""
    network = build_teacher("cp_resnet", base_channels=8, cut_channels=[0, 0, 0])
    with pytest.raises(UserError, match="not the output of a dense layer: its last layer cannot be trained alone"):
        head_of(network, torch.zeros(1, 1, 64, 64))
    with pytest.raises(UserError, match="not the output of a dense layer"):
        head_of(nn.Sequential(nn.Linear(64, 10)), torch.zeros(1, 1, 64, 64))


def test_a_head_on_cached_features_is_the_frozen_network_s_training(splits: Callable[[str], Batches]) -> None:
    """Oracle: the same training with the whole network applied in every step, its lower layers frozen: equal weights
    and metrics within rounding (1e-5), the frozen parameters and BatchNorm's statistics bit for bit as they were."""
    network, whole = small_network(), small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    frozen = frozen_backbone(network, (1, 1, 64, 32), views=1, recipe=RECIPE, augmentation=PLAIN)
    train, validation = (
        cached(fabric(), network, frozen, front_end(), splits(split)) for split in ("train", "validation")
    )
    rows = fitted(HeadAlone(frozen.head), unchanged(), train, validation, None)
    groups = parameter_groups(
        [list(part.parameters()) for part in (whole[0], whole[2])], replace(RECIPE, frozen_layers=1)
    )
    expected = fitted(whole, front_end(), splits("train"), splits("validation"), groups)
    for name, value in network.state_dict().items():
        if name.startswith("2."):
            torch.testing.assert_close(value, whole.state_dict()[name], atol=1e-5, rtol=1e-5)
            assert not torch.equal(value, before[name])
        else:
            assert torch.equal(value, before[name]), name
            assert torch.equal(whole.state_dict()[name], before[name]), name
    for row, other in zip(rows, expected, strict=True):
        for name in ("loss", "validation/accuracy", "validation/log_loss"):
            assert row[name] == pytest.approx(other[name], abs=1e-5)


def test_views_are_the_clip_and_augmented_copies_of_it(splits: Callable[[str], Batches]) -> None:
    """Oracle: the first view is that of a single one; copies differ from it and from each other; the same seed gives
    the same; of several epochs each view of a clip is drawn, in the order of the clips without views."""
    network = small_network()
    one, three, again = (
        cached(
            fabric(),
            network,
            frozen_backbone(network, (1, 1, 64, 32), views=views, recipe=RECIPE, augmentation=ROLLED),
            front_end(),
            splits("train"),
            augmentation=ROLLED,
            seed=4,
        )
        for views in (1, 3, 3)
    )

    def epoch(batches: FeatureBatches, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        found = list(batches.shuffled(torch.Generator().manual_seed(seed)))
        return torch.cat([batch.rows for batch in found]), torch.cat([batch.waves[:, :, 0, 0] for batch in found])

    in_order = [torch.cat([batch.waves for batch in batches.in_order()]) for batches in (one, three)]
    assert torch.equal(*in_order)
    drawn = [epoch(three, seed) for seed in range(12)]
    assert all(torch.equal(rows, epoch(one, seed)[0]) for seed, (rows, _) in enumerate(drawn))
    assert all(torch.equal(features, epoch(again, seed)[1]) for seed, (_, features) in enumerate(drawn))
    rows, features = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    counts = [len(features[rows == row].unique(dim=0)) for row in rows.unique()]
    assert max(counts) == 3
    assert np.mean(counts) > 2.5


@pytest.fixture
def keeping(
    splits: Callable[[str], Batches], miniature_waves: WaveStore, tmp_path: Path
) -> Callable[..., tuple[torch.Tensor, int]]:
    """Computes the features of a split, kept in tmp_path; gives them, and how many batches the network was given."""

    def features(
        network: nn.Module, split: str, *, views: int = 1, seed: int = 4, lost: list[str] | None = None
    ) -> tuple[torch.Tensor, int]:
        kept = Kept(tmp_path, tuple(miniature_waves.filenames), {"mel": "small"})
        frozen = frozen_backbone(network, (1, 1, 64, 32), views=views, recipe=RECIPE, augmentation=ROLLED, kept=kept)
        count: list[int] = []
        hook = network.register_forward_pre_hook(lambda *_: count.append(1))
        changes = ROLLED if split == "train" else None
        clips = splits(split)
        found = cached(fabric(), network, frozen, front_end(), clips, augmentation=changes, seed=seed, lost=lost)
        hook.remove()
        return found._inputs, len(count)

    return features


def test_features_are_kept_for_the_next_training(
    keeping: Callable[..., tuple[torch.Tensor, int]], splits: Callable[[str], Batches], tmp_path: Path
) -> None:
    """Oracle: the number of batches the network is given, none where all is kept: a head of other weights and size
    changes nothing, another backbone or seed does; clips as they are have one file for all splits, copies one a view;
    values are bit for bit those that were computed. How many were there, so that no energy was metered, is said."""
    network, batches, lost = small_network(), splits("train").count, list[str]()
    first, count = keeping(network, "train", views=3, lost=lost)
    assert (count, lost) == (3 * batches, [])
    again = small_network()
    again[2] = nn.Linear(32, 7)
    second, count = keeping(again, "train", views=3, lost=lost)
    assert (count, len(lost)) == (0, 1)
    assert lost[0].startswith(f"{3 * len(splits('train'))} features that were there")
    assert torch.equal(first, second)
    assert keeping(network, "train", views=4)[1] == batches
    assert len(list(tmp_path.glob("features_*.h5"))) == 4
    assert keeping(network, "validation")[1] == splits("validation").count
    assert keeping(network, "validation")[1] == 0
    assert keeping(network, "train", views=2, seed=5)[1] == batches  # of the copies
    with torch.no_grad():
        again[0][1].running_mean += 1
    assert keeping(again, "train")[1] == batches


def test_kept_features_that_are_damaged_are_computed_again(
    keeping: Callable[..., tuple[torch.Tensor, int]], splits: Callable[[str], Batches], tmp_path: Path
) -> None:
    """Oracle: the values before a byte of them was changed, with one batch computed; of a copy all, as what is drawn
    depends on the batches before; a file that is cut short is made anew; a folder that is none is a warning."""
    network = small_network()
    plain, _ = keeping(network, "train")
    (path,) = tmp_path.glob("features_*.h5")
    both, _ = keeping(network, "train", views=2)
    (copies,) = set(tmp_path.glob("features_*.h5")) - {path}
    for file, values, expected in ((path, plain[0], 1), (copies, both[1], splits("train").count)):
        content, row = bytearray(file.read_bytes()), values[5].numpy().tobytes()
        content[content.index(row) + 3] ^= 64
        file.write_bytes(content)
        found, count = keeping(network, "train", views=2)
        assert count == expected
        torch.testing.assert_close(found, both)
    path.write_bytes(path.read_bytes()[:-100])
    assert torch.equal(keeping(network, "train")[0], plain)
    assert keeping(network, "train")[1] == 0


def test_features_that_cannot_be_kept_are_computed_all_the_same(
    keeping: Callable[..., tuple[torch.Tensor, int]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the same values, and a warning."""
    expected, _ = keeping(small_network(), "train")
    for path in tmp_path.iterdir():
        path.unlink()
    tmp_path.rmdir()
    tmp_path.write_text("a file where the cache was")
    assert torch.equal(keeping(small_network(), "train")[0], expected)
    assert "features are not kept: " in caplog.text


def test_settings_that_contradict_each_other_are_refused() -> None:
    """Oracle: the messages."""
    network, shape = small_network(), (1, 1, 64, 32)
    cases = (
        (
            {"recipe": replace(RECIPE, layer_decay=0.5)},
            "leave teacher.fit.frozen_layers and teacher.fit.layer_decay out",
        ),
        ({"augmentation": Augmentation(crop=True)}, "set teacher.augment.crop=false"),
        ({"views": 2}, "teacher.views=2 would all be the same"),
        ({"views": 2, "augmentation": Augmentation(mixup_p=0.5)}, "teacher.views=2 would all be the same"),
    )
    for changed, message in cases:
        with pytest.raises(UserError, match=message):
            frozen_backbone(network, shape, **{"views": 1, "recipe": RECIPE, "augmentation": PLAIN, **changed})


@pytest.fixture
def weights(tmp_path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Weights of YAMNet in a file, and a command that begins with them."""
    state = YamNet(521).state_dict()
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    return state, ["teacher", "teacher=yamnet_head", "teacher.weights=w.safetensors", "tracking=none", "epochs=2"]


def test_the_command_says_what_freezing_needs(tmp_path: Path, weights: tuple) -> None:
    """Oracle: the messages, before anything is packed."""
    for wrong, message in (
        (
            ["teacher.pretrained=false", "teacher.weights=null"],
            "these are random: set teacher.pretrained=true, teacher.weights=FILE or teacher.start=RUN",
        ),
        (["teacher.freeze=null"], "teacher.views=8 is for teacher.freeze=backbone"),
        (["teacher.fit.frozen_layers=2"], "leave teacher.fit.frozen_layers and"),
    ):
        result = run(tmp_path, *weights[1], *wrong)
        assert (result.returncode, message in result.stderr) == (1, True), result.stderr
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow  # packs the miniature and applies YAMNet to all of it: ten seconds
def test_the_command_trains_the_last_layer_alone(tmp_path: Path, miniature: ClipSet, weights: tuple) -> None:
    """Oracle: the weights of the file, bit for bit, in all other layers of the checkpoint."""
    state, arguments = weights
    result = run(tmp_path, *arguments, "teacher.views=2", f"data.root={miniature.root}")
    assert result.returncode == 0, result.stderr
    found = safetensors.torch.load_file(tmp_path / "runs/teacher/default/checkpoint.safetensors")
    assert all(torch.equal(found[name], state[name]) for name in state if not name.startswith("head."))
    assert found["head.weight"].shape == (10, 1024)
