"""Folders of class folders: which files are read, and as what. No torch.

Names that begin with a dot (.ipynb_checkpoints, .DS_Store, ._cat.png) are those of other programs: neither classes, nor
images, nor part of the data's digest.
"""

import os
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
GREY = ("1", "L", "LA")  # Pillow's modes
OTHER_SPLITS = ("train", "training", "test", "testing", "val", "valid", "validation", "dev")

Samples = list[tuple[Path, int]]


def files(folder: Path) -> list[Path]:
    """Every visible file below a folder, in order; links to folders are followed."""
    found = []
    for here, inner, names in os.walk(folder, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [Path(here, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def is_grey(paths: list[Path]) -> bool:
    """Whether every image among the files is grey: they then have one channel, else all have three."""
    images = [path for path in paths if path.suffix.lower() in ENDINGS]
    return bool(images) and all(_mode(path) in GREY for path in images)


def _mode(path: Path) -> str:
    try:
        with Image.open(path) as image:
            return image.mode
    except Exception:  # Pillow's readers raise many kinds; the one that reads the pixels says which file and why
        return ""


def samples(
    folder: Path, classes: tuple[str, ...] = (), counts: tuple[int, int] | None = None
) -> tuple[Samples, Samples | None]:
    """The images and their labels of a folder: those of train/ and of test/, or of class folders alone (then None).

    Labels are the places of the class folders in alphabetic order; in `classes` where the folder must have those, and
    so many train and test images as `counts` has. ValueError for a folder of another shape.
    """
    train, test = folder / "train", folder / "test"
    if classes:
        return _named(train, classes, (counts or (0, 0))[0]), _named(test, classes, (counts or (0, 0))[1])
    if train.is_dir() and test.is_dir():
        ours, others = set(_folders(train)), set(_folders(test))
        if ours != others:
            either = {"train": ours - others, "test": others - ours}
            only = ", ".join(f"only {part}/ has {_few(names)}" for part, names in either.items() if names)
            raise ValueError(f"{train} and {test} must have the same class folders; {only}")
        return _classes(train, 1), _classes(test, 1)
    if odd := [n for n in _folders(folder) if n.lower() in OTHER_SPLITS and _folders(folder / n)]:
        raise ValueError(
            f"{folder} has {_few(odd)} with class folders inside, but not both train/ and test/: name the folder of "
            f"the test images test/ (mv or ln -s), or give {folder / odd[0]}, a fifth of which is then drawn as test"
        )
    return _classes(folder, 2), None


def _named(folder: Path, classes: tuple[str, ...], count: int) -> Samples:
    """The images of a part whose class folders and count are known, their labels by the folders' names."""
    have = set(_folders(folder)) if folder.is_dir() else set()
    if have != set(classes):
        lacks, more = _few(set(classes) - have), _few(have - set(classes))
        raise ValueError(
            f"{folder} must have the class folders {', '.join(classes)}; "
            + " and ".join([f"it lacks {lacks}"] * bool(lacks) + [f"{more} is none of them"] * bool(more))
        )
    label = {i: classes.index(name) for i, name in enumerate(sorted(classes))}
    found = [(path, label[i]) for path, i in _classes(folder, 1)]
    if count and len(found) != count:
        raise ValueError(f"{folder} has {len(found)} images, the data set has {count}: unpack it anew")
    return found


def _folders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _few(names: list[str] | set[str]) -> str:
    shown = [f"{name}/" for name in sorted(names)]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _classes(folder: Path, least: int) -> Samples:
    """The images below each class folder, which must hold `least` of them."""
    names = _folders(folder)
    if len(names) < 2:
        raise ValueError(
            f"{folder} has {f'one class folder alone, {names[0]}/' if names else 'no class folders'}; "
            "at least two classes are needed, a folder of images for each"
        )
    found: Samples = []
    for label, name in enumerate(names):
        for here, _, images in sorted(os.walk(folder / name, followlinks=True)):
            if not any(part.startswith(".") for part in Path(here).relative_to(folder).parts):
                paths = [Path(here, image) for image in sorted(images)]
                found += [(path, label) for path in paths if _is_image(path)]
    counts = Counter(label for _, label in found)
    for label, name in enumerate(names):
        if counts[label] < least:
            there = "one image" if counts[label] else f"no image ({' '.join(ENDINGS)})"
            why = ", and some are for training and some for testing: add more" if counts[label] else ": add some"
            raise ValueError(f"the class folder {folder / name} has {there}{why}, or take the folder away")
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()


def read(
    folder: Path, classes: tuple[str, ...] = (), counts: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Images (N, C, H, W), bytes, and labels of the training part, and of the test part where the folder has one.

    `classes` and `counts` are those of `samples`. ValueError naming the folder or file that is wrong.
    """
    train, test = samples(folder, classes, counts)
    mode = "L" if is_grey(files(folder)) else "RGB"
    sizes: dict[tuple[int, ...], Path] = {}

    def stacked(part: Samples) -> tuple[np.ndarray, np.ndarray]:
        images = []
        for path, _ in part:
            images.append(_pixels(path, mode))
            sizes.setdefault(images[-1].shape[1:], path)
            if len(sizes) > 1:
                (h, w), (other_h, other_w) = list(sizes)
                first, second = sizes.values()
                raise ValueError(
                    f"images of several sizes: {first} has {h} x {w} pixels, {second} {other_h} x {other_w}; resize "
                    "them to one size first"
                )
        return np.stack(images), np.asarray([label for _, label in part])

    return *stacked(train), *((None, None) if test is None else stacked(test))


def _pixels(path: Path, mode: str) -> np.ndarray:
    """The image of a file, (C, H, W), bytes."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError("more than 8 bits a pixel; bring it to 8 bits first")
            pixels = np.asarray(image.convert(mode))
    except Exception as error:  # Pillow's readers raise many kinds for damaged files
        raise ValueError(f"the image {path} cannot be read, {error}; replace it or take it away") from None
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)
