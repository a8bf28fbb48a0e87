"""Data: canonical and stratified splits, every source, and damage that is named."""

import numpy as np
import pytest
import torch
from PIL import Image

from study.nets import sources
from study.nets.data import arrays, load
from study.spec import datasets
from study.spec.config import Load
from study.spec.errors import UsageError
from tests.helpers import SHARED

MNIST = SHARED / "data"
needs_mnist = pytest.mark.skipif(not (MNIST / "MNIST/raw").is_dir(), reason="MNIST is not beside the checkout")


def test_digits_are_split_anew_for_each_seed_and_stratified():
    a, again, b = load(Load(), 0), load(Load(), 0), load(Load(), 1)
    assert (len(a.train.y), len(a.test.y), a.classes, a.shape) == (1437, 360, 10, (1, 8, 8))
    assert torch.equal(a.test.x, again.test.x)
    assert not torch.equal(a.test.x, b.test.x)
    assert float(a.train.x.min()) == 0
    assert float(a.train.x.max()) == 1
    counts = torch.bincount(a.test.y)
    assert int(counts.min()) >= 34
    assert int(counts.max()) <= 38


def test_sizes_and_validation():
    d = load(Load(train_size=200, test_size=50, validation=0.1), 3)
    assert (len(d.train.y), len(d.validation.y), len(d.test.y)) == (180, 20, 50)


@needs_mnist
def test_mnist_is_the_real_one():
    d = load(Load(data="mnist", root=str(MNIST), train_size=5000, test_size=1000), 0)
    assert (len(d.train.y), len(d.test.y), d.shape) == (5000, 1000, (1, 28, 28))
    assert float(d.train.x.mean()) == pytest.approx(0.1307, abs=0.005)
    assert sources.digest("mnist", str(MNIST)) == sources.digest("mnist", str(MNIST))


@needs_mnist
def test_fashion_mnist_is_read_in_its_own_place(tmp_path):
    raw = tmp_path / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    for path in (MNIST / "MNIST/raw").iterdir():
        (raw / path.name).symlink_to(path)
    d = load(Load(data="fashion_mnist", root=str(tmp_path), train_size=100, test_size=50), 0)
    assert (d.name, d.mean, len(d.train.y)) == ("fashion_mnist", (0.2860,), 100)


def image_folder(root, sizes=(8, 8), classes=("cat", "dog"), n=10):
    random = np.random.default_rng(0)
    for c in classes:
        (root / c).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(random.integers(0, 255, (*sizes, 3), dtype=np.uint8)).save(root / c / f"{i}.png")
    return root


def test_an_image_folder_is_known_by_name_and_content_not_by_path(tmp_path):
    one, two = image_folder(tmp_path / "a/pets"), image_folder(tmp_path / "b/pets")
    digests = [sources.digest(f"imagefolder:{p}", "") for p in (one, two)]
    assert digests[0] == digests[1]
    assert datasets.label(f"imagefolder:{one}") == "imagefolder:pets"
    d = load(Load(data="imagefolder:pets", digest=digests[0], root=str(one)), 0)
    assert (d.shape, d.classes, len(d.train.y), len(d.test.y)) == ((3, 8, 8), 2, 16, 4)
    (two / "cat/0.png").unlink()
    assert sources.digest(f"imagefolder:{two}", "") != digests[1]


def test_images_of_several_sizes_are_refused(tmp_path):
    root = image_folder(tmp_path / "pets")
    Image.fromarray(np.zeros((9, 9, 3), dtype=np.uint8)).save(root / "cat/odd.png")
    with pytest.raises(UsageError, match="several sizes"):
        arrays("imagefolder:pets", str(root), "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("imagefolder:/nowhere", "no folder"),
        ("mnist", "no file"),
        ("nosuch", "unknown data 'nosuch'; choose from digits, mnist"),
        ("nosuch:function", "cannot import it"),
        ("math:nosuch", "cannot import it"),
        ("math:pi", "not a function"),
    ],
)
def test_missing_data_is_named(name, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        sources.digest(name, str(tmp_path))


def test_empty_and_damaged_files_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="is empty"):
        sources.digest(f"imagefolder:{tmp_path / 'empty'}", "")
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for name in datasets.DATASETS["mnist"].files:
        (tmp_path / name).write_bytes(b"not an idx file")
    with pytest.raises(UsageError, match="cannot be read, it seems damaged"):
        arrays("mnist", str(tmp_path), "")
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(UsageError, match="is empty"):
        sources.digest("mnist", str(tmp_path))


