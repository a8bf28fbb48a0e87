"""Data that would train a net and mean something else: refused, with what is wrong, where, and what to do."""

import sys

import numpy as np
import pytest
from PIL import Image

from study.nets import data, sources
from study.nets.data import arrays, load
from study.spec.config import Load
from study.spec.errors import UsageError

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.random((40, 3, 8, 8)), np.arange(40) % 4
TEST = X[:8], Y[:8]


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What is said of arrays that a user's function returns; "" where they are accepted."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "given_data.py").write_text("parts = None\ndef get():\n    return parts\n")
    monkeypatch.delitem(sys.modules, "given_data", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    import given_data

    def ask(parts):
        given_data.parts = parts
        said = []
        for look in (lambda: sources.digest("given_data:get", ""), lambda: load(Load(data="given_data:get"), 0)):
            data.arrays.cache_clear()
            try:
                look()
                said.append("")
            except UsageError as error:
                said.append(str(error))
        assert said[0] == said[1], "what is planned is what is loaded"
        return said[0]

    yield ask
    data.arrays.cache_clear()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (Y + 0.5, "train_labels must be whole numbers 0, 1, ..., got 0.5 at 0"),
        (np.where(Y == 0, np.nan, Y), "train_labels must be whole numbers 0, 1, ..., got nan at 0"),
        (Y + 1, "no training image has the label 0, of 0 to 4; subtract 1"),
        (Y * 500, "no training image has the label 1, of 0 to 1500; number the classes without gaps"),
        (Y - 1, "train_labels must be 0, 1, ..., got -1 to 2"),
        (Y * 0, "every training image has the label 0; at least two classes are needed"),
        (np.eye(4)[Y], "train_labels must have the shape (N,), got (40, 4), one-hot? Give train_labels.argmax(axis=1)"),
        (Y[:, None], "train_labels must have the shape (N,), got (40, 1), a column? Give train_labels.ravel()"),
        (Y[:, None, None], "train_labels must have the shape (N,), got (40, 1, 1)"),
        (np.array(["cat", "dog"])[Y % 2], "train_labels must be numbers, got words ('cat', 'dog', ...): number the"),
        (np.array(["cat", "dog"], dtype=object)[Y % 2], "train_labels must be numbers, got words ('cat', 'dog', ...)"),
        (np.array([None, 1], dtype=object)[Y % 2], "train_labels must be numbers, got object: number the classes"),
        ([[0], [1, 2]], "train_labels are no array: setting an array element with a sequence"),
        (Y[:7], "40 training images with 7 labels"),
    ],
)  # fmt: skip
def test_labels_that_are_none_are_refused(labels, words, asked):
    assert words in asked((X, labels, *TEST))


def test_test_labels_that_training_lacks_are_refused(asked):
    assert "2 test images have labels that no training image has, 4 for one" in asked(
        (X, Y, X[:4], np.array([0, 4, 5, 1]))
    )
    assert asked((X, Y, X[:4], np.array([0, 0, 1, 1]))) == "", "a test part may lack a class"


@pytest.mark.parametrize("labels", [Y.astype(float), Y.astype(np.uint8), (Y % 2).astype(bool), Y.tolist()])
def test_labels_of_any_kind_of_number_are_taken(labels, asked):
    assert asked((X, labels, X[:4], np.zeros(4))) == ""


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (X.transpose(0, 2, 3, 1), "seem to have their channels last; channels come first, (N, C, H, W): give "
                                  "train_images.transpose(0, 3, 1, 2)"),
        (X[:, :1].transpose(0, 2, 3, 1), "(40, 8, 8, 1) seem to have their channels last"),
        (np.array([x[:, :8 - i % 2] for i, x in enumerate(X)] + [None], dtype=object)[:40],
         "train_images must be an array of numbers, got object (images of several sizes? bring them to one)"),
        ((X * 255).astype(np.uint8), "got 0 to 254 in the training images; divide bytes by 255"),
        (np.where(X > 0.5, np.nan, X), "pixels must lie in [0, 1], got nan to nan in the training images"),
        (X.astype(complex), "train_images must be an array of numbers, got complex128"),
        (X[0, 0, 0], "train_images must have the shape (N, C, H, W), (N, H, W) or (N, D), got (8,)"),
        (X[:, :1], "test images have the shape (3, 8, 8), training images (1, 8, 8)"),
        (X[:0], "train_images must have the shape"),
    ],
)  # fmt: skip
def test_images_that_are_none_are_refused(images, words, asked):
    assert words in asked((images, Y, *TEST))


