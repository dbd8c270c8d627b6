"""The order in which classes stand in plots.

Conventions: classes that are alike stand side by side: those of the challenge in its three groups, others by how often
one is taken for the other.
"""

from collections.abc import Sequence

import numpy as np

from data.scenes import SCENE_GROUPS

MOST = 100  # classes, beyond which finding the best of all orders takes too long


def is_grouped(scenes: Sequence[str]) -> bool:
    """Whether these are the challenge's classes, which have groups."""
    return sorted(scenes) == sorted(scene for group in SCENE_GROUPS.values() for scene in group)


def order_of(scenes: Sequence[str], counts: Sequence[Sequence[int]] = ()) -> list[int]:
    """The places of classes in the order in which plots show them.

    Args:
        scenes: the classes.
        counts: of the confusion matrix; without them, classes that are not the challenge's stay where they are.
    """
    if is_grouped(scenes):
        return [list(scenes).index(scene) for group in SCENE_GROUPS.values() for scene in group]
    if not len(counts) or len(scenes) < 3:
        return list(range(len(scenes)))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    shares = shares_of(np.asarray(counts, dtype=float))
    distances = 1 - (shares + shares.T) / 2
    np.fill_diagonal(distances, 0)
    return leaves_list(linkage(squareform(distances), "average", optimal_ordering=len(scenes) <= MOST)).tolist()


def shares_of(counts: np.ndarray) -> np.ndarray:
    """Counts as shares of their rows; 0 in rows without any."""
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)
