"""Features of the clips of a split, computed by the layers that do not learn, or read where an earlier training left
them.

Conventions: those of features.py. A clip as it is has one row in a file of all clips of the data set, which trainings
with other splits share; whichever of them computed it, its features are the same within rounding. An augmented copy
depends on the clips in its batch, so that all copies of a view belong together: they have a file for the same clips,
batches and seed.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from data.augmentation import Augmentation
from data.augmenter import Augmenter
from data.batches import Batch, Batches
from data.feature_file import FeatureFile, feature_file
from data.features import FeatureBatches
from data.front_ends import FrontEnd
from data.progress import Progress, progress
from experiments.training.features import Frozen, of_views
from experiments.training.inputs import augmented
from experiments.training.state import seed_of

log = logging.getLogger(__name__)


def cached(
    fabric: Fabric,
    network: nn.Module,
    frozen: Frozen,
    front_end: FrontEnd,
    clips: Batches,
    *,
    augmentation: Augmentation | None = None,
    responses: torch.Tensor | None = None,
    seed: int = 0,
    lost: list[str] | None = None,
) -> FeatureBatches:
    """The clips of a split as features.

    Args:
        fabric: device and precision.
        network: log-mels to logits.
        frozen: its last layer, how many views there are, and where they are kept; of one view the clips are as they
            are.
        front_end: waves to log-mels.
        clips: of the split.
        augmentation: of the further views; None: there are none.
        responses: impulse responses (R, L), or None.
        seed: of the augmentation.
        lost: to which is added, in words, what an earlier training had computed, at a cost that is not this one's.

    Raises:
        UserError: the disk failed.
    """
    network = network.to(fabric.device, memory_format=torch.channels_last).eval()
    front_end = front_end.to(fabric.device)
    hardware = [fabric.device.type, fabric.strategy.precision.precision]
    identity = {"weights": _weights_digest(network, frozen.head), "hardware": hardware}
    changes = of_views(augmentation or Augmentation())
    drawn = [seed, clips.batch_size, _digest([] if responses is None else [responses]), dataclasses.asdict(changes)]
    responses = None if responses is None else responses.to(fabric.device)
    augmenter, generator = Augmenter(changes, decibel=front_end.decibel), torch.Generator(device=fabric.device)
    views = frozen.views if augmentation is not None else 1

    def plain(batch: Batch) -> torch.Tensor:
        return front_end(batch.waves).contiguous(memory_format=torch.channels_last)

    def changed(batch: Batch) -> torch.Tensor:
        return augmented(batch, clips, front_end, augmenter, responses, generator)[0]

    found, kept = list[torch.Tensor](), 0
    with torch.no_grad(), fabric.autocast(), progress("features", views * len(clips)) as line:
        for view in range(views):
            generator.manual_seed(seed_of(seed, view, 0))
            with _file(frozen, clips, {**identity, "drawn": [view, *drawn] if view else None}) as file:
                spectrograms_of = changed if view else plain
                features, computed = _features(network, frozen, clips, spectrograms_of, file, line, together=view > 0)
            kept += len(clips) - computed
            found.append(torch.from_numpy(features))
    if kept and lost is not None:
        lost.append(f"{kept} features that were there, unless the training that computed them counts too")
    log.info("features of %d clips, %d of each, by the layers that do not learn", len(clips), views)
    return FeatureBatches(clips, torch.stack(found).to(fabric.device))


def _features(
    network: nn.Module,
    frozen: Frozen,
    clips: Batches,
    spectrograms_of: Callable[[Batch], torch.Tensor],
    file: FeatureFile | None,
    line: Progress,
    *,
    together: bool,
) -> tuple[np.ndarray, int]:
    """The features of a view, float32 (n, channels): the file's where it has them, and others, which it is given; and
    how many were computed.

    Args:
        network, frozen, clips: see `cached`.
        spectrograms_of: a batch's log-mels.
        file: where features are kept; None: nowhere.
        line: where the clips are counted.
        together: whether all are computed if one is missing.
    """
    names, size = _names(frozen, clips), clips.batch_size
    missing = np.ones(len(clips), bool) if file is None else file.missing(names)
    if together and missing.any():
        missing[:] = True
    numbers = [number for number in range(clips.count) if missing[number * size : (number + 1) * size].any()]
    found = np.empty((len(clips), _channels(frozen.head)), np.float32) if file is None else file.read(names)
    given: list[torch.Tensor] = []
    hook = frozen.head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].detach().float()))
    computed = 0
    try:
        batches = line.over(clips.in_order(numbers), lambda batch: len(batch.rows))
        for number, batch in zip(numbers, batches, strict=True):
            network(spectrograms_of(batch))
            part = slice(number * size, number * size + len(batch.rows))
            found[part] = given.pop().cpu().numpy()
            computed += len(batch.rows)
            if file is not None:
                file.fill(names[part], found[part])
    finally:
        hook.remove()
    if computed < len(clips) and file is not None:
        line.advance(len(clips) - computed, counted=0)
        log.info("features of %d clips were kept in %s", len(clips) - computed, file.path)
    return found, computed


def _file(frozen: Frozen, clips: Batches, identity: Mapping[str, object]) -> AbstractContextManager[FeatureFile | None]:
    """The file of a view."""
    kept = frozen.kept
    if kept is None:
        return nullcontext()
    names = kept.filenames if identity["drawn"] is None else _names(frozen, clips)
    return feature_file(kept.folder, names, _channels(frozen.head), {**kept.identity, **identity})


def _names(frozen: Frozen, clips: Batches) -> list[str]:
    """Of the clips of a split; none where nothing is kept."""
    return [] if frozen.kept is None else [frozen.kept.filenames[row] for row in clips.rows.tolist()]


def _channels(head: nn.Module) -> int:
    """Of the features that a head is given."""
    return next(each for each in head.modules() if isinstance(each, nn.Linear)).in_features


def _weights_digest(network: nn.Module, head: nn.Module) -> str:
    """Fingerprint of all tensors of a network but its head's, with their names."""
    own = {id(each) for each in (*head.parameters(), *head.buffers())}
    state = {name: each for name, each in network.state_dict(keep_vars=True).items() if id(each) not in own}
    return _digest(state.values(), sorted(state))


def _digest(tensors: Iterable[torch.Tensor], names: Iterable[str] = ()) -> str:
    digest = hashlib.sha256("\n".join(names).encode())
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
