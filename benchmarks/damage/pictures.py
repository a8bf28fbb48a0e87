"""Data sets on a disk: image folders of every layout and kind of picture, MNIST files with a part missing."""

import os
import random
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.damage import files
from benchmarks.damage.case import Case, Problem, Step
from benchmarks.damage.users import PLAIN, finished

MODES = ("L", "RGB", "RGB", "RGBA", "I;16", "P", "1", "CMYK", "LA", "F")
LAYOUTS = ("flat", "flat", "flat", "train test", "train val", "train", "test", "other test", "deep", "no classes")
EXTRAS = ("none", "none", "checkpoints", "text", "empty class", "one size more", "one image", "torn", "pipe", "link",
          "folder",           "one class", "long name", "hidden", "capitals", "other mode")  # fmt: skip
MNIST = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def case(rng: random.Random, store: Path, chaos: str) -> Case:
    """A study of one net on an image folder or on MNIST's files."""
    folder = rng.random() < 0.7
    layout, mode, extra = rng.choice(LAYOUTS), rng.choice(MODES), rng.choice(EXTRAS)
    data = "imagefolder:pictures" if folder else "mnist"
    words = (
        "plain:STUDY",
        "--preset",
        "smoke",
        "--in-process",
        "--output",
        "out",
        "--data",
        data,
        "--data-dir",
        "data",
    )
    steps = [Step(words, (0, 2, 3))]

    def prepare(work: Path) -> None:
        (work / "plain.py").write_text(PLAIN)
        (work / "mlflow.db").write_bytes(store.read_bytes())
        stream = random.Random(chaos)
        if folder:
            _pictures(stream, work / "pictures", layout, mode, extra)
        else:
            print(_mnist(stream, work / "data" / "MNIST" / "raw"))

    def check(work: Path, statuses: Sequence[int]) -> list[Problem]:
        return finished(work / "out", statuses[0], bad=False)

    about = f"{data}: {layout}, {mode}, {extra}" if folder else data
    return Case("pictures", about, tuple(steps), prepare, check)


def _pictures(rng: random.Random, root: Path, layout: str, mode: str, extra: str) -> None:
    parts = {
        "flat": ("",), "train test": ("train", "test"), "other test": ("train", "test"), "train val": ("train", "val"),
        "train": ("train",), "test": ("test",), "deep": ("a/b",), "no classes": ("",),
    }[layout]  # fmt: skip
    for part in parts:
        names = (
            ("b", "c") if layout == "other test" and part == "test" else ("",) if layout == "no classes" else ("a", "b")
        )
        for name in names[: 1 if extra == "one class" else 2]:
            place = root / part / (name * 200 if extra == "long name" else name)
            place.mkdir(parents=True, exist_ok=True)
            for i in range(1 if extra == "one image" and name == "b" else 12):
                shade = "RGB" if mode == "L" else "L"
                _picture(
                    rng,
                    place / f"{i}.{'PNG' if extra == 'capitals' else 'png'}",
                    shade if extra == "other mode" and not i else mode,
                )
    _extra(rng, root / parts[0], extra)


def _picture(rng: random.Random, path: Path, mode: str, size: int = 6) -> None:
    from PIL import Image

    pixels = np.frombuffer(rng.randbytes(size * size * 3), np.uint8).reshape(size, size, 3)
    if mode == "I;16":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(path)
    elif mode in ("CMYK", "F"):  # no PNG has them
        Image.fromarray(pixels).convert(mode).save(path, format="TIFF")
    else:
        Image.fromarray(pixels).convert(mode).save(path)


def _extra(rng: random.Random, root: Path, extra: str) -> None:
    first = next(iter(sorted(root.rglob("*.png"))), root / "0.png")
    if extra in ("checkpoints", "hidden", "empty class"):
        place = root / {"checkpoints": ".ipynb_checkpoints", "hidden": ".git", "empty class": "z"}[extra]
        place.mkdir()
        if extra == "checkpoints":
            _picture(rng, place / "0-checkpoint.png", "RGB")
        elif extra == "hidden":
            (place / "config").write_text("x")
    elif extra == "text":
        (first.parent / "notes.txt").write_text("x")
        (root / "README.md").write_text("x")
    elif extra == "one size more":
        _picture(rng, first, "RGB", size=7)
    elif extra == "torn":
        rng.choice((files.flip, files.truncate, files.junk, files.hole))(rng, first)
    elif extra == "pipe":
        os.mkfifo(first.parent / "x.png")
    elif extra == "link":
        (first.parent / "x.png").symlink_to("nowhere.png")
    elif extra == "folder":
        (first.parent / "x.png").mkdir()


def _mnist(rng: random.Random, raw: Path) -> str:
    """Files of 60 and 30 images in MNIST's format, one of them damaged."""
    raw.mkdir(parents=True)
    for part, count in zip(("train", "t10k"), (60, 30), strict=True):
        images, labels = rng.randbytes(count * 784), bytes(i % 10 for i in range(count))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + images)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels)
    name = rng.choice(MNIST)
    return f"{name}: {rng.choice((*files.BYTES, _header))(rng, raw / name)}"


def _header(rng: random.Random, path: Path) -> str:
    """One bit of the sixteen bytes that say what is in the file."""
    content = bytearray(path.read_bytes())
    place = rng.randrange(16)
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"a bit of its head flipped at {place}"
