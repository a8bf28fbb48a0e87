"""Splits that keep pixels as their source has them: the same values as ever, a quarter of the bytes, nothing twice."""

import numpy as np
import pytest
import torch

from study.nets import data
from study.nets.data import load
from study.nets.splits import Split
from study.spec.config import Load
from study.trial.train import evaluate
from tests.helpers import linear_net

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (500, 3, 32, 32), dtype=np.uint8)
LABELS = np.arange(500) % 10


@pytest.fixture
def coloured(monkeypatch):
    """500 train and 100 test images of CIFAR's shape, uint8, under CIFAR's name; the arrays as float32 beside them."""
    monkeypatch.setitem(data.TORCHVISION, "cifar10", "Coloured")
    monkeypatch.setattr(data.sources, "paths", lambda name, root: [])
    monkeypatch.setattr(data, "_torchvision", lambda cls, root: (PIXELS, LABELS, PIXELS[:100], LABELS[:100]))
    yield np.asarray(PIXELS, dtype=np.float32) / 255
    data.arrays.cache_clear()


def storages(*splits):
    """Bytes of the distinct memory that splits hold."""
    tensors = [t for s in splits for t in (s.pixels, s.y, s.rows) if t is not None]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def test_every_level_of_a_byte_is_the_float_it_was():
    levels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    x, _ = Split(pixels=levels, y=torch.zeros(256, dtype=torch.int64))[:]
    assert x.numpy().ravel().tolist() == (np.arange(256, dtype=np.float32) / 255).tolist()
    assert x.dtype == torch.float32


def test_bytes_stay_bytes_and_splits_share_them(coloured):
    whole = load(Load(data="cifar10"), 0)
    parts = load(Load(data="cifar10", train_size=300, test_size=50, validation=0.2), 0)
    images = 600 * 3072
    assert storages(whole.train, whole.validation, whole.test) < images * 1.02
    assert storages(*(getattr(d, s) for d in (whole, parts) for s in ("train", "validation", "test"))) < images * 1.02
    assert whole.train.pixels.dtype == torch.uint8


def test_batches_are_the_images_of_before(coloured):
    d = load(Load(data="cifar10", train_size=300, validation=0.2), 0)
    assert (len(d.train), len(d.validation), len(d.test)) == (240, 60, 100)
    by_bytes = {image.tobytes(): i for i, image in enumerate(PIXELS)}
    for split in (d.train, d.validation, d.test):
        x, y = (torch.cat(parts) for parts in zip(*split.batches(7), strict=True))
        kept = np.arange(len(split)) if split.rows is None else split.rows.numpy()
        assert torch.equal(x, torch.from_numpy(coloured[kept]))
        assert y.tolist() == LABELS[kept].tolist()
        assert torch.equal(x, split.x)
        assert [len(a) for a, _ in split.batches(7)] == [7] * (len(y) // 7) + [len(y) % 7] * bool(len(y) % 7)
        chosen = torch.tensor([3, 0, 3])
        assert torch.equal(split[chosen][0], x[chosen])
    assert len(by_bytes) == 500
    assert not set(d.train.rows.tolist()) & set(d.validation.rows.tolist())


def test_the_arrays_are_never_written_to(coloured):
    d = load(Load(data="cifar10"), 0)
    next(iter(d.train.batches(10)))[0].add_(1)
    d.train[torch.arange(5)][0].zero_()
    assert torch.equal(d.train.x, torch.from_numpy(coloured))


def test_a_split_of_floats_is_evaluated_as_one_of_bytes(coloured):
    d = load(Load(data="cifar10"), 0)
    net = linear_net(torch.randn(10, 3072, generator=torch.Generator().manual_seed(0)), (3, 32, 32))
    floats = Split(pixels=torch.from_numpy(coloured), y=d.train.y)
    assert evaluate(net, d.train, 64) == evaluate(net, floats, 64)


@pytest.mark.parametrize("rows", [None, np.array([5, 3, 80])])
def test_the_statistics_of_bytes_are_those_of_their_floats(rows):
    found = data._statistics(PIXELS, rows)
    wanted = data._statistics(PIXELS.astype(np.float64) / 255, rows)
    for a, b in zip(found, wanted, strict=True):
        assert a == pytest.approx(b, rel=1e-9)
