"""The loss gap at the worst points that AutoPGD finds, and what is read off at the same points."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from study.attacks import memory
from study.attacks.apgd import apgd
from study.attacks.ball import NORMS
from study.nets.net import Net, features, head, matrix
from study.spec.config import Robustness
from study.spec.rows import Row, row
from study.theory.lipschitz import adv_risk_bound
from study.trial.measures.structure import encoder_bounds


def gap(
    net: nn.Module,
    plain: Net,
    x: Tensor,
    y: Tensor,
    clean: float,
    config: Robustness,
    where: dict[str, Any],
    seed: int,
    bounds: bool,
) -> list[Row]:
    """loss_gap, with `bounds` gap_bound and gap_bound_product, and the local sensitivity where it is asked for.

    The gap is the mean cross-entropy at the worst points seen in the ball minus `clean`, the mean at the clean points:
    by AutoPGD climbed on the loss to the end, which beats a PGD of as many steps in every cell that was tried. `where`
    has the coordinates of the rows and the attack's name; x (N, C, H, W), y (N,). `net` is what is attacked, `plain`
    the net itself: of a net of chance, which is attacked as its mean over draws, the worst points are judged by fresh
    draws, and there is no sensitivity (ValueError).
    """
    if config.sensitivity and net is not plain:
        raise ValueError("sensitivity: the encoder's output depends on chance; leave sensitivity at 0")
    generator = torch.Generator().manual_seed(seed)
    eps, norm = where["eps"], where["norm"]
    worst = apgd(net, x, y, eps, norm, iterations=config.gap_iterations, goal="loss", generator=generator)
    loss = worst.loss if net is plain else cross_entropy(memory.logits(net, worst.worst), y, reduction="none")
    rows = [row("loss_gap", float(loss.double().mean()) - clean, **where)]
    if bounds:  # they hold for any image
        rows += _bounds(plain, eps, norm, where)
    return rows + (_sensitivity(plain, x, worst.worst, where) if config.sensitivity else [])


def _bounds(net: Net, eps: float, norm: str, where: dict[str, Any]) -> list[Row]:
    """gap_bound (Corollary 3.3 with Theorem 3.2) and gap_bound_product (with the product of norms), in pixel units.

    Only for a chain of dense layers with two logits. Normalisation comes first and multiplies by 1 / min(std).
    """
    scale, last = 1.0 / float(net.std.min()), head(net)
    found = encoder_bounds(net, share=0.1) if getattr(last, "out_features", 0) == 2 else None
    if found is None:
        return []
    weight = matrix(last).detach().cpu()
    p, lipschitz = NORMS[norm], found.linf_lipschitz if norm == "linf" else found.l2_lipschitz
    product = found.linf_product if norm == "linf" else found.l2_product
    bounds = {"gap_bound": lipschitz.value, "gap_bound_product": product}
    at = {key: where[key] for key in ("norm", "eps", "on") if key in where}
    return [
        row(name, adv_risk_bound(0.0, eps, scale * value, weight[1] - weight[0], p), **at)
        for name, value in bounds.items()
    ]


def _sensitivity(net: Net, x: Tensor, worst: Tensor, where: dict[str, Any]) -> list[Row]:
    """local_sensitivity_max and _mean: ||phi(x') - phi(x)|| / ||x' - x|| over the samples whose worst point x' moved.

    phi is the encoder, both norms are the attack's. A secant from below to the local Lipschitz constant (A, B.4).
    """
    order = NORMS[where["norm"]]
    far = torch.linalg.vector_norm((worst - x).flatten(1), ord=order, dim=1)
    moved = far > 0
    size = memory.images(net, x)
    shift = [features(net, a) - features(net, b) for a, b in zip(worst.split(size), x.split(size), strict=True)]
    out = torch.linalg.vector_norm(torch.cat(shift), ord=order, dim=1)[moved] / far[moved]
    if len(out) == 0:
        return []
    at = where | {"n": len(out)}
    return [
        row("local_sensitivity_max", float(out.max()), **at),
        row("local_sensitivity_mean", float(out.mean()), **at),
    ]
