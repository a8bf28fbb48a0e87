"""Image folders with a name, and the cache of decoded ones: equal to the files, and never in the way."""

import logging
import multiprocessing
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from study.nets import data, decoded, folders, sources
from study.nets.data import arrays, load
from study.spec import datasets
from study.spec.config import Load
from study.spec.errors import UsageError

NAMES = datasets.DATASETS["cifar10-jpeg"].names
LONG_AGO = 1_600_000_000


def write(root, part, names=NAMES, n=2, seed=0):
    """JPEG files of 32 x 32 below the class folders of a part, last changed long ago."""
    random = np.random.default_rng(seed)
    for name in names:
        (root / part / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            path = root / part / name / f"{i:04}.jpg"
            Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
            os.utime(path, (LONG_AGO, LONG_AGO))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The data folder of a cifar10-jpeg of 30 training images and 10 test images, which the cache takes."""
    monkeypatch.setitem(datasets.DATASETS, "cifar10-jpeg", replace(datasets.DATASETS["cifar10-jpeg"], images=(30, 10)))
    monkeypatch.setattr(decoded, "LEAST", 1)
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    arrays.cache_clear()
    root = tmp_path / "data"
    write(root / "cifar10-jpeg", "train", n=3)
    write(root / "cifar10-jpeg", "test", n=1, seed=1)
    yield root
    arrays.cache_clear()


@pytest.fixture
def decodings(monkeypatch):
    """The folders whose files were decoded since."""
    seen, real = [], folders.read
    monkeypatch.setattr(folders, "read", lambda folder, *more: seen.append(folder) or real(folder, *more))
    return seen


def again(root, digest=""):
    """The arrays as another process would have them."""
    arrays.cache_clear()
    return arrays("cifar10-jpeg", str(root), digest)


def same(one, other):
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


def test_the_named_folder_is_a_data_set_of_its_own(small):
    digest = sources.digest("cifar10-jpeg", str(small))
    assert digest == sources.digest(f"imagefolder:{small / 'cifar10-jpeg'}", ""), "the same files, the same content"
    d = load(Load(data="cifar10-jpeg", root=str(small), digest=digest, train_size=20, test_size=0), 0)
    assert (d.name, d.classes, d.shape, len(d.train), len(d.test)) == ("cifar10-jpeg", 10, (3, 32, 32), 20, 10)
    assert (d.mean, d.std) == (datasets.DATASETS["cifar10"].mean, datasets.DATASETS["cifar10"].std)
    assert datasets.label("cifar10-jpeg") == "cifar10-jpeg"
    whole = datasets.DATASETS["cifar10"]
    assert (whole.images, whole.shape, whole.classes) == ((50_000, 10_000), d.shape, d.classes)


def test_a_class_is_known_by_the_name_of_its_folder(small, tmp_path):
    folder = small / "cifar10-jpeg"
    order = tuple(reversed(NAMES))
    for part, count in ((folder / "train", 30), (folder / "test", 10)):
        found, _ = folders.samples(folder, order) if part.name == "train" else folders.samples(folder, order)[::-1]
        assert len(found) == count
        assert all(order[label] == path.parent.name for path, label in found)
    x, y, *_ = folders.read(folder)
    turned, labels, *_ = folders.read(folder, order)
    assert np.array_equal(x, turned)
    assert labels.tolist() == [9 - label for label in y.tolist()]


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_folder_of_other_classes_or_counts_is_refused(small, part):
    folder = small / "cifar10-jpeg"
    (folder / part / "cat").rename(folder / part / "lion")
    looks = (lambda: sources.digest("cifar10-jpeg", str(small)), lambda: again(small))
    for look in looks:
        with pytest.raises(
            UsageError, match=rf"{part} must have the class folders airplane, .* it lacks cat/ and lion/"
        ):
            look()
    (folder / part / "lion").rename(folder / part / "cat")
    (folder / part / "cat/0000.jpg").rename(folder / part / "0000.jpg")
    have = {"train": 30, "test": 10}[part]
    for look in looks:
        with pytest.raises(UsageError, match="no image" if part == "test" else "has 29 images, the data set has 30"):
            look()
    write(folder, part, ("cat",), n=5)
    for look in looks:
        with pytest.raises(
            UsageError, match=rf"has {have + (2 if part == 'train' else 4)} images, the data set has {have}"
        ):
            look()


def test_a_folder_that_is_not_there_is_named_with_its_archive(tmp_path):
    with pytest.raises(UsageError, match=r"no folder .*cifar10-jpeg with train/ and test/; point --data-dir at"):
        sources.digest("cifar10-jpeg", str(tmp_path))
    (tmp_path / "cifar10-jpeg.tar.gz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"unpack it: mkdir .*/cifar10-jpeg && tar xzf .*/cifar10-jpeg.tar.gz -C"):
        arrays("cifar10-jpeg", str(tmp_path), "")


def test_a_hit_has_the_arrays_and_the_digest_of_the_files(small, decodings, monkeypatch):
    plain = folders.read(small / "cifar10-jpeg", NAMES)
    decodings.clear()
    digest = sources.digest("cifar10-jpeg", str(small))
    assert same(again(small, digest), plain)
    assert len(decodings) == 1
    monkeypatch.setattr(sources, "digest_of_files", lambda *_: pytest.fail("the files were hashed again"))
    assert same(again(small, digest), plain)
    assert sources.digest("cifar10-jpeg", str(small)) == digest
    assert len(decodings) == 1
    one, other = again(small, digest)[0], again(small, digest)[0]
    one[0] = 0  # in this process's own copy of a page
    assert same((other,), (plain[0],))
    assert same(again(small, digest), plain)


def test_another_class_order_is_another_entry(small):
    one = decoded.stamp(str(small / "cifar10-jpeg"), NAMES)
    assert decoded.stamp(str(small / "cifar10-jpeg"), NAMES[::-1]).path != one.path
    assert decoded.stamp(str(small / "cifar10-jpeg")).path != one.path


@pytest.mark.parametrize("change", ["content", "name", "time", "more"])
def test_a_change_of_the_files_is_noticed(small, decodings, change, caplog):
    before = again(small)
    digest = sources.digest("cifar10-jpeg", str(small))
    path = small / "cifar10-jpeg/train/cat/0001.jpg"
    if change == "content":  # of the same size and time: the file system's own time of change tells
        whole = bytearray(path.read_bytes())
        whole[-40] ^= 0x55
        path.write_bytes(whole)
        os.utime(path, (LONG_AGO, LONG_AGO))
    elif change == "name":
        path.rename(path.with_name("0007.jpg"))
    elif change == "time":
        os.utime(path, (LONG_AGO, LONG_AGO + 1))
    else:
        (path.parent / "notes.txt").write_text("beside the images")
        os.utime(path.parent / "notes.txt", (LONG_AGO, LONG_AGO))
    if change == "time":
        assert same(again(small, digest), before)
    else:
        with pytest.raises(UsageError, match="not those that were planned with"):
            again(small, digest)
        assert sources.digest("cifar10-jpeg", str(small)) != digest
        assert same(again(small), before) == (change == "more")
    assert len(decodings) >= 2
    assert len(list(decoded.place().iterdir())) == 1, "one entry for a folder"
    assert not caplog.records


def test_what_changed_just_now_and_what_is_small_is_read_anew(small, decodings, monkeypatch):
    os.utime(small / "cifar10-jpeg/train/cat/0001.jpg")
    assert same(again(small), again(small))
    os.utime(small / "cifar10-jpeg/train/cat/0001.jpg", (LONG_AGO, LONG_AGO))
    monkeypatch.setattr(decoded, "LEAST", 41)
    assert same(again(small), again(small))
    assert len(decodings) == 4
    assert not decoded.place().exists()


DAMAGE = {
    "cut": lambda old: old[: len(old) // 2],
    "head": lambda old: old[:50],
    "empty": lambda old: b"",
    "bit": lambda old: old[:-9] + bytes([old[-9] ^ 1]) + old[-8:],
    "other": lambda old: b'["a list"]\n' + old,
    "deep": lambda old: b"[" * 60_000 + b"\n",
    "objects": lambda old: old.replace(b'"|u1"', b'"|O8"'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_made_again(small, decodings, damage, caplog):
    before, digest = again(small), sources.digest("cifar10-jpeg", str(small))
    (entry,) = decoded.place().iterdir()
    whole = entry.read_bytes()
    entry.unlink()  # what is mapped stays
    entry.write_bytes(DAMAGE[damage](whole))
    assert same(again(small, digest), before)
    assert [(r.levelno, "cannot be used" in r.getMessage()) for r in caplog.records] == [(logging.WARNING, True)]
    assert entry.read_bytes() == whole
    assert len(decodings) == 2


def test_an_entry_of_another_content_is_not_believed(small, decodings):
    before, digest = again(small), sources.digest("cifar10-jpeg", str(small))
    (entry,) = decoded.place().iterdir()
    whole = entry.read_bytes()
    entry.unlink()
    entry.write_bytes(whole.replace(digest.encode(), b"0" * 16))
    assert same(again(small, digest), before)
    assert len(decodings) == 2
    assert sources.digest("cifar10-jpeg", str(small)) == digest


def test_a_cache_that_cannot_be_written_costs_a_warning(small, decodings, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "file/cache"))
    one = again(small)
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "STUDY_CACHE=DIR" in caplog.text
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert same(again(small), one)
    assert list((tmp_path / "cache").iterdir()) == [], "nothing half-written stays"
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: decoded.shutil._ntuple_diskusage(10, 9, 1))
    assert same(again(small), one)
    assert "GB are free" in caplog.text
    assert len(decodings) == 3


def read_in(root, cache, start, found):
    """In a process of its own."""
    os.environ["STUDY_CACHE"] = cache
    start.wait()
    x, y, _, _ = data.arrays("cifar10-jpeg", root, "")
    found.put((int(x.sum()), int(y.sum())))


def test_several_writers_at_once_leave_one_whole_entry(small, tmp_path):
    context = multiprocessing.get_context("fork")
    start, found = context.Barrier(4), context.Queue()
    cache = str(tmp_path / "shared")
    workers = [context.Process(target=read_in, args=(str(small), cache, start, found)) for _ in range(4)]
    for worker in workers:
        worker.start()
    sums = [found.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    x, y, *_ = folders.read(small / "cifar10-jpeg", NAMES)
    assert set(sums) == {(int(x.sum()), int(y.sum()))}
    (entry,) = (tmp_path / "shared").iterdir()
    stamp = decoded.Stamp(entry, True)
    assert same(decoded.get(stamp, ""), again(small))


def test_where_the_cache_lies(monkeypatch):
    monkeypatch.delenv("STUDY_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(decoded.place()) == "/somewhere/study"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/of/mine")
    assert str(decoded.place()) == "/home/of/mine/.cache/study"
    monkeypatch.setenv("STUDY_CACHE", "~/elsewhere")
    assert str(decoded.place()) == "/home/of/mine/elsewhere"
