"""From labelled clips to a data set: what no split names is held out, classes and devices are put in order.

Conventions: classes are the labels, of a multi-label set all that clips have, in alphabetical order, or a published
vocabulary in its own. Devices that train clips come from are "seen", the others "unseen". Locations are never divided
between splits.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.clip_table import ONE_DEVICE
from data.cutting import cut_files
from data.errors import UserError, listed
from data.scenes import Clip, ClipSet
from data.splits import hold_out

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What is held out where no split is named.

    Attributes:
        test_fraction: share of the clips, by location, that becomes the test split.
        validation_fraction, folds, fold, seed: share of the train clips, by location, that becomes the validation
            split; see data/splits.py.
    """

    test_fraction: float = 0.2
    validation_fraction: float = 0.3
    folds: int | None = None
    fold: int | None = None
    seed: int = 0


def complete_set(
    clips: Sequence[Clip],
    *,
    name: str,
    root: Path,
    of: Path,
    sources: Sequence[Path],
    held_out: HeldOut,
    reference_device: str | None = None,
    cut_into: float | None = None,
    is_multi_label: bool = False,
    vocabulary: Sequence[str] = (),
) -> ClipSet:
    """A data set of clips, of which those in the train split may be held out.

    Args:
        clips: with a split each.
        name, root, sources: of the data set.
        of: the table or folder that the clips are from, for messages.
        held_out: what comes to the splits that no clip is in.
        reference_device: whose clips may be given another device's response; by default the device with most train
            clips.
        cut_into: seconds; the clips given are files, which are cut into clips of this length once their splits are
            known. None: they are not cut.
        is_multi_label: whether the clips have `classes` instead of a scene. Then what is held out is drawn by location
            alone, and not by class.
        vocabulary: the classes of a multi-label set, in their order, some of which may have no clips; none: those that
            the clips have.

    Raises:
        UserError: files that are to be cut cannot be read, locations are divided between splits, a class has no train
            clips, or settings do not fit the clips.
    """
    if shared := _divided(clips):
        raise UserError(f"{of} has {len(shared)} locations in more than one split:\n{listed(shared)}")
    given, own = {clip.split for clip in clips}, held_out
    if "test" not in given:
        log.info("%s names no test clips: about %g of each class is held out", of, own.test_fraction)
        clips = hold_out(clips, into="test", fraction=own.test_fraction, seed=own.seed)
    if "validation" not in given:
        clips = hold_out(clips, fraction=own.validation_fraction, folds=own.folds, fold=own.fold, seed=own.seed)
    elif own.folds is not None or own.fold is not None:
        raise UserError(f"{of} names validation clips: data.folds and data.fold do not apply, set them to null")
    if cut_into is not None:
        clips = cut_files(clips, root, cut_into)
    log.info("%s: %s", name, ", ".join(f"{n} {split}" for split, n in Counter(c.split for c in clips).items()))
    devices = Counter(clip.device for clip in clips if clip.split == "train")
    if reference_device is None:
        if not devices:
            raise UserError(f"{of} has no clips of the split train, from which networks learn: name some")
        reference_device = max(sorted(devices), key=lambda device: devices[device])
    elif reference_device not in {clip.device for clip in clips}:
        raise UserError(f"data.reference_device={reference_device} is none of {of}: {', '.join(sorted(devices))}")
    found = ClipSet(
        name=name,
        root=root,
        clips=clips,
        scenes=tuple(vocabulary) or tuple(sorted({scene for clip in clips for scene in clip.scenes})),
        device_groups=_groups(clips),
        reference_device=reference_device or ONE_DEVICE,
        sources=tuple(sources),
        is_cut=cut_into is not None,
        is_multi_label=is_multi_label,
    )
    if vocabulary and found.untaught:
        log.warning(
            "%s has no train clips of %d of its %d classes, which nothing learns to hear:\n%s",
            *(of, len(found.untaught), len(vocabulary), listed(found.untaught)),
        )
    elif found.untaught:
        raise UserError(
            f"{of} has {len(found.untaught)} classes without train clips:\n{listed(found.untaught)}\n"
            "give them more locations, name the splits in a column, choose another fold for the test, or take the "
            "classes out"
        )
    tested = {scene for clip in clips if clip.split == "test" for scene in clip.scenes}
    if untested := sorted(set(found.scenes) - tested):
        log.warning(
            "%s has %d classes without test clips, on which nothing is measured (of one location, a class is for "
            "training alone):\n%s",
            *(of, len(untested), listed(untested)),
        )
    return found


def _divided(clips: Sequence[Clip]) -> list[str]:
    """Locations that have clips in more than one split, not counting unused ones."""
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        splits[clip.location].add(clip.split)
    return sorted(place for place, found in splits.items() if len(found - {"unused"}) > 1)


def _groups(clips: Sequence[Clip]) -> dict[str, tuple[str, ...]]:
    """Devices of train clips and others; none if all clips are of one device."""
    devices = {clip.device for clip in clips}
    seen = {clip.device for clip in clips if clip.split == "train"}
    groups = {"seen": tuple(sorted(seen)), "unseen": tuple(sorted(devices - seen))} if len(devices) > 1 else {}
    return {name: group for name, group in groups.items() if group}
