"""Twenty trained nets: the logits' scale does not move robust accuracy, and a dearer attack hardly lowers it.

Slow: every cell is printed (`pytest -n 0 -m slow -s tests/attacks/test_attacks_scale.py`).
"""

import functools

import pytest
from torch import nn

from study.attacks import ATTACKS
from study.attacks.apgd import apgd
from study.spec.config import Build, Factorize, Load, Prune, Quantize, Train, Trial
from study.trial.run import run
from tests.attack_cases import stream
from tests.helpers import SHARED

pytestmark = pytest.mark.slow
IMAGES = 200
FACTORS = (1e-4, 1e-2, 1e2, 1e4)
EPS = {"digits": {"linf": 16 / 255, "l2": 0.5}, "mnist": {"linf": 16 / 255, "l2": 1.0}}
ADVERSARY = {"adversarial_ratio": 1.0, "train_eps": 16 / 255, "train_steps": 5}
TUNE = Train(epochs=3)
KINDS = {  # (training, compression, fine-tuning, rank)
    "dense": ({}, (), (), 0),
    "adversarial": (ADVERSARY, (), (), 0),
    "group lasso": ({"penalty": "group_lasso", "alpha": 0.03}, (), (), 0),
    "mask": ({}, (Prune(keep_prob=0.05),), (), 0),
    "mask, tuned": ({}, (Prune(keep_prob=0.05),), (TUNE,), 0),
    "rank": ({}, (), (), 8),
    "8 bits": (ADVERSARY, (Quantize(bits=8),), (), 0),
    "4 bits": ({}, (Quantize(bits=4),), (TUNE,), 0),
    "2 bits": ({}, (Quantize(bits=2),), (TUNE,), 0),
    "1 bit": (ADVERSARY, (Quantize(bits=1),), (TUNE,), 0),
}
FEW = ("2 bits", "1 bit")


class Scaled(nn.Module):
    """A net whose logits are multiplied by a constant."""

    def __init__(self, net, factor):
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x):
        return self.factor * self.net(x)


@functools.cache
def trained(data, kind):
    """A net of a kind and test images; skips MNIST where it is not beside the checkout."""
    if data == "mnist" and not (SHARED / "data").is_dir():
        pytest.skip("MNIST is not beside the checkout")
    training, compression, tuning, rank = KINDS[kind]
    load = Load(data=data, root=str(SHARED / "data"), train_size=0 if data == "digits" else 5000, test_size=360)
    stages = [load, Build(width=200 if data == "digits" else 400, depth=4)] + ([Factorize(rank=rank)] if rank else [])
    epochs = 30 if data == "digits" else 8
    trial = Trial(
        seed=100, stages=(*stages, Train(epochs=epochs, frobenius=1.0, **training), *compression, *tuning), measures=()
    )
    *_, outcome = run(trial)
    x, y = outcome.state.data.split("test")[:]
    return outcome.state.net.eval(), x[:IMAGES], y[:IMAGES]


def share(mask):
    return 100 * float(mask.double().mean())


@pytest.mark.parametrize("data", EPS)
@pytest.mark.parametrize("attack", ["apgd", "pgd", "fgsm"])
def test_robust_accuracy_does_not_depend_on_the_scale_of_the_logits(attack, data):
    """Half a point at most on float nets. On few levels rounding parts paths: half a point in the mean."""
    steps = {} if attack == "fgsm" else {"iterations": 20}
    moved = {True: [], False: []}
    for kind in KINDS:
        net, x, y = trained(data, kind)
        for norm, eps in EPS[data].items():
            found = [
                share(ATTACKS[attack](Scaled(net, c), x, y, eps, norm, **steps, generator=stream()).robust)
                for c in (1.0, *FACTORS)
            ]
            changes = [round(value - found[0], 2) for value in found[1:]]
            print(f"{attack} {data} {kind}, {norm}: {found[0]:.1f} %, moves by {changes}")
            moved[kind in FEW] += changes
    assert max(map(abs, moved[False])) <= 0.5
    assert sum(map(abs, moved[True])) / len(moved[True]) <= 0.5
    assert max(map(abs, moved[True])) <= 3


@pytest.mark.parametrize("data", EPS)
def test_the_default_attack_is_near_targeted_dlr_with_nine_targets(data):
    """At most a point above it in the mean over float and masked nets, two over nets of few bits (50 iterations)."""
    above = {True: [], False: []}
    for kind in KINDS:
        net, x, y = trained(data, kind)
        for norm, eps in EPS[data].items():
            ours = share(apgd(net, x, y, eps, norm, iterations=20, generator=stream()).robust)
            aimed = share(apgd(net, x, y, eps, norm, iterations=50, targets=9, generator=stream(1)).robust)
            print(f"{data} {kind}, {norm}: {ours:.1f} %, {ours - aimed:+.1f} over targeted DLR")
            above["bit" in kind].append(ours - aimed)
    assert sum(above[False]) / len(above[False]) <= 1
    assert sum(above[True]) / len(above[True]) <= 2
