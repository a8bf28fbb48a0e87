"""What each weight tensor of a chain keeps at a trade-off between risk and fidelity (paper B, section 5)."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import nn

from study.nets import masks
from study.nets import net as nets
from study.nets.net import Net
from study.theory import tradeoff
from study.theory.tradeoff import Constants, Point

START = 0.5  # where Algorithm 1 begins; the paper does not say


class Chosen(NamedTuple):
    """The shares to be kept, one per weight tensor in [floor, 1], and what the rule said before the floor."""

    keep: tuple[float, ...]
    said: tuple[float, ...]


def _printed(k: Constants, lam: float, floor: float, uniform: bool = False) -> Point:
    return tradeoff.evaluate(k, tradeoff.algorithm1_as_printed(k, lam, [START] * len(k.b), uniform=uniform))


Rule = Callable[[Constants, float, float], Point]
RULES: dict[str, tuple[Rule, Rule]] = {  # layer by layer, and one share for all
    "chebyshev": (tradeoff.chebyshev_floored, tradeoff.chebyshev_uniform_floored),
    "exact": (tradeoff.scalarised_floored, tradeoff.scalarised_uniform),
    "printed": (_printed, partial(_printed, uniform=True)),
}


def shares(
    net: Net,
    lam: float,
    floor: float,
    *,
    rule: str = "chebyshev",
    uniform: bool = False,
    on: str = "hidden",
    x_norm: float = 1.0,
) -> Chosen:
    """What each weight tensor keeps at the trade-off lam, never less than `floor`; `uniform`: one share for all.

    `chebyshev`: the point of the exact front of least max(lam gamma / A, (1 - lam) zeta / zeta_max); `exact`: the exact
    minimum of the paper's J = lam gamma + (1 - lam) zeta with p >= floor; `printed`: its Algorithm 1, which climbs to
    coordinate-wise maxima of J (theory.tradeoff) and may say 0. x_norm is the mean norm of what the first layer is
    given, E||x||; J alone depends on it.

    gamma and zeta are of a bias-free chain with ReLU (section 3), where factors A B count as two layers with the
    identity between them. `on` hidden leaves the head whole, whose norms scale gamma and zeta; all has it too.
    Bernoulli masks have these gamma and zeta. For magnitude masks p is the share of weights, which hold more than that
    share of ||W||_F^2: they cost less zeta and gain less gamma. ValueError for any other net, an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    head = nets.head(net)
    if nets.chain(net) is None or (on == "all" and isinstance(head, nn.Linear) and head.bias is not None):
        raise ValueError("lam needs a chain of linear layers without bias, with ReLU between them")
    matrices = [W.detach().flatten(1).cpu() for W in masks.maskable(net, on).values()]
    said = RULES[rule][uniform](tradeoff.constants(matrices, x_norm), lam, floor).p
    return Chosen(tuple(max(floor, p) for p in said), said)
