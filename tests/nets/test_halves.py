"""Halves of a data set: by labels and by images, no image on two sides, off by default."""

import hashlib
import itertools

import numpy as np
import pytest
import torch

from study.nets import data as loading
from study.nets import halves
from study.nets.data import load
from study.spec.config import Load
from study.spec.identity import canonical
from tests.helpers import SHARED

MNIST = SHARED / "data"
needs_mnist = pytest.mark.skipif(not (MNIST / "MNIST/raw").is_dir(), reason="MNIST is not beside the checkout")


def seen(split):
    """The images of a split, by hash."""
    return {hashlib.sha256(image.numpy().tobytes()).digest() for image in split.x}


def canonical_data(classes=6, n=60):
    """Images that are all different, 60 for training and 30 for testing, as a data set with a test split of its own."""
    x = np.random.default_rng(0).random((n + n // 2, 1, 4, 4), dtype=np.float32)
    y = np.arange(n + n // 2) % classes
    return x[:n], y[:n], x[n:], y[n:]


@pytest.fixture(params=["digits", "canonical"])
def data(request, monkeypatch):
    """The name of data without, and of data with a test split of their own."""
    if request.param == "canonical":
        monkeypatch.setattr(loading, "arrays", lambda *_: canonical_data())
        return "own:data"
    return "digits"


def test_the_defaults_are_off():
    assert canonical(Load(classes="", part="")) == {"type": "Load"}


@pytest.mark.parametrize("more", [{}, {"validation": 0.2}, {"validation": 0.2, "validation_seed": 7}])
@pytest.mark.parametrize("seed", [0, 3])
def test_halves_of_the_images_share_none_and_the_test_images_are_one_set(data, more, seed):
    first, second = (load(Load(data=data, part=part, **more), seed) for part in ("first", "second"))
    whole = load(Load(data=data, **more), seed)
    assert torch.equal(first.test.x, second.test.x)
    if "validation_seed" not in more:
        assert torch.equal(first.test.x, whole.test.x)
    shared = "validation_seed" in more  # set aside first, in neither half, the same for every seed
    sides = [seen(part) for part in (first.train, first.validation, second.train, first.test)]
    sides += [] if shared else [seen(second.validation)]
    for a, b in itertools.combinations(sides, 2):
        assert not a & b
    if shared:
        assert torch.equal(first.validation.x, second.validation.x)
        other = load(Load(data=data, part="first", **more), seed + 1)
        assert torch.equal(first.validation.x, other.validation.x)
    total = sum(map(len, sides))
    assert total == sum(map(len, map(seen, (whole.train, whole.validation, whole.test)))), "an image is lost"
    assert abs(len(first.train.y) - len(second.train.y)) <= 2
    counts = [torch.bincount(side.train.y, minlength=whole.classes) for side in (first, second)]
    assert int((counts[0] - counts[1]).abs().max()) <= 2, "not stratified"


def test_another_size_of_one_half_puts_no_image_on_the_other_side():
    """The pretraining's size is a knob of its own."""
    given = {"validation": 0.1, "validation_seed": 7}
    first = load(Load(part="first", train_size=100, **given), 0)
    second = load(Load(part="second", train_size=300, test_size=50, **given), 0)
    assert len(first.train.y) == 100
    assert len(second.train.y) == 300
    assert not (seen(first.train) & (seen(second.train) | seen(second.validation) | seen(second.test)))


def test_halves_are_drawn_by_the_seed_and_again_the_same():
    one, again, other = (load(Load(part="first"), seed).train for seed in (0, 0, 1))
    assert torch.equal(one.x, again.x)
    assert len(seen(one) & seen(other)) < 0.8 * len(one)


@pytest.mark.parametrize("more", [{}, {"validation": 0.2}, {"validation": 0.2, "validation_seed": 7}])
def test_halves_of_the_classes_count_from_0_and_share_no_image(data, more):
    lower, upper = (load(Load(data=data, classes=classes, **more), 0) for classes in ("lower", "upper"))
    whole = load(Load(data=data, **more), 0)
    first = whole.classes // 2
    assert lower.classes + upper.classes == whole.classes
    assert lower.classes == first
    for half in (lower, upper):
        for split in (half.train, half.test, *([half.validation] if more else [])):
            assert set(split.y.tolist()) == set(range(half.classes))
    sides = [seen(s) for half in (lower, upper) for s in (half.train, half.validation, half.test)]
    assert not any(a & b for a, b in itertools.combinations(sides, 2))
    everything = [whole.train, whole.validation, whole.test]
    digest = {
        hashlib.sha256(x.numpy().tobytes()).digest(): int(y) for s in everything for x, y in zip(s.x, s.y, strict=True)
    }
    for half, shift in ((lower, 0), (upper, first)):
        for x, y in zip(half.train.x, half.train.y, strict=True):
            assert digest[hashlib.sha256(x.numpy().tobytes()).digest()] == int(y) + shift, "a label was moved"


@needs_mnist
def test_the_upper_half_of_mnist_keeps_its_canonical_test_images():
    upper = load(Load(data="mnist", root=str(MNIST), classes="upper"), 0)
    whole = load(Load(data="mnist", root=str(MNIST)), 0)
    inside = whole.test.y >= 5
    assert torch.equal(upper.test.pixels[upper.test.rows], whole.test.pixels[inside])
    assert torch.equal(upper.test.y, whole.test.y[inside] - 5)
    assert len(upper.train.y) == int((whole.train.y >= 5).sum())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"classes": "middle"}, "classes must be one of lower, upper, or empty for all, got 'middle'"),
        ({"part": "third"}, "part must be one of first, second, or empty for all, got 'third'"),
        ({"classes": "lower", "binary": True}, "half of 2 classes is a single one"),
        ({"classes": "lower", "test_size": 300}, "test_size 300 is more than the 180 images there are"),
        ({"part": "first", "train_size": 1000}, "train_size 1000 is more than the 718 images there are"),
    ],
)
def test_what_there_is_not_is_named(given, words):
    with pytest.raises(ValueError, match=words):
        load(Load(**given), 0)


def test_a_class_of_one_image_is_in_no_two_halves():
    with pytest.raises(ValueError, match="the label 2 has one image"):
        halves.of_images(np.array([0, 0, 1, 1, 2]), "first", 0)
