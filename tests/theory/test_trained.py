"""The bounds on trained nets: no attack and no Jacobian shows more than they allow."""

import pytest

from benchmarks import looseness
from study.nets.data import load
from study.spec.config import Load, Train
from study.trial.train import evaluate


@pytest.mark.parametrize("rank", [0, 4])
def test_no_attack_on_a_trained_net_exceeds_the_corollary(rank):
    data = looseness.two_classes(load(Load(), 0))
    net = looseness.trained(data, rank, Train(epochs=10), 0)
    assert evaluate(net, data.test)[0] > 0.85, "an untrained net would be no test"
    found = looseness.ratios(net, data, 0)
    for name, ratio in found.items():
        if name.startswith(("Theorem 3", "product", "Corollary")):
            assert ratio >= 1 - 1e-6, name
        else:
            assert 0 <= ratio <= 1 + 1e-9, name
    assert sum(name.startswith("Corollary") for name in found) == 2


@pytest.mark.parametrize(("ratio", "text"), [(1.234, "1.2"), (56.7, "57"), (2000.0, "10^3.3")])
def test_a_ratio_is_short(ratio, text):
    assert looseness.shown(ratio) == text
