"""Halves of a data set that share no image: by labels (the lower, the upper), or of the training images."""

import numpy as np
from sklearn.model_selection import train_test_split

CLASSES, PARTS = ("lower", "upper"), ("first", "second")


def check(classes: str, part: str, first_upper: int, labels: int) -> None:
    """ValueError for a half of another name, or of fewer than two classes. `first_upper` is the first label of the
    upper half, `labels` how many there are."""
    for name, given, known in (("classes", classes, CLASSES), ("part", part, PARTS)):
        if given not in ("", *known):
            raise ValueError(f"{name} must be one of {', '.join(known)}, or empty for all, got {given!r}")
    if classes and min(first_upper, labels - first_upper) < 2:
        raise ValueError(f"half of {labels} classes is a single one: halves need data of four classes or more")


def two(y: np.ndarray, first_upper: int) -> np.ndarray:
    """The labels as two classes: 0 for the lower half of them, 1 for the upper."""
    return (y >= first_upper).astype(np.int64)


def of_classes(y: np.ndarray, classes: str, first_upper: int) -> tuple[np.ndarray, np.ndarray]:
    """The images of a half of the labels (indices), and all labels, those of the half counted from 0; without a half
    all of them as they are."""
    if not classes:
        return np.arange(len(y)), y
    lower = classes == "lower"
    return np.flatnonzero(y < first_upper if lower else y >= first_upper), y if lower else y - first_upper


def of_images(y: np.ndarray, part: str, seed: int) -> np.ndarray:
    """One half of the images with labels y (indices, ascending), stratified; `first` and `second` of one seed share
    none and leave none out. ValueError where a class has one image alone."""
    labels, counts = np.unique(y, return_counts=True)
    if counts.min() < 2:
        raise ValueError(f"the label {labels[counts.argmin()]} has one image, which cannot be in both halves: add more")
    halves = train_test_split(np.arange(len(y)), train_size=len(y) // 2, stratify=y, random_state=seed % 2**32)
    return np.sort(halves[PARTS.index(part)])