@pytest.mark.parametrize("shape", [(40, 3, 4, 4), (40, 1, 9, 1), (40, 6, 1, 1), (40, 4, 4, 3), (40, 9, 9, 9)])
def test_shapes_that_can_only_be_channels_first_are_taken(shape, asked):
    assert asked((RANDOM.random(shape), Y, RANDOM.random((4, *shape[1:])), Y[:4])) == ""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit()", "cannot be read: it called sys.exit(None)"),
        ("sys.exit('no licence')", "cannot be read: it called sys.exit('no licence')"),
        ("raise KeyError", "cannot be read: KeyError"),
        ("import asyncio; raise asyncio.CancelledError('x')", "cannot be read: CancelledError: x"),
        (
            "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})",
            "Mute: (its text raises ZeroDivisionError)",
        ),
        ("return 1", "must return (train_images, train_labels, test_images, test_labels), got int"),
    ],
)
def test_a_data_function_that_ends_or_raises_is_status_2(body, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ends_data.py").write_text(f"import sys\ndef get():\n    {body}\n")
    monkeypatch.delitem(sys.modules, "ends_data", raising=False)
    for look in (lambda: sources.digest("ends_data:get", ""), lambda: arrays("ends_data:get", "", "")):
        with pytest.raises(UsageError) as said:
            look()
        assert words in str(said.value)


@pytest.fixture
def folder(tmp_path):
    """A writer of images: folder("train/cat", mode="L") makes ten below the folder `pets`."""

    def write(where, mode="RGB", n=10, size=8):
        at = tmp_path / "pets" / where
        at.mkdir(parents=True, exist_ok=True)
        for i in range(n):
            pixels = RANDOM.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(at / f"{i}.png")
        return tmp_path / "pets"

    return write


def said(root):
    """What is said of an image folder before a sweep and at its reading, one after the other."""
    found = []
    for look in (lambda: sources.digest(f"imagefolder:{root}", ""), lambda: arrays("imagefolder:pets", str(root), "")):
        arrays.cache_clear()
        with pytest.raises(UsageError) as error:
            look()
        found.append(str(error.value))
    return found


def test_train_and_test_need_the_same_class_folders(folder):
    for where in ("train/a", "train/b", "test/b", "test/c"):
        root = folder(where)
    for text in said(root):
        assert f"{root / 'train'} and {root / 'test'} must have the same class folders" in text
        assert "only train/ has a/, only test/ has c/" in text


@pytest.mark.parametrize("parts", [("train", "val"), ("train",), ("training", "Validation"), ("test",)])
def test_parts_without_train_and_test_are_no_classes(parts, folder):
    for part in parts:
        for name in ("cat", "dog"):
            root = folder(f"{part}/{name}")
    for text in said(root):
        assert "with class folders inside, but not both train/ and test/: name the folder of the test images" in text
        assert f"or give {root / sorted(parts)[0]}, a fifth of which" in text
        assert "damaged" not in text


def test_a_class_may_be_called_train(folder):
    folder("train", n=5)
    root = folder("plane", n=5)
    assert arrays("imagefolder:pets", str(root), "")[1].tolist() == [0] * 5 + [1] * 5


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({}, "has no class folders; at least two classes are needed, a folder of images for each"),
        ({"cat": 10}, "has one class folder alone, cat/; at least two classes"),
        ({"cat": 10, "dog": 1}, "dog has one image, and some are for training and some for testing: add more, or"),
        (
            {"cat": 10, "dog": 0},
            "dog has no image (.jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp): add some, or take",
        ),
    ],
)
def test_class_folders_that_do_not_suffice_are_named(classes, words, folder):
    root = folder("", n=1)
    for name, n in classes.items():
        folder(name, n=n)
    for text in said(root):
        assert words in text
        assert str(root) in text


def test_what_other_programs_leave_is_neither_read_nor_identity(folder):
    root = folder("cat")
    folder("dog")
    digest, before = sources.digest(f"imagefolder:{root}", ""), arrays("imagefolder:pets", str(root), "")
    folder(".ipynb_checkpoints")
    folder("cat/.ipynb_checkpoints")
    (root / ".DS_Store").write_bytes(b"x")
    (root / "dog/._0.png").write_bytes(b"x")
    arrays.cache_clear()
    assert sources.digest(f"imagefolder:{root}", "") == digest
    for a, b in zip(before[:2], arrays("imagefolder:pets", str(root), digest)[:2], strict=True):
        assert np.array_equal(a, b)


