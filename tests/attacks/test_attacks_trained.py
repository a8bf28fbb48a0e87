"""Native AutoPGD against ART's on trained nets: digits, MNIST, a deep FCN and a convolutional net on CIFAR-10.

Slow: every cell is printed (`pytest -m slow -s tests/attacks/test_attacks_trained.py`). A cell pools the seeds of one
net, norm and budget, standard or adversarially trained.
"""

import functools
import tarfile
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from study.attacks import art
from study.attacks.apgd import apgd
from study.attacks.climb import MARGIN
from study.nets.build import build
from study.nets.data import load
from study.nets.net import Net
from study.nets.splits import Dataset
from study.spec import datasets
from study.spec.config import Build, Load, Train
from study.trial.train import epochs, start
from tests.attack_cases import stream
from tests.attacks.test_attacks_apgd import twin
from tests.helpers import SHARED

pytestmark = pytest.mark.slow
ITERATIONS, RESTARTS = 20, 1


@dataclass(frozen=True)
class Case:
    """A net family, its data, and a small and a large budget per norm; `train` are fields of config.Train."""

    data: str
    size: tuple[int, int]
    build: Build | None
    seeds: int
    train: dict
    eps: dict


def convolutional(shape, classes, size):
    """Four convolutions of 16 to 64 channels: a quarter of a usual small net's width."""
    layers, channels = [], shape[0]
    for width, stride in ((16, 1), (32, 2), (32, 1), (64, 2)):
        layers += [nn.Conv2d(channels, width, 3, stride, 1), nn.ReLU()]
        channels = width
    side = shape[1] // 4
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * side * side, classes))


CASES = {
    "digits": Case("digits", (0, 360), Build(width=200, depth=4), 5, {"epochs": 20},
                   {"linf": (8 / 255, 24 / 255), "l2": (0.25, 0.6)}),
    "digits compressed": Case("digits", (0, 360), Build(width=200, depth=4), 5,
                              {"epochs": 30, "frobenius": 1.0, "penalty": "group_lasso", "alpha": 0.03},
                              {"linf": (8 / 255, 24 / 255), "l2": (0.25, 0.5)}),
    "mnist": Case("mnist", (5000, 1000), Build(width=400, depth=2), 5, {"epochs": 6},
                  {"linf": (8 / 255, 20 / 255), "l2": (0.5, 1.2)}),
    "cifar10-jpeg deep": Case("cifar10", (4000, 500), Build(width=500, depth=4), 3, {"epochs": 6},
                              {"linf": (1 / 255, 3 / 255), "l2": (0.05, 0.2)}),
    "cifar10-jpeg conv": Case("cifar10", (4000, 500), None, 3, {"epochs": 6},
                              {"linf": (1 / 255, 3 / 255), "l2": (0.05, 0.2)}),
}  # fmt: skip


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """The JPEG copy of CIFAR-10 as an image folder, two hundred training and fifty test images of each class."""
    archive = SHARED / "data/cifar10-jpeg.tar.gz"
    if not archive.is_file():
        pytest.skip("CIFAR-10 is not beside the checkout")
    folder, taken = tmp_path_factory.mktemp("cifar10-jpeg"), {}
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = member.name.split("/")
            if member.isfile() and parts[-1].endswith((".jpg", ".jpeg")) and not parts[-1].startswith("."):
                key = tuple(parts[-3:-1])
                taken[key] = taken.get(key, 0) + 1
                if taken[key] <= (500 if key[0] == "train" else 100):
                    target = folder.joinpath(*parts[-3:])
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(tar.extractfile(member).read())
    return f"imagefolder:{folder}"


@functools.cache
def trained(name: str, data: str, seed: int, adversarial: tuple[str, float] | None) -> tuple[Net, Dataset]:
    case = CASES[name]
    split = load(Load(data=data, root=datasets.folder(data, str(SHARED / "data")),
                      train_size=case.size[0], test_size=case.size[1]), seed)  # fmt: skip
    statistics = (split.mean, split.std)
    if case.build:
        net = build(case.build, split.shape, split.classes, statistics, seed)
    else:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = Net(convolutional(split.shape, split.classes, 0), *statistics, ())
    extra = (
        {"adversarial_ratio": 0.5, "train_norm": adversarial[0], "train_eps": adversarial[1], "train_steps": 5}
        if adversarial
        else {}
    )
    config = Train(**case.train, **extra)
    progress = start(net, config)
    for _ in epochs(net, split, config, seed, progress):
        pass
    return net.eval(), split


def cells(name, data, adversarial):
    """(norm, eps, images, clean, native, ART) of a net family, pooled over seeds."""
    case = CASES[name]
    for norm, budgets in case.eps.items():
        for eps in budgets:
            clean = native = toolbox = images = 0
            for seed in range(case.seeds):
                net, split = trained(name, data, seed, (norm, budgets[1] / 2) if adversarial else None)
                x, y = split.test.x, split.test.y
                how = {"iterations": ITERATIONS, "restarts": RESTARTS}
                native += int(apgd(net, x, y, eps, norm, **how, generator=stream(seed)).robust.sum())
                toolbox += int(art.auto_pgd(net, x, y, eps, norm, **how, generator=stream(seed)).robust.sum())
                clean += int((net(x).argmax(1) == y).sum())
                images += len(y)
            yield norm, eps, images, clean / images, native / images, toolbox / images


@pytest.mark.parametrize("adversarial", [False, True], ids=["standard", "adversarial"])
@pytest.mark.parametrize("name", CASES)
def test_native_autopgd_is_as_strong_as_arts(name, adversarial, request):
    data = request.getfixturevalue("cifar") if CASES[name].data == "cifar10" else CASES[name].data
    if CASES[name].data == "mnist" and not (SHARED / "data/MNIST").is_dir():
        pytest.skip("MNIST is not beside the checkout")
    differences = []
    for norm, eps, images, clean, native, toolbox in cells(name, data, adversarial):
        differences.append(100 * (native - toolbox))
        kind = "adversarial" if adversarial else "standard"
        print(f"\n{name:18} {kind:11} {norm:4} eps {eps:.4f}: n {images}, clean {clean:.3f}, native {native:.4f}, "
              f"ART {toolbox:.4f}, difference {differences[-1]:+.2f} points", end="")  # fmt: skip
    assert max(differences) <= 1.0
    assert sum(differences) / len(differences) <= 0.3


def test_native_autopgd_agrees_with_the_naive_twin_on_trained_nets():
    differences = []
    for seed in range(2):
        net, split = trained("digits", "digits", seed, None)
        x, y = split.test.x[:150], split.test.y[:150]
        right = net(x).argmax(1) == y
        for norm, budgets in CASES["digits"].eps.items():
            for eps in budgets:
                ours = apgd(net, x, y, eps, norm, iterations=ITERATIONS, generator=stream(seed)).robust
                random = stream(seed)
                theirs = sum(bool(right[i]) and twin(net, x[i : i + 1], y[i], eps, norm, ITERATIONS, random,
                                                       margin=MARGIN) for i in range(len(x)))  # fmt: skip
                differences.append(100 * (int(ours.sum()) - theirs) / len(x))
                print(
                    f"\ndigits seed {seed} {norm} {eps:.4f}: difference to the twin {differences[-1]:+.2f} points",
                    end="",
                )
    assert abs(sum(differences) / len(differences)) <= 0.5
