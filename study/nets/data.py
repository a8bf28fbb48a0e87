"""Name of a data set -> tensors in [0, 1], labels, class count; split for one seed."""

import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from study.nets import sources
from study.spec import datasets
from study.spec.config import Load
from study.spec.errors import UsageError
from study.spec.identity import seed_for


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images (N, C, H, W) in [0, 1], float32, and their labels (N,), int64."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One seed's data: train, validation (may be empty) and test split, with what a model needs to know."""

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        c, h, w = self.train.x.shape[1:]
        return c, h, w


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
            return d.data.astype(np.float32) / 255, np.asarray(d.labels)
        d = cls(root, train=train, download=download)
        pixels = np.asarray(d.data, dtype=np.float32) / 255
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
        return np.stack([p for p, _ in images]).astype(np.float32) / 255, np.asarray([t for _, t in images])

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
    """All images and labels of a data set (test None where it has no canonical split); UsageError when damaged.

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
        if not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
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


def _draw(x: np.ndarray, y: np.ndarray, size: int, seed: int) -> tuple[Any, Any]:
    """A stratified part of `size` and the rest, as two index arrays."""
    index = np.arange(len(y))
    return tuple(train_test_split(index, train_size=size, stratify=y, random_state=seed % 2**32))


def load(config: Load, seed: int) -> Dataset:
    """The data of one seed: canonical split, or a stratified fifth as test; sizes and validation as configured.

    ValueError for a size that the data has not.
    """
    x, y, test_x, test_y = arrays(config.data, config.root, config.digest)
    if config.binary:
        half = (int(y.max()) + 1) // 2
        y, test_y = (y >= half).astype(np.int64), None if test_y is None else (test_y >= half).astype(np.int64)
    stream = seed_for(seed, "split")
    if test_x is None or test_y is None:
        test, train = _draw(x, y, round(len(y) / 5) if config.data != "digits" else 360, stream)
        x, y, test_x, test_y = x[train], y[train], x[test], y[test]
    for name, size, have in (("train_size", config.train_size, len(y)), ("test_size", config.test_size, len(test_y))):
        if size > have:
            raise ValueError(f"{name} {size} is more than the {have} images there are")
    if 0 < config.test_size < len(test_y):
        keep = _draw(test_x, test_y, config.test_size, stream)[0]
        test_x, test_y = test_x[keep], test_y[keep]
    if 0 < config.train_size < len(y):
        keep = _draw(x, y, config.train_size, stream)[0]
        x, y = x[keep], y[keep]
    validation = np.arange(0)
    if config.validation > 0:
        validation, rest = _draw(x, y, round(config.validation * len(y)), stream)
    else:
        rest = np.arange(len(y))

    def split(images: np.ndarray, labels: np.ndarray) -> Split:
        return Split(x=torch.from_numpy(np.ascontiguousarray(images)).float(), y=torch.from_numpy(labels).long())

    info = datasets.DATASETS.get(config.data)
    mean = info.mean if info else tuple(float(v) for v in x.mean(axis=(0, 2, 3)))
    std = info.std if info else tuple(float(max(v, 1e-6)) for v in x.std(axis=(0, 2, 3)))
    return Dataset(
        name=datasets.label(config.data),
        train=split(x[rest], y[rest]),
        validation=split(x[validation], y[validation]),
        test=split(test_x, test_y),
        classes=int(max(y.max(), test_y.max())) + 1,
        mean=mean,
        std=std,
    )