USER = """
import numpy as np
def good():
    r = np.random.default_rng(0)
    return r.random((40, 5)), np.arange(40) % 2, r.random((10, 5)), np.arange(10) % 2
def bright():
    return np.full((4, 5), 2.0), np.arange(4) % 2, np.full((4, 5), 2.0), np.arange(4) % 2
def short():
    return 1
"""


def test_binary_labels_are_the_halves_of_the_classes():
    ten, two = load(Load(), 3), load(Load(binary=True), 3)
    assert (ten.classes, two.classes) == (10, 2)
    pixels = {tuple(x.flatten().tolist()): int(y) for x, y in zip(ten.train.x, ten.train.y, strict=True)}
    shared = [(pixels[key], int(y)) for x, y in zip(two.train.x, two.train.y, strict=True)
              if (key := tuple(x.flatten().tolist())) in pixels]  # fmt: skip
    assert len(shared) > 1000
    assert all(b == (a >= 5) for a, b in shared)


def test_a_users_function(tmp_path, monkeypatch):
    (tmp_path / "mine_data.py").write_text(USER)
    monkeypatch.chdir(tmp_path)
    d = load(Load(data="mine_data:good", digest=sources.digest("mine_data:good", "")), 0)
    assert (d.shape, d.classes, len(d.train.y)) == ((1, 1, 5), 2, 40)
    with pytest.raises(UsageError, match=r"pixels must lie in \[0, 1\]"):
        load(Load(data="mine_data:bright"), 0)
    with pytest.raises(UsageError, match="must return"):
        sources.digest("mine_data:short", "")


def test_validation_images_set_aside_are_the_same_at_every_seed_and_in_no_test_or_training_split():
    def images(split):
        return {part.numpy().tobytes() for part in split.x}

    one, *others = (load(Load(validation=0.2, validation_seed=7), seed) for seed in (0, 1, 2))
    assert (len(one.train), len(one.validation), len(one.test)) == (1150, 287, 360)
    for d in others:
        assert torch.equal(d.validation.x, one.validation.x)
        assert not images(one.validation) & (images(d.test) | images(d.train))
        assert images(d.test) != images(one.test)
    drawn = load(Load(train_size=200, test_size=50, validation=0.1, validation_seed=7), 3)
    assert (len(drawn.train), len(drawn.validation), len(drawn.test)) == (180, 20, 50)
    assert images(load(Load(validation=0.2, validation_seed=8), 0).validation) != images(one.validation)
    own = [load(Load(validation=0.2), seed) for seed in (0, 1)]
    assert images(own[0].validation) & images(own[1].test), "without it, what selects at one seed is tested at another"


def test_validation_images_set_aside_come_from_training_where_the_test_split_is_canonical(monkeypatch):
    x = np.arange(400, dtype=np.float32).reshape(400, 1, 1, 1) / 400
    y = np.arange(400) % 4
    monkeypatch.setattr("study.nets.data.arrays", lambda *_: (x[:300], y[:300], x[300:], y[300:]))
    a, b = (load(Load(data="user:none", train_size=200, validation=0.25, validation_seed=0), seed) for seed in (0, 1))
    assert torch.equal(a.validation.x, b.validation.x)
    assert not torch.equal(a.train.x, b.train.x)
    for d in (a, b):
        assert (len(d.train), len(d.validation), len(d.test)) == (150, 50, 100)
        assert len({float(v) for part in (d.train, d.validation, d.test) for v in part.x.flatten()}) == 300
