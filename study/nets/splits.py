"""What a data set is once it is split: images and labels, read a batch at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Split:
    """N images and their labels y (N,), int64, read a batch at a time: what is kept stays as the source has it.

    `pixels` (M, C, H, W) is float32 in [0, 1], or uint8, 255 of which are 1; `rows` (N,) says which of them are this
    split's, None all. Several splits hold one and the same `pixels`.
    """

    pixels: Tensor
    y: Tensor
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W), float32 in [0, 1], and labels (n,) of an index (n,) or a slice of the split."""
        x = self.pixels[index if self.rows is None else self.rows[index]]
        return (x if x.dtype == torch.float32 else x.float().div_(255)), self.y[index]

    def batches(self, n: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The split in order, n images at a time, as __getitem__ gives them."""
        return (self[slice(i, i + n)] for i in range(0, len(self), n))

    @property
    def x(self) -> Tensor:
        """All images at once, float32 in [0, 1]: a copy of four times the bytes where the source is uint8."""
        return self[slice(None)][0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        c, h, w = self.pixels.shape[1:]
        return c, h, w


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
        return self.train.shape

    def split(self, name: str) -> Split:
        """The split of a name: train, validation or test; ValueError for any other, and for one without images."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in splits:
            raise ValueError(f"split must be one of {', '.join(splits)}, got {name!r}")
        if not len(splits[name]):
            raise ValueError(f"data {self.name} has no {name} images: give Load a share of validation")
        return splits[name]