def test_grey_images_have_one_channel_and_an_identity_of_their_own(folder):
    root = folder("cat", mode="L")
    folder("dog", mode="L")
    grey = arrays("imagefolder:pets", str(root), digest := sources.digest(f"imagefolder:{root}", ""))[0]
    assert grey.shape == (20, 1, 8, 8)
    with Image.open(root / "cat/0.png") as image:
        assert np.array_equal(grey[0, 0], np.asarray(image))
    with Image.open(root / "dog/3.png") as image:  # one in colour: all have three
        image.convert("RGB").save(root / "dog/3.png")
    arrays.cache_clear()
    three = arrays("imagefolder:pets", str(root), "")[0]
    assert three.shape == (20, 3, 8, 8)
    assert np.array_equal(three[:, 0], grey[:, 0])
    assert sources.digest(f"imagefolder:{root}", "") != digest


def test_a_colour_folder_keeps_its_digest_and_pixels(tmp_path):
    """Written out with the version before: such folders' identities must not change."""
    for i, name in enumerate(("cat", "cat", "dog", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True, exist_ok=True)
        head = b"P6 2 2 255\n"
        (tmp_path / "pets" / name / f"{i}.ppm").write_bytes(head + bytes(range(i, 12 + i)))
    root = tmp_path / "pets"
    assert sources.digest(f"imagefolder:{root}", "") == "b56d617bf87fdecf"
    x, y, *none = arrays("imagefolder:pets", str(root), "b56d617bf87fdecf")
    assert x[1].tolist() == np.arange(1, 13).reshape(2, 2, 3).transpose(2, 0, 1).tolist()
    assert (y.tolist(), none) == ([0, 0, 1, 1], [None, None])


def test_images_of_16_bits_and_broken_ones_are_named(folder):
    root = folder("cat")
    folder("dog")
    whole = (root / "dog/7.png").read_bytes()
    Image.fromarray(RANDOM.integers(0, 65536, (8, 8), dtype=np.uint16)).save(root / "dog/7.png")
    with pytest.raises(UsageError, match=r"dog/7.png cannot be read, more than 8 bits a pixel; bring it to 8 bits"):
        arrays("imagefolder:pets", str(root), "")
    for broken in (whole[: len(whole) - 100], whole[:20], b"not an image"):
        (root / "dog/7.png").write_bytes(broken)
        with pytest.raises(UsageError, match=r"dog/7.png cannot be read, .*; replace it or take it away"):
            arrays("imagefolder:pets", str(root), "")


def test_a_linked_class_folder_is_part_of_the_identity(folder, tmp_path):
    root = folder("cat")
    folder("../elsewhere")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    digest = sources.digest(f"imagefolder:{root}", "")
    (tmp_path / "elsewhere/3.png").unlink()
    assert sources.digest(f"imagefolder:{root}", "") != digest


def test_a_class_too_small_for_a_split_is_named(asked, tmp_path):
    y = np.where(np.arange(40) == 7, 3, np.arange(40) % 3)
    assert asked((X, y, *TEST)) == ""
    for sizes, words in (
        ({"train_size": 20}, "the label 3 has one image, which cannot be on both sides: add more"),
        ({"test_size": 2}, "2 of 8 images cannot be drawn with all 4 classes on both sides; ask for 4 to 4, or give"),
    ):
        with pytest.raises(ValueError, match=words):
            load(Load(data="given_data:get", **sizes), 0)


def test_data_that_change_after_the_plan_are_refused(folder, tmp_path, monkeypatch):
    root = folder("cat")
    folder("dog")
    plan = Load(data="imagefolder:pets", root=str(root), digest=sources.digest(f"imagefolder:{root}", ""))
    load(plan, 0)
    folder("dog")
    assert len(load(plan, 0).train) == 16, "what this process has read stays"
    arrays.cache_clear()
    with pytest.raises(UsageError, match=rf"not those that were planned with \(digest {plan.digest} then.*files must"):
        load(plan, 0)
    (root / "dog/2.png").write_bytes(b"torn")
    with pytest.raises(UsageError, match="not those that were planned with"):
        load(plan, 0)


def test_data_that_differ_at_each_call_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fickle_data.py").write_text(
        "import numpy as np\n"
        "def get():\n"
        "    x = np.random.default_rng().random((20, 4))\n"
        "    return x, np.arange(20) % 2, x, np.arange(20) % 2\n"
    )
    monkeypatch.delitem(sys.modules, "fickle_data", raising=False)
    digest = sources.digest("fickle_data:get", "")
    with pytest.raises(UsageError, match=r"must return the same arrays at every call \(seed its random numbers\)"):
        load(Load(data="fickle_data:get", digest=digest), 0)
