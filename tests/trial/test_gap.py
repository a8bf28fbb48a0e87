"""The loss gap is that of the worst points, whatever attack is named beside it."""

import pytest
import torch

from study.attacks.pgd import pgd
from study.nets.compression.mask import mask_weights
from study.nets.compression.quantize import quantize
from study.spec.config import Robustness
from study.trial.measures.gap import gap
from tests.attack_cases import digits

KINDS = {
    "dense": lambda net, x: net,
    "few weights": lambda net, x: mask_weights(net, 0.1, "magnitude", 0),
    "2 bits": lambda net, x: quantize(net, 2, [x]),
}


@pytest.mark.parametrize(("norm", "eps"), [("linf", 16 / 255), ("linf", 0.2), ("l2", 0.5), ("l2", 1.5)])
@pytest.mark.parametrize("kind", KINDS)
def test_no_pgd_of_as_many_steps_finds_a_larger_gap(kind, norm, eps):
    """The cross-entropy itself is what must be climbed in the end: at another temperature the worst points are others,
    and a net of small logits had a gap up to 1 % below PGD's."""
    net, x, y = digits()
    net = KINDS[kind](net, x).eval()
    config = Robustness(norm=norm, eps=(eps,), backend="native", gap_iterations=50)
    (found,) = gap(net, net, x, y, 0.0, config, {"norm": norm, "eps": eps, "attack": "a"}, 0, bounds=False)
    least = pgd(net, x, y, eps, norm, iterations=50, generator=torch.Generator().manual_seed(0)).loss.double().mean()
    assert found["value"] >= (0.99 if kind == "2 bits" else 0.998) * float(least)
    assert (found["measure"], found["attack"], found["norm"], found["eps"]) == ("loss_gap", "a", norm, eps)
