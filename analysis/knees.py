"""Knees of fronts of two objectives: where a little more of one begins to cost much of the other."""

from collections.abc import Sequence

import numpy as np

from analysis import pareto

BULGE = 0.05  # least distance from the chord, of at most .71: below it a front counts as straight


def knee(points: np.ndarray, maximise: Sequence[bool], least: Sequence[float] = (0.0, 0.0)) -> int | None:
    """The point (by its place among N) of the front of points (N, 2) that lies farthest beyond the chord.

    Of the points that no other dominates the two ends (each the best in one objective) are put at (0, 1) and (1, 0),
    better being larger; the distance of (u, v) from the chord between them is (u + v - 1) / sqrt(2), positive towards
    the better side. None where fewer than three points are on the front, where its ends lie not more than `least` apart
    in either objective (noise has no knee), and where no distance reaches BULGE: a straight front, or one that is
    hollow. Of equal distances the first counts. Source: Das 1999 (Structural Optimization 18, 107-115), whose chord is
    the convex hull of the individual minima; BULGE is ours.

    >>> knee(np.array([[0.0, 1.0], [0.8, 0.9], [1.0, 0.0]]), (True, True))
    1
    >>> knee(np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]), (True, True)) is None  # straight
    True
    """
    better = np.asarray(points, dtype=float) * np.where(maximise, 1.0, -1.0)
    on = np.flatnonzero(pareto.front(better, (True, True)))
    on = on[np.lexsort((better[on, 1], better[on, 0]))]
    if len(np.unique(better[on], axis=0)) < 3:
        return None
    low, high = better[on].min(axis=0), better[on].max(axis=0)
    if (high - low <= np.asarray(least)).any():
        return None
    beyond = ((better[on] - low) / (high - low)).sum(axis=1) / np.sqrt(2) - 1 / np.sqrt(2)
    return int(on[beyond.argmax()]) if beyond.max() >= BULGE else None
