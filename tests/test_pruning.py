"""Channels that are removed in training: which, when, and what becomes of the training."""

import copy
import io
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fuzzing
import numpy as np
import pytest
import torch
from command import QUICK, run
from conftest import randomise_norms
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from data.arrays import WaveArrays
from data.augmentation import Augmentation
from data.batches import Batches
from data.errors import UserError
from data.front_ends import build_front_end
from data.scenes import ClipSet
from experiments.runs.layout import RESUME
from experiments.runs.reader import read_run
from experiments.settings.parts import Recipe
from experiments.settings.pruning import Prune
from experiments.submission.describe import network_of
from experiments.training import checkpoint
from experiments.training.consistency import Beginning, resume
from experiments.training.loop import fit
from experiments.training.pruning import Pruning
from experiments.training.state import HELD_OUT, TrainingState, save_state
from students import build_student
from students.channels import groups_of
from students.narrowing import narrow
from students.pruning import kept_channels, loss_changes, smallest_widths, unit_sizes

SHAPE = (1, 1, 64, 17)
MEL = {"mels": 64, "hop": 500, "window": 1000, "fft": 1024, "high": 3000.0}
RECIPE = Recipe(
    epochs=5, batch_size=8, learning_rate=1e-3, weight_decay=1e-4, constant_until=5, down_over=0, floor=1.0, ema=0.5
)


def small() -> nn.Module:
    return randomise_norms(build_student("cp_mobile", size="6k"))


def costs(network: nn.Module) -> dict[str, int]:
    """Parameters, and the multiply-accumulates of one position."""
    convolutions = [each for each in network.modules() if isinstance(each, nn.Conv2d)]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"parameters": parameters, "macs": sum(each.weight.numel() for each in convolutions)}


def scores_of(network: nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(group.width, generator=generator) for name, group in groups_of(network).items()}


def without(network: nn.Module, kept: dict[str, torch.Tensor]) -> nn.Module:
    network = copy.deepcopy(network)
    narrow(network, kept)
    return network


@pytest.mark.parametrize(
    ("settings", "epochs", "after"),
    [
        ({}, 150, (15, 30, 45, 60, 75)),
        ({"removals": 1}, 150, (75,)),
        ({"removals": 2, "begin": 0.0, "end": 0.9}, 10, (1, 9)),
        ({}, 4, (1, 2)),
        ({"end": 0.99}, 2, (1,)),
        ({}, 1, (1,)),
    ],
)
def test_channels_are_removed_evenly_and_recovery_follows(settings: dict, epochs: int, after: tuple) -> None:
    """Oracle: by hand: a tenth to a half of the epochs, by default five times; an epoch follows where there are two."""
    prune = Prune(bytes=1, **settings)
    assert prune.epochs(epochs) == after
    assert prune.settled(epochs) == after[-1]
    assert replace(prune, bytes=None).settled(epochs) == 1


def test_removal_begins_before_it_ends() -> None:
    """Oracle: the message."""
    with pytest.raises(UserError, match=r"prune\.begin=0\.6 must be at most prune\.end=0\.5"):
        Prune(begin=0.6)


def test_a_score_is_the_first_order_change_of_the_loss() -> None:
    """Oracle: the central difference of the loss when all that reads a channel reads it (1 +- h) times."""
    network, x, labels = small().double(), torch.randn(8, *SHAPE[1:]).double(), torch.arange(8)
    F.cross_entropy(network(x), labels).backward()
    for name, group in itertools.islice(groups_of(network).items(), 0, None, 3):
        found = loss_changes(network, group)
        for channel in (0, group.width - 1):
            losses = []
            for factor in (1 + 1e-5, 1 - 1e-5):
                changed = copy.deepcopy(network)
                with torch.no_grad():
                    for path, _ in group.read_by:
                        changed.get_submodule(path).weight[:, channel] *= factor
                    losses.append(float(F.cross_entropy(changed(x), labels)))
            assert float(found[channel]) == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-4, abs=1e-7), name


def test_units_bring_a_group_to_whole_units() -> None:
    """Oracle: by hand: what is left is a multiple of four after the first removal, and never fewer than the least."""
    assert unit_sizes(18, 4) == [2, 4, 4, 4]
    assert unit_sizes(18, 9) == [2, 4, 3]
    assert unit_sizes(4, 4) == unit_sizes(2, 2) == []


