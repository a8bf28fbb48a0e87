"""The data sets that can be named, and their identity: name and content digest, never a path. No torch here."""

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from study.config import UsageError


@dataclass(frozen=True, kw_only=True)
class Info:
    """Where a data set's files lie under the data folder (torchvision's layout), how many train and test images its
    canonical split has, its classes, its per-channel statistics. For digits 360 test images are drawn for each seed."""

    files: tuple[str, ...]
    images: tuple[int, int]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_CIFAR10 = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")

DATASETS = {
    "digits": Info(files=(), images=(1437, 360), classes=10, mean=(0.3053,), std=(0.3760,)),
    "mnist": Info(
        files=tuple(f"MNIST/raw/{f}" for f in _IDX), images=(60_000, 10_000), classes=10, mean=(0.1307,), std=(0.3081,)
    ),
    "fashion_mnist": Info(
        files=tuple(f"FashionMNIST/raw/{f}" for f in _IDX),
        images=(60_000, 10_000),
        classes=10,
        mean=(0.2860,),
        std=(0.3530,),
    ),
    "cifar10": Info(
        files=tuple(f"cifar-10-batches-py/{f}" for f in _CIFAR10),
        images=(50_000, 10_000),
        classes=10,
        mean=(0.491, 0.482, 0.447),
        std=(0.247, 0.243, 0.262),
    ),
    "cifar100": Info(
        files=tuple(f"cifar-100-python/{f}" for f in ("train", "test", "meta")),
        images=(50_000, 10_000),
        classes=100,
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
    ),
    "svhn": Info(
        files=("train_32x32.mat", "test_32x32.mat"),
        images=(73_257, 26_032),
        classes=10,
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.198, 0.201, 0.197),
    ),
}
ACCEPTED = f"{', '.join(DATASETS)}, imagefolder:PATH or package:function"


def is_user_function(name: str) -> bool:
    """Whether `name` reads package:function."""
    return ":" in name and not name.startswith("imagefolder:")


def user_function(name: str, what: str) -> Callable[..., Any]:
    """The function that `package:function` names, looked up in the working folder too; UsageError when not there."""
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a user's module may raise anything while it is imported
        cause = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UsageError(f"--{what} {name}: cannot import it ({cause}); give package:function") from None
    if not callable(function):
        raise UsageError(f"--{what} {name}: {attribute} is not a function")
    return function


def source_digest(function: Callable[..., Any]) -> str:
    """16 hexadecimal digits of the hash of the source of a function's module; UsageError when it has none."""
    module = inspect.getmodule(function)
    try:
        source = inspect.getsource(module or function)
    except (OSError, TypeError):
        raise UsageError(
            f"{getattr(function, '__name__', function)!r} has no Python source to identify it by"
        ) from None
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def paths(name: str, root: str) -> list[Path]:
    """The files that hold a data set; UsageError when the name is unknown or a file is missing or empty."""
    if name == "digits":
        spec = importlib.util.find_spec("sklearn")
        if spec is None or spec.origin is None:
            raise UsageError("data digits needs scikit-learn, which is not installed")
        return [Path(spec.origin).parent / "datasets/data/digits.csv.gz"]
    if name.startswith("imagefolder:"):
        folder = Path(name.partition(":")[2])
        if not folder.is_dir():
            raise UsageError(f"--data {name}: no folder {folder}; give a folder of class folders")
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        if not files:
            raise UsageError(f"--data {name}: the folder {folder} is empty; give a folder of class folders")
        return files
    if name not in DATASETS:
        raise UsageError(f"unknown data {name!r}; choose from {ACCEPTED}")
    files = [Path(root) / f for f in DATASETS[name].files]
    for path in files:
        if not path.is_file():
            raise UsageError(
                f"data {name}: no file {path}; point --data-dir at torchvision's root folder, or give --download"
            )
        if path.stat().st_size == 0:
            raise UsageError(f"data {name}: the file {path} is empty; remove it and give --download")
    return files


def digest(name: str, root: str) -> str:
    """16 hexadecimal digits of the hash of a data set's files; of a user's function, its source and what it returns."""
    if is_user_function(name):
        return _digest_of_function(name)
    files = paths(name, root)
    folder = Path(name.partition(":")[2]) if name.startswith("imagefolder:") else None
    whole = hashlib.sha256()
    for path in files:
        whole.update(str(path.relative_to(folder) if folder else path.name).encode() + b"\0")
        with path.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()[:16]


def _digest_of_function(name: str) -> str:
    function = user_function(name, "data")
    whole = hashlib.sha256(source_digest(function).encode())
    try:
        parts = function()
        if not isinstance(parts, tuple) or len(parts) != 4:
            raise ValueError("the function must return (train_images, train_labels, test_images, test_labels)")
        for part in map(np.asarray, parts):
            whole.update(f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    except Exception as error:  # a user's function may raise anything; the message is what helps
        raise UsageError(f"data {name} cannot be read: {error}") from None
    return whole.hexdigest()[:16]


def folder(name: str, root: str) -> str:
    """The folder to read a data set from: the data folder, an image folder's own path, or none."""
    if name.startswith("imagefolder:"):
        return str(Path(name.partition(":")[2]).resolve())
    return str(Path(root).resolve()) if name in DATASETS and name != "digits" else ""


def label(name: str) -> str:
    """The data set's name without a path: what stands in tables and figures."""
    return f"imagefolder:{Path(name.partition(':')[2]).name}" if name.startswith("imagefolder:") else name
