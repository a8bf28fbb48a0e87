"""Fronts, hypervolume and attainment of sets of points: the moocore room.

moocore takes a NaN for a value better than any, drops all but the first of equal points, and lets a point beyond the
reference add nothing without a word: every function here says what it does about these.
"""

from collections.abc import Sequence

import moocore
import numpy as np


def front(points: np.ndarray, maximise: Sequence[bool]) -> np.ndarray:
    """Which of the points (N, d) no other dominates, as a mask (N,). Equal points stand or fall together; a point with
    a NaN is never on the front and dominates nothing."""
    points = np.asarray(points, dtype=float)
    finite = ~np.isnan(points).any(axis=1)
    out = np.zeros(len(points), dtype=bool)
    if finite.any():
        out[finite] = moocore.is_nondominated(points[finite], maximise=list(maximise), keep_weakly=True)
    return out


def hypervolume(points: np.ndarray, reference: Sequence[float], maximise: Sequence[bool]) -> float:
    """Volume that the points (N, d) dominate down to the reference (d,), exact. Points with a NaN are left out; one
    that is not better than the reference in every objective adds nothing."""
    points = np.asarray(points, dtype=float)
    points = points[~np.isnan(points).any(axis=1)]
    if not len(points):
        return 0.0
    return float(moocore.hypervolume(points, ref=np.asarray(reference, dtype=float), maximise=list(maximise)))


def reference(points: np.ndarray, maximise: Sequence[bool], margin: float = 0.05) -> list[float]:
    """A reference behind every point: its worst value in each objective, and `margin` of the range beyond."""
    points = np.asarray(points, dtype=float)
    points = points[~np.isnan(points).any(axis=1)]
    low, high = points.min(axis=0), points.max(axis=0)
    reach = margin * np.where(high > low, high - low, 1.0)
    return [float(lo - r if up else hi + r) for lo, hi, r, up in zip(low, high, reach, maximise, strict=True)]


def history(points: np.ndarray, at: Sequence[float], maximise: Sequence[bool]) -> np.ndarray:
    """Hypervolume of the first 1, 2, ..., N points against the reference `at`, (N,)."""
    return np.array([hypervolume(points[: i + 1], at, maximise) for i in range(len(points))])


def attainment(sets: Sequence[np.ndarray], maximise: Sequence[bool], share: float) -> np.ndarray:
    """The surface that at least `share` of the sets, each (N_i, 2), attain: its corners (M, 2), by the first objective.

    The empirical attainment function (Grunert da Fonseca et al. 2001); share in (0, 1], rounded up to whole sets. A set
    whose points all have a NaN attains nothing; no corner where too few of the sets attain anything.
    """
    signs = np.where(maximise, -1.0, 1.0)
    clean = [np.asarray(s, dtype=float).reshape(-1, 2) for s in sets]
    clean = [s[~np.isnan(s).any(axis=1)] * signs for s in clean]
    some = [s for s in clean if len(s)]  # moocore counts no set without points, and ends the interpreter over none
    level = int(np.ceil(share * len(clean) - 1e-9))
    if level > len(some) or not some:
        return np.zeros((0, 2))
    labels = np.concatenate([np.full(len(s), i) for i, s in enumerate(some)])
    found = moocore.eaf(np.concatenate(some), labels, percentiles=[100 * level / len(some)])
    corners = found[:, :2] * signs
    return corners[np.argsort(corners[:, 0])]