@pytest.mark.parametrize("targets", [{"macs": 3_000}, {"parameters": 4_500, "macs": 3_500}])
def test_as_few_channels_go_as_meet_the_targets(targets: dict[str, int]) -> None:
    """Oracle: the costs of the network that is left, and of those with one unit more in any group that lost some; only
    channels with the lowest scores of their group go."""
    network = small()
    scores, whole, least = scores_of(network), groups_of(network), smallest_widths(network)
    kept = kept_channels(network, scores, targets, costs, least)
    found = costs(without(network, kept))
    assert all(found[name] <= most for name, most in targets.items())
    for name, indices in kept.items():
        gone = sorted(set(range(whole[name].width)) - set(indices.tolist()))
        assert max(scores[name][gone]) <= min(scores[name][indices])
        assert len(indices) % 4 == 0
    back = []
    for name, indices in kept.items():
        best = [i for i in scores[name].argsort(descending=True).tolist() if i not in indices.tolist()][:4]
        more = {**kept, name: torch.tensor(sorted([*indices.tolist(), *best]))}
        back.append(costs(without(network, more)))
    assert all(any(each[name] > most for name, most in targets.items()) for each in back)


def test_what_is_worth_nothing_goes_first_and_what_costs_nothing_too_much_stays() -> None:
    """Oracle: by hand: four channels of score 0 suffice; where all scores are equal the group that saves most per
    channel is the one that loses some; and nothing goes from a network that costs no more than it may."""
    network = small()
    scores, least = (
        {name: torch.ones(group.width) for name, group in groups_of(network).items()},
        smallest_widths(network),
    )
    now = costs(network)["parameters"]
    dead = {**scores, "stage2_block2_expand": torch.tensor([1.0, 0, 1, 0, 1, 0, 1, 0] + [1.0] * 24)}
    kept = kept_channels(network, dead, {"parameters": now - 1}, costs, least)
    assert {name: sorted({*range(32)} - {*each.tolist()}) for name, each in kept.items()} == {
        "stage2_block2_expand": [1, 3, 5, 7]
    }
    saved = {
        name: now - costs(without(network, {name: torch.arange(group.width - 4)}))["parameters"]
        for name, group in groups_of(network).items()
        if group.width > 4
    }
    assert [*kept_channels(network, scores, {"parameters": now - 1}, costs, least)] == [max(saved, key=saved.get)]
    assert kept_channels(network, scores, {"parameters": now}, costs, least) == {}


def pruning_of(network: nn.Module, **changes: object) -> Pruning:
    plain = {
        "epochs": (1, 2),
        "targets": {"parameters": 4_000},
        "whole": costs(network),
        "costs": costs,
        "least": smallest_widths(network),
        "is_exact": False,
        "is_random": False,
        "seed": 0,
    }
    return Pruning(**{**plain, **changes})


@pytest.mark.parametrize("is_random", [False, True])
def test_moments_and_average_keep_the_values_of_the_channels_that_stay(is_random: bool) -> None:
    """Oracle: moments that are twice and three times each parameter, and an average that is the network, before; so
    they are after. Channels that nothing reads are gone, unless chance decides."""
    network = small().train()
    with torch.no_grad():
        network[2].path[2][0].weight[:, 4:8] = 0
    optimizer, average = torch.optim.Adam(network.parameters()), AveragedModel(network, use_buffers=True)
    removal = pruning_of(network, is_random=is_random).removal_after(1, network)
    F.cross_entropy(network(torch.randn(8, *SHAPE[1:])), torch.arange(8)).backward()
    removal.observe()
    optimizer.step()
    average.module.load_state_dict(network.state_dict())
    marked = network[2].path[0][0].weight[5].detach().clone()
    for parameter, state in optimizer.state.items():
        state["exp_avg"], state["exp_avg_sq"] = 2 * parameter.detach(), 3 * parameter.detach()
    removal.apply(optimizer, average)
    assert costs(copy.deepcopy(network))["parameters"] <= (4_000 * costs(small())["parameters"]) ** 0.5
    for parameter in network.parameters():
        state = optimizer.state[parameter]
        assert torch.equal(state["exp_avg"], 2 * parameter)
        assert torch.equal(state["exp_avg_sq"], 3 * parameter)
    assert all(map(torch.equal, network.state_dict().values(), average.module.state_dict().values()))
    if not is_random:
        assert not any(torch.equal(row, marked) for row in network[2].path[0][0].weight)
    optimizer.zero_grad()
    F.cross_entropy(network(torch.randn(8, *SHAPE[1:])), torch.arange(8)).backward()
    optimizer.step()  # it goes on


