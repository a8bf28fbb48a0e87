"""What we take of scikit-learn, whose import costs more than a second of each worker's start: its digits, and how it
draws a stratified part, to the bit (the splits of finished trials are its own)."""

import gzip

import numpy as np

from study.nets import sources


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels (1797, 64) from 0 to 16, and labels; as `sklearn.datasets.load_digits`."""
    (path,) = sources.paths("digits", "")
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    return table[:, :-1], table[:, -1].astype(int)


def stratified(y: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of a part of `size` of the labels y, with each class's share of it, and of the rest, both shuffled.

    As `sklearn.model_selection.train_test_split(train_size=size, stratify=y, random_state=seed)`. ValueError for a part
    or a rest that cannot hold each class, and for a class of one image.
    """
    classes, which, counts = np.unique(y, return_inverse=True, return_counts=True)
    rest = len(y) - size
    if counts.min() < 2:
        alone = ", ".join(map(str, classes[counts < 2]))
        raise ValueError(f"the least populated classes have one image, which cannot be split: {alone}")
    if min(size, rest) < len(classes):
        raise ValueError(f"{len(y)} images are split into {size} and {rest}; each must hold {len(classes)} classes")
    random = np.random.RandomState(seed)
    by_class = np.split(np.argsort(which, kind="stable"), np.cumsum(counts)[:-1])
    of_part = _shares(counts, size, random)
    of_rest = _shares(counts - of_part, rest, random)
    mixed = [rows[random.permutation(len(rows))] for rows in by_class]
    part = np.concatenate([rows[:n] for rows, n in zip(mixed, of_part, strict=True)])
    others = np.concatenate([rows[n : n + m] for rows, n, m in zip(mixed, of_part, of_rest, strict=True)])
    return random.permutation(part), random.permutation(others)


def _shares(counts: np.ndarray, size: int, random: np.random.RandomState) -> np.ndarray:
    """How many of each class a part of `size` has: in proportion, then by the largest remainders, ties drawn."""
    exact = counts / counts.sum() * size
    whole = np.floor(exact)
    left, over = int(size - whole.sum()), exact - whole
    for remainder in np.unique(over)[::-1] if left > 0 else ():
        (tied,) = np.where(over == remainder)
        chosen = random.choice(tied, size=min(len(tied), left), replace=False)
        whole[chosen] += 1
        left -= len(chosen)
        if not left:
            break
    return whole.astype(int)
