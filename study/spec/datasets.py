"""The data sets that can be named, and their identity: name and content digest, never a path. No torch here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.spec import models


@dataclass(frozen=True, kw_only=True)
class Info:
    """Where a data set's files lie under the data folder (torchvision's layout), how many train and test images its
    canonical split has, the shape of an image (channels, height, width), its classes, its per-channel statistics. For
    digits 360 test images are drawn for each seed.

    Images in files of their own lie in train/ and test/ of `folder`, the class folder names[i] is that of label i."""

    files: tuple[str, ...]
    images: tuple[int, int]
    shape: tuple[int, int, int]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    folder: str = ""
    names: tuple[str, ...] = ()


_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_CIFAR10 = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")

DATASETS = {
    "digits": Info(files=(), images=(1437, 360), shape=(1, 8, 8), classes=10, mean=(0.3053,), std=(0.3760,)),
    "mnist": Info(
        files=tuple(f"MNIST/raw/{f}" for f in _IDX),
        images=(60_000, 10_000),
        shape=(1, 28, 28),
        classes=10,
        mean=(0.1307,),
        std=(0.3081,),
    ),
    "fashion_mnist": Info(
        files=tuple(f"FashionMNIST/raw/{f}" for f in _IDX),
        images=(60_000, 10_000),
        shape=(1, 28, 28),
        classes=10,
        mean=(0.2860,),
        std=(0.3530,),
    ),
    "cifar10": Info(
        files=tuple(f"cifar-10-batches-py/{f}" for f in _CIFAR10),
        images=(50_000, 10_000),
        shape=(3, 32, 32),
        classes=10,
        mean=(0.491, 0.482, 0.447),
        std=(0.247, 0.243, 0.262),
    ),
    # The same images as JPEG files: near to the arrays above, not equal, and a data set of its own wherever it stands.
    "cifar10-jpeg": Info(
        files=(),
        images=(50_000, 10_000),
        shape=(3, 32, 32),
        classes=10,
        mean=(0.491, 0.482, 0.447),
        std=(0.247, 0.243, 0.262),
        folder="cifar10-jpeg",
        names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "cifar100": Info(
        files=tuple(f"cifar-100-python/{f}" for f in ("train", "test", "meta")),
        images=(50_000, 10_000),
        shape=(3, 32, 32),
        classes=100,
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
    ),
    "svhn": Info(
        files=("train_32x32.mat", "test_32x32.mat"),
        images=(73_257, 26_032),
        shape=(3, 32, 32),
        classes=10,
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.198, 0.201, 0.197),
    ),
}
MODELS = tuple(models.MODELS)
HANDED = "given:"  # before the names of models and data that Python has handed over: study.audit
ACCEPTED = f"{', '.join(DATASETS)}, imagefolder:PATH or package:function"


def is_user_function(name: Any) -> bool:
    """Whether `name` reads package:function."""
    return isinstance(name, str) and ":" in name and not name.startswith("imagefolder:")


def folder(name: str, root: str) -> str:
    """The folder to read a data set from: the data folder, an image folder's own path, or none."""
    if name.startswith("imagefolder:"):
        return str(Path(name.partition(":")[2]).resolve())
    return str(Path(root).resolve()) if name in DATASETS and name != "digits" else ""


def image_folder(name: str, root: str) -> str:
    """The folder of class folders that a data set's images lie in; empty where they lie elsewhere."""
    if name.startswith("imagefolder:"):
        return name.partition(":")[2]
    info = DATASETS.get(name)
    return str(Path(root, info.folder)) if info and info.folder else ""


def names(name: str) -> tuple[str, ...]:
    """The class folders of a named image folder, in the order of their labels; empty for those of other folders."""
    return DATASETS[name].names if name in DATASETS else ()


def shape(name: str) -> tuple[int, ...]:
    """Channels, height and width of a named data set's images; empty for data that must be loaded to be known."""
    return DATASETS[name].shape if name in DATASETS else ()


def label(name: str) -> str:
    """The data set's name without a path: what stands in tables and figures."""
    return f"imagefolder:{Path(name.partition(':')[2]).name}" if name.startswith("imagefolder:") else name