def test_targets_fall_by_the_same_factor() -> None:
    """Oracle: by hand: from 8,000 to 1,000 in three removals each halves what is left; the last one is exact."""
    network = small()
    pruning = pruning_of(network, epochs=(2, 4, 6), targets={"parameters": 1_000}, whole={"parameters": 8_000})
    found = [pruning.targets_after(epoch)["parameters"] for epoch in range(8)]
    assert found == pytest.approx([8000, 8000, 4000, 4000, 2000, 2000, 1000, 1000])
    assert found[6] == 1000


def test_the_widths_of_a_first_phase_are_those_of_the_second() -> None:
    """Oracle: the widths that were asked for, whatever they cost and whatever the scores are."""
    network, least = small(), {}
    for number, (name, group) in enumerate(groups_of(network).items()):
        least[name] = group.width if number % 2 else min(group.width, 8)
    removal = pruning_of(network, epochs=(1,), targets={"parameters": 10}, least=least, is_exact=True)
    removal.removal_after(1, network).apply(torch.optim.Adam(network.parameters()), None)
    assert {name: group.width for name, group in groups_of(network).items()} == least


def test_a_state_of_other_widths_than_its_epoch_has_is_a_fault() -> None:
    """Oracle: the faults, by hand: more parameters than may be after that epoch, a group with too few channels, and
    neither where widths are what they may be."""

    def found(kept: dict[str, torch.Tensor], epoch: int) -> list[str]:
        network = small()
        pruning = pruning_of(network)
        return [*pruning.follow(network, without(network, kept).state_dict(), epoch)]

    half = {name: torch.arange(group.width // 2) for name, group in groups_of(small()).items() if group.width >= 8}
    assert found(half, 2) == []
    assert found({}, 0) == []
    (said,) = found({}, 2)
    assert said.endswith("parameters after epoch 2, at most 4,000")
    (said,) = found({"stem_2": torch.arange(3)}, 1)
    assert said == "network: 3 channels of stem_2, and there are 4 to 8"


def trained(
    network: nn.Module, pruning: Pruning | None, save: Callable[[TrainingState], None], state: TrainingState | None
) -> nn.Module:
    """A training of 24 arrays, or what is left of it."""
    waves = np.random.default_rng(0).uniform(-1, 1, (24, 8_000)).astype(np.float32)
    store, labels, nobody = WaveArrays(waves, 8_000), np.arange(24) % 2, np.zeros(24, bool)
    train, held = (Batches(store, rows, labels, nobody, batch_size=8) for rows in (np.arange(16), np.arange(16, 24)))
    return fit(
        Fabric(accelerator="cpu", devices=1),
        network,
        build_front_end(8_000, MEL),
        train,
        held,
        loss=lambda logits, batch: F.cross_entropy(logits, batch.labels),
        recipe=RECIPE,
        augmentation=Augmentation(),
        responses=None,
        seed=0,
        state=state,
        pruning=pruning,
        on_epoch=lambda _, reached: save(reached),
    )


def begun() -> tuple[nn.Module, Pruning]:
    torch.manual_seed(0)
    network = build_student("cp_mobile", classes=2, size="6k")
    return network, pruning_of(network, epochs=(2, 3))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], dict[str, torch.Tensor], TrainingState]:
    """The states of a training after each epoch, the weights that it ends with, and its last state."""
    folder, kept, last = tmp_path_factory.mktemp("whole"), list[bytes](), list[TrainingState]()

    def save(state: TrainingState) -> None:
        save_state(folder, {}, state)
        kept.append((folder / RESUME).read_bytes())
        last.append(state)

    weights = trained(*begun(), save, None).state_dict()
    return kept, weights, last[-1]


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_training_that_is_stopped_goes_on_with_the_widths_that_it_had(
    tmp_path: Path, whole: tuple, epoch: int
) -> None:
    """Oracle: the weights of the training that was not stopped, bit for bit, between and after the removals."""
    (tmp_path / RESUME).write_bytes(whole[0][epoch - 1])
    network, pruning = begun()
    state = resume(tmp_path, {}, Beginning(network, None, RECIPE, 2, HELD_OUT, {}, pruning))
    assert state is not None
    found = trained(network, pruning, lambda _: None, state).state_dict()
    assert found.keys() == whole[1].keys()
    assert all(torch.equal(found[name], value) for name, value in whole[1].items())


