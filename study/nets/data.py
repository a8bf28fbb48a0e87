"""Name of a data set -> images, labels, class count; split for one seed. Images are shared and never written to."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from study.nets import checks, decoded, folders, halves, sources
from study.nets.checks import Arrays
from study.nets.splits import Dataset, Split
from study.spec import datasets
from study.spec.config import Load
from study.spec.errors import UsageError
from study.spec.identity import seed_for


def _digits(root: str) -> Arrays:
    x, y = load_digits(return_X_y=True)
    return (x / 16.0).reshape(-1, 1, 8, 8).astype(np.float32), y, None, None


def _torchvision(cls_name: str, root: str, download: bool = False) -> Arrays:
    from torchvision import datasets as tv

    def part(train: bool) -> tuple[np.ndarray, np.ndarray]:
        cls = getattr(tv, cls_name)
        if cls_name == "SVHN":
            d = cls(root, split="train" if train else "test", download=download)
            return d.data, np.asarray(d.labels)
        d = cls(root, train=train, download=download)
        pixels = np.asarray(d.data)
        images = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
        return images, np.asarray(d.targets)

    return *part(True), *part(False)


TORCHVISION = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "svhn": "SVHN",
}


@functools.lru_cache(maxsize=2)
def arrays(name: str, root: str, digest: str) -> Arrays:
    """All images (float32 in [0, 1], or uint8) and labels of a data set (test None where it has no canonical split);
    UsageError when damaged, wrong, or not those of `digest`, unless that is "".

    Cached per process, so that the trials of one worker read the files once.
    """
    if datasets.is_user_function(name):
        parts, found = sources.returned(name)
        _refuse_other(name, digest, found)
        return _contiguous(parts)
    given = f"imagefolder:{root}" if name.startswith("imagefolder:") else name
    stamp = _stamp(given, root)
    if stamp and (kept := decoded.get(stamp, digest)):
        return kept
    try:
        parts = _read(given, root)
        checks.check(*parts)
    except UsageError:
        raise
    except Exception as error:  # a data set's file formats raise many kinds; all of them mean damaged input
        logging.getLogger(__name__).debug("data %s", name, exc_info=True)
        if digest:
            _refuse_other(name, digest, sources.digest_of_files(given, root))
        where = f" in {root}" if root else ""
        why = "" if name.startswith("imagefolder:") else ", it seems damaged"
        raise UsageError(f"data {name}{where} cannot be read{why}: {error}") from None
    if digest or stamp:  # after they were read: what changes before that is noticed
        found = sources.digest_of_files(given, root)
        _refuse_other(name, digest, found)
        if stamp and stamp == _stamp(given, root) and decoded.keep(stamp, found, parts):
            return decoded.get(stamp, found) or _contiguous(parts)
    return _contiguous(parts)


def _stamp(given: str, root: str) -> decoded.Stamp | None:
    """The stamp of an image folder that the cache takes."""
    if not (folder := datasets.image_folder(given, root)):
        return None
    try:
        stamp = decoded.stamp(folder, datasets.names(given))
    except OSError:
        return None  # whoever reads the folder says what is wrong
    return stamp if stamp.kept else None


def _read(name: str, root: str) -> Arrays:
    if name == "digits":
        return _digits(root)
    if not name.startswith("imagefolder:"):
        sources.paths(name, root)
    if folder := datasets.image_folder(name, root):
        return folders.read(Path(folder), *sources.layout(name))
    return _torchvision(TORCHVISION[name], root)


def _contiguous(parts: Arrays) -> Arrays:
    return tuple(None if p is None else np.ascontiguousarray(p) for p in parts)  # type: ignore[return-value]


def _refuse_other(name: str, wanted: str, found: str) -> None:
    """UsageError unless the data are those that the sweep was planned with."""
    if not wanted or wanted == found:
        return
    must = "the files must not change"
    if datasets.is_user_function(name):
        must = "the function must return the same arrays at every call (seed its random numbers), its file stay"
    raise UsageError(
        f"data {name} are not those that were planned with (digest {wanted} then, {found} now): {must}; bring back "
        "what there was, or begin anew in another --output"
    )


def download(name: str, root: str) -> None:
    """Fetch a named data set into torchvision's layout under `root`; UsageError when it cannot be had."""
    if name not in TORCHVISION:
        return
    try:
        _torchvision(TORCHVISION[name], root, download=True)
    except Exception as error:  # network, disk and archive errors alike: the message names the data set
        raise UsageError(f"--download of {name} into {root} failed: {error}") from None


