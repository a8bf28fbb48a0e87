"""The digits and the splits are scikit-learn's own, to the bit, without its import."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from study.nets import scikit


def test_the_digits():
    for ours, theirs in zip(scikit.digits(), load_digits(return_X_y=True), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("seed", [*range(12), 2**32 - 1])
def test_a_stratified_part(seed):
    """Classes of equal size, whose remainders tie, and of very different ones."""
    random = np.random.default_rng(seed)
    even = np.repeat(np.arange(7), 9)
    uneven = np.repeat(np.arange(5) * 3, random.integers(2, 60, 5))
    for y in (even, random.permutation(uneven)):
        for size in (len(np.unique(y)), len(y) // 3, len(y) // 2, len(y) - len(np.unique(y))):
            theirs = train_test_split(np.arange(len(y)), train_size=size, stratify=y, random_state=seed)
            for one, other in zip(scikit.stratified(y, size, seed), theirs, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("y", "size", "said"),
    [([0, 0, 1], 2, "one image, which cannot be split: 1"), ([0, 0, 1, 1], 1, "4 images are split into 1 and 3")],
)
def test_what_cannot_be_split(y, size, said):
    with pytest.raises(ValueError, match=said):
        scikit.stratified(np.array(y), size, 0)
