"""Name of a data set -> images, labels, class count; split for one seed. Images are shared and never written to."""

import functools
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from study.nets import sources
from study.nets.splits import Dataset, Split
from study.spec import datasets
from study.spec.config import Load
from study.spec.errors import UsageError
from study.spec.identity import seed_for

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]


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


def _image_folder(path: str) -> Arrays:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.functional import pil_to_tensor

    def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
        images = [(pil_to_tensor(image).numpy(), target) for image, target in ImageFolder(folder)]
        shapes = {pixels.shape for pixels, _ in images}
        if len(shapes) > 1:
            raise ValueError(f"images of several sizes, {sorted(shapes)[:3]}; resize them to one size first")
        return np.stack([p for p, _ in images]), np.asarray([t for _, t in images])

    folder = Path(path)
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        return *read(folder / "train"), *read(folder / "test")
    return *read(folder), None, None


def _user_arrays(name: str) -> Arrays:
    train_x, train_y, test_x, test_y = (np.asarray(p) for p in sources.user_function(name, "--data")())
    out: list[np.ndarray] = []
    for x, y in ((train_x, train_y), (test_x, test_y)):
        x = x.astype(np.float32)
        x = x.reshape(len(x), 1, 1, -1) if x.ndim == 2 else x[:, None] if x.ndim == 3 else x
        if x.ndim != 4 or len(x) != len(y):
            raise ValueError(f"images of shape (N, C, H, W) with N labels are needed, got {x.shape} and {y.shape}")
        out += [x, y]
    return out[0], out[1], out[2], out[3]


@functools.lru_cache(maxsize=2)
def arrays(name: str, root: str, digest: str) -> Arrays:
    """All images (float32 in [0, 1], or uint8) and labels of a data set (test None where it has no canonical split);
    UsageError when damaged.

    Cached per process, so that the trials of one worker read the files once; `digest` keys the cache.
    """
    try:
        if name == "digits":
            parts = _digits(root)
        elif name in TORCHVISION:
            sources.paths(name, root)
            parts = _torchvision(TORCHVISION[name], root)
        elif name.startswith("imagefolder:"):
            parts = _image_folder(root)
        else:
            parts = _user_arrays(name)
        _check(parts)
        parts = tuple(None if p is None else np.ascontiguousarray(p) for p in parts)  # type: ignore[assignment]
    except UsageError:
        raise
    except Exception as error:  # a data set's file formats raise many kinds; all of them mean damaged input
        logging.getLogger(__name__).debug("data %s", name, exc_info=True)
        where = f" in {root}" if root else ""
        raise UsageError(f"data {name}{where} cannot be read, it seems damaged: {error}") from None
    return parts


def _check(parts: Arrays) -> None:
    for x, y in ((parts[0], parts[1]), (parts[2], parts[3])):
        if x is None or y is None:
            continue
        if len(x) == 0 or len(x) != len(y):
            raise ValueError(f"{len(x)} images with {len(y)} labels")
        if x.dtype != np.uint8 and (not np.isfinite(x).all() or x.min() < 0 or x.max() > 1):
            raise ValueError(f"pixels must lie in [0, 1], got {x.min()} to {x.max()}")
        if y.min() < 0 or len(np.unique(parts[1])) < 2:
            raise ValueError("labels must be 0, 1, ... of at least two classes")


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
    """A stratified part of `size` and the rest, as two index arrays."""
    index = np.arange(len(y))
    return tuple(train_test_split(index, train_size=size, stratify=y, random_state=seed % 2**32))


def _parts(
    config: Load, y: np.ndarray, test_y: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The images that training and validation share, training, validation, test: indices of the labels y, the last of
    test_y where the data set has a canonical split. ValueError for a size that the data has not."""
    stream, index = seed_for(seed, "split"), np.arange(len(y))
    tested = 0 if test_y is not None else round(len(y) / 5) if config.data != "digits" else 360
    aside, left = index[:0], index
    if config.validation > 0 and config.validation_seed is not None:
        size = round(config.validation * (config.train_size or len(y) - tested))
        aside, left = _draw(y, size, seed_for(config.validation_seed, "validation"))
    train, test, labels = left, index[:0], y
    if test_y is None:
        drawn, rest = _draw(y[left], tested, stream)
        test, train = left[drawn], left[rest]
    else:
        test, labels = np.arange(len(test_y)), test_y
    have = {"train_size": len(train) + len(aside), "test_size": len(test)}
    for name, size in (("train_size", config.train_size), ("test_size", config.test_size)):
        if size > have[name]:
            raise ValueError(f"{name} {size} is more than the {have[name]} images there are")
    if 0 < config.test_size < len(test):
        test = test[_draw(labels[test], config.test_size, stream)[0]]
    if config.train_size and (size := config.train_size - len(aside)) < len(train):
        train = train[_draw(y[train], size, stream)[0]]
    if len(aside) or not config.validation:
        return train, train, aside, test
    validation, rest = _draw(y[train], round(config.validation * len(train)), stream)
    return train, train[rest], train[validation], test


def load(config: Load, seed: int) -> Dataset:
    """The data of one seed: canonical split, or a stratified fifth as test; sizes and validation as configured.

    With a validation_seed the validation images are set aside first, the same for every seed, and the rest is split as
    it would be without them. ValueError for a size that the data has not.
    """
    x, y, test_x, test_y = arrays(config.data, config.root, config.digest)
    if config.binary:
        half = (int(y.max()) + 1) // 2
        y, test_y = (y >= half).astype(np.int64), None if test_y is None else (test_y >= half).astype(np.int64)
    both, train, validation, test = _parts(config, y, test_y, seed)

    def split(images: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Split:
        index = None if _is_whole(rows, images) else torch.from_numpy(rows)
        return Split(pixels=torch.from_numpy(images), y=torch.from_numpy(labels[rows]).long(), rows=index)

    info = datasets.DATASETS.get(config.data)
    mean, std = (info.mean, info.std) if info else _statistics(x, None if _is_whole(both, x) else both)
    tested, labels = (x, y) if test_x is None or test_y is None else (test_x, test_y)
    return Dataset(
        name=datasets.label(config.data),
        train=split(x, y, train),
        validation=split(x, y, validation),
        test=split(tested, labels, test),
        classes=int(max(y.max(), labels.max())) + 1,
        mean=mean,
        std=std,
    )


def _is_whole(rows: np.ndarray, images: np.ndarray) -> bool:
    """Whether rows are all images, in order."""
    return len(rows) == len(images) and bool((np.diff(rows) > 0).all())