def test_the_kept_network_has_the_final_size_and_is_the_best_of_those(whole: tuple) -> None:
    """Oracle: the targets, and the lowest validation log loss of the epochs from the last removal on."""
    _, weights, last = whole
    network, pruning = begun()
    assert [*pruning.follow(network, weights, 5)] == []
    network.load_state_dict(weights)
    assert costs(network)["parameters"] <= 4_000 < costs(begun()[0])["parameters"]
    assert last.best == min(row["validation/log_loss"] for row in last.rows[2:])


def test_a_state_that_pruning_cannot_reach_is_a_message(tmp_path: Path, whole: tuple) -> None:
    """Oracle: the message: the state after the first epoch, before any removal, said to be that of the third."""
    early, late = (torch.load(io.BytesIO(whole[0][number]), weights_only=True) for number in (0, 2))
    torch.save({**late, "network": early["network"]}, tmp_path / RESUME)
    network, pruning = begun()
    with pytest.raises(UserError, match=r"damaged \(network: [\d,]+ parameters after epoch 3, at most 4,000"):
        resume(tmp_path, {}, Beginning(network, None, RECIPE, 2, HELD_OUT, {}, pruning))


@pytest.mark.slow  # some seconds
def test_a_damaged_state_of_a_pruned_training_is_a_message(tmp_path: Path, whole: tuple, fuzz: int) -> None:
    """Oracle: bounds of time and memory; what is gone on from ends with the weights of the training that was not
    stopped, bit for bit."""

    def go_on(path: Path) -> None:
        network, pruning = begun()
        state = resume(path.parent, {}, Beginning(network, None, RECIPE, 2, HELD_OUT, {}, pruning))
        assert state is not None
        found = trained(network, pruning, lambda _: None, state).state_dict()
        assert all(torch.equal(found[name], value) for name, value in whole[1].items())

    content = whole[0][2]
    fuzzing.survive(go_on, content, fuzzing.mutants(content, fuzz), tmp_path, RESUME)


@pytest.mark.slow  # several commands
def test_the_command_prunes_and_both_phases_have_the_same_widths(trained_once: Path, miniature: ClipSet) -> None:
    """Oracle: the target and the widths of the first phase; a network of integers of that many channels, which is
    scored; and the messages of what cannot be."""
    words = [f"data.root={miniature.root}", "distill=none", "name=pruned", *QUICK]
    student = ["stage=student", *words, "student.prune.bytes=4000"]
    done = run(trained_once, *student, "refit=true")
    assert done.returncode == 0, done.stderr
    folders = [trained_once / "runs/student" / name for name in ("pruned", "pruned.held_out")]
    blueprints = [checkpoint.load_student(folder / "checkpoint.safetensors")[1] for folder in folders]
    assert blueprints[0].arguments["widths"] == blueprints[1].arguments["widths"]
    scores = json.loads((folders[0] / "score.json").read_text())
    assert scores["parameters"] <= 4000
    assert run(trained_once, "stage=quantize", *words).returncode == 0
    quantized = json.loads((trained_once / "runs/quantize/pruned/score.json").read_text())
    assert quantized["parameters"] < 4000
    assert network_of(SimpleNamespace(student=read_run(folders[0]))) == "pruned cp_mobile 6k"
    for more, message in {
        ("student.prune.bytes=100", "epochs=2"): r"smallest network .*\n.* parameters, and at most 100 are asked for",
        ("epochs=1",): r"student.prune cannot be:\n.*epochs=1 leaves none to recover in",
        ("student.distill.features=1", "distill=kd"): "student.distill.features projects a fixed number of channels",
        (
            "student=cnn_gru",
            "student.size=null",
            "student.mel.mels=96",
            "student.prune.cycles=9",
        ): "are for students that devices compute",
    }.items():
        refused = run(trained_once, *student, "refit=false", *more)
        assert refused.returncode == 1
        assert re.search(message, refused.stderr), refused.stderr
