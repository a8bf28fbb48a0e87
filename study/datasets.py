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

from study.config import UsageError


@dataclass(frozen=True, kw_only=True)
class Info:
    """Where a data set's files lie under the data folder (torchvision's layout) and its per-channel statistics."""

    files: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_CIFAR10 = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")

DATASETS = {
    "digits": Info(files=(), mean=(0.3053,), std=(0.3760,)),
    "mnist": Info(files=tuple(f"MNIST/raw/{f}" for f in _IDX), mean=(0.1307,), std=(0.3081,)),
    "fashion_mnist": Info(files=tuple(f"FashionMNIST/raw/{f}" for f in _IDX), mean=(0.2860,), std=(0.3530,)),
    "cifar10": Info(
        files=tuple(f"cifar-10-batches-py/{f}" for f in _CIFAR10), mean=(0.491, 0.482, 0.447), std=(0.247, 0.243, 0.262)
    ),
    "cifar100": Info(
        files=tuple(f"cifar-100-python/{f}" for f in ("train", "test", "meta")),
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
    ),
    "svhn": Info(files=("train_32x32.mat", "test_32x32.mat"), mean=(0.4377, 0.4438, 0.4728), std=(0.198, 0.201, 0.197)),
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
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise UsageError(f"--{what} {name}: cannot import it ({error}); give package:function") from None
    if not callable(function):
        raise UsageError(f"--{what} {name}: {attribute} is not a function")
    return function


def source_digest(function: Callable[..., Any]) -> str:
    """16 hexadecimal digits of the hash of the source of a function's module."""
    module = inspect.getmodule(function)
    return hashlib.sha256(inspect.getsource(module or function).encode()).hexdigest()[:16]


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
    """16 hexadecimal digits of the hash of a data set's files (for a user's function, of its module's source)."""
    if is_user_function(name):
        return source_digest(user_function(name, "data"))
    files = paths(name, root)
    folder = Path(name.partition(":")[2]) if name.startswith("imagefolder:") else None
    whole = hashlib.sha256()
    for path in files:
        whole.update(str(path.relative_to(folder) if folder else path.name).encode() + b"\0")
        with path.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()[:16]


def folder(name: str, root: str) -> str:
    """The folder to read a data set from: the data folder, an image folder's own path, or none."""
    if name.startswith("imagefolder:"):
        return str(Path(name.partition(":")[2]).resolve())
    return str(Path(root).resolve()) if name in DATASETS and name != "digits" else ""


def label(name: str) -> str:
    """The data set's name without a path: what stands in tables and figures."""
    return f"imagefolder:{Path(name.partition(':')[2]).name}" if name.startswith("imagefolder:") else name
