"""Made-up images of a data set's true shape and class count, for rehearsals: no file is read, no name is given to them.

No configuration of a trial can ask for them, so that no sweep can take them for data.
"""

import math
from dataclasses import replace

import numpy as np
import torch

from study.nets import data
from study.nets.checks import Arrays
from study.nets.splits import Dataset, Split
from study.spec.config import Load
from study.spec.datasets import DATASETS


def dataset(config: Load, images: int) -> Dataset:
    """The data of a stage, split as it asks, with `images` training images or few more: noise in the shape and classes
    of a named data set; an image folder and a user's function are read, for nothing else knows their shape.

    UsageError, ValueError as study.nets.data.load raises them.
    """
    asked = replace(config, train_size=0, test_size=0)
    if config.data not in DATASETS:
        return data.load(asked, 0)
    info = DATASETS[config.data]
    share = config.validation or 1.0
    n = 4 * images + math.ceil(2 * info.classes / share) + 8 * info.classes

    def arrays(name: str, root: str, digest: str) -> Arrays:
        generator = np.random.default_rng(0)
        train, test = (generator.integers(0, 256, (m, *info.shape), dtype=np.uint8) for m in (n, 8 * info.classes))
        return train, np.arange(n) % info.classes, test, np.arange(len(test)) % info.classes

    return data.load(asked, 0, source=arrays)


def first(dataset: Dataset, train: int, others: int = 2) -> Dataset:
    """The data set with the first `train` training images, and `others` of each other split."""
    return replace(
        dataset,
        train=_first(dataset.train, train),
        validation=_first(dataset.validation, others),
        test=_first(dataset.test, others),
    )


def _first(split: Split, n: int) -> Split:
    kept = torch.arange(min(n, len(split))) if split.rows is None else split.rows[:n]
    return replace(split, y=split.y[:n], rows=kept)