def _statistics(x: np.ndarray, rows: np.ndarray | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over the images x[rows] in [0, 1]; of uint8 from their histogram."""
    if x.dtype != np.uint8:
        part = x if rows is None else x[rows]
        mean, std = part.mean(axis=(0, 2, 3)), part.std(axis=(0, 2, 3))
    else:
        counts = np.zeros((x.shape[1], 256), dtype=np.int64)
        for image in x if rows is None else (x[row] for row in rows):
            counts += [np.bincount(channel.ravel(), minlength=256) for channel in image]
        share, levels = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
        mean = share @ levels
        std = np.sqrt((share * (levels - mean[:, None]) ** 2).sum(axis=1))
    return tuple(float(v) for v in mean), tuple(float(max(v, 1e-6)) for v in std)


def _draw(y: np.ndarray, size: int, seed: int) -> tuple[Any, Any]:
    """A stratified part of `size` and the rest, as two index arrays; ValueError where one would lack a class."""
    classes, counts = np.unique(y, return_counts=True)
    if counts.min() < 2:
        raise ValueError(f"the label {classes[counts.argmin()]} has one image, which cannot be on both sides: add more")
    if not len(classes) <= size <= len(y) - len(classes):
        raise ValueError(
            f"{size} of {len(y)} images cannot be drawn with all {len(classes)} classes on both sides; ask for "
            f"{len(classes)} to {len(y) - len(classes)}, or give more images"
        )
    index = np.arange(len(y))
    return tuple(train_test_split(index, train_size=size, stratify=y, random_state=seed % 2**32))


def _parts(
    config: Load, y: np.ndarray, test_y: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The images that training and validation share, training, validation, test: indices of the labels y, the last of
    test_y where the data set has a canonical split. ValueError for a size that the data has not."""
    stream, index = seed_for(seed, "split"), np.arange(len(y))
    drawn_here = round(len(y) / 5) if config.data != "digits" or config.classes else 360
    tested = drawn_here if test_y is None else 0
    aside, left = index[:0], index
    if config.validation > 0 and config.validation_seed is not None:
        most = 0 if config.part else config.train_size  # both halves leave the same images aside
        size = round(config.validation * (most or len(y) - tested))
        aside, left = _draw(y, size, seed_for(config.validation_seed, "validation"))
    train, test, labels = left, index[:0], y
    if test_y is None:
        drawn, rest = _draw(y[left], tested, stream)
        test, train = left[drawn], left[rest]
    else:
        test, labels = np.arange(len(test_y)), test_y
    counted = 0 if config.part else len(aside)
    if config.part:
        train = train[halves.of_images(y[train], config.part, seed_for(seed, "half"))]
    have = {"train_size": len(train) + counted, "test_size": len(test)}
    for name, size in (("train_size", config.train_size), ("test_size", config.test_size)):
        if size > have[name]:
            raise ValueError(f"{name} {size} is more than the {have[name]} images there are")
    if 0 < config.test_size < len(test):
        test = test[_draw(labels[test], config.test_size, stream)[0]]
    if config.train_size and (size := config.train_size - counted) < len(train):
        train = train[_draw(y[train], size, stream)[0]]
    if len(aside) or not config.validation:
        return train, train, aside, test
    validation, rest = _draw(y[train], round(config.validation * len(train)), stream)
    return train, train[rest], train[validation], test


def load(config: Load, seed: int, source: Callable[[str, str, str], Arrays] | None = None) -> Dataset:
    """The data of one seed: canonical split, or a stratified fifth as test; halves, sizes, validation as configured.

    With a validation_seed the validation images are set aside first, the same for every seed, and the rest is split as
    it would be without them. `source` gives other arrays than `arrays`. ValueError for a size that the data has not.
    """
    x, y, test_x, test_y = (source or arrays)(config.data, config.root, config.digest)
    first_upper, labelled = (int(y.max()) + 1) // 2, int(y.max()) + 1
    if config.binary:
        y, test_y = halves.two(y, first_upper), None if test_y is None else halves.two(test_y, first_upper)
        first_upper, labelled = 1, 2
    halves.check(config.classes, config.part, first_upper, labelled)
    kept, y = halves.of_classes(y, config.classes, first_upper)
    tested, labels = (kept, y) if test_y is None else halves.of_classes(test_y, config.classes, first_upper)
    parts = _parts(config, y[kept], None if test_y is None else labels[tested], seed)
    both, train, validation = (kept[rows] for rows in parts[:3])

    def split(images: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Split:
        index = None if _is_whole(rows, images) else torch.from_numpy(rows)
        return Split(pixels=torch.from_numpy(images), y=torch.from_numpy(labels[rows]).long(), rows=index)

    info = datasets.DATASETS.get(config.data)
    mean, std = (info.mean, info.std) if info else _statistics(x, None if _is_whole(both, x) else both)
    return Dataset(
        name=datasets.label(config.data),
        train=split(x, y, train),
        validation=split(x, y, validation),
        test=split(x if test_x is None else test_x, labels, tested[parts[3]]),
        classes=int(max(y[kept].max(), labels[tested].max())) + 1,
        mean=mean,
        std=std,
    )


def _is_whole(rows: np.ndarray, images: np.ndarray) -> bool:
    """Whether rows are all images, in order."""
    return len(rows) == len(images) and bool((np.diff(rows) > 0).all())
