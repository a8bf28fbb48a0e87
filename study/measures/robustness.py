"""Robust accuracy, its ratio to clean accuracy, and the loss gap, in one norm at several budgets."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from study.attacks.art import auto_pgd
from study.attacks.ball import NORMS
from study.attacks.pgd import pgd
from study.config import Robustness, seed_for
from study.measures.structure import encoder_bounds
from study.models.net import Net, features, head, matrix
from study.rows import Row, row
from study.state import State
from study.theory.lipschitz import adv_risk_bound


def robustness(state: State, config: Robustness) -> list[Row]:
    """robust_accuracy, relative_robust_accuracy (RA/SA), loss_gap (worst point seen) and loss_gap_art, per eps.

    A gap is the mean adversarial minus the mean clean cross-entropy on the test split. It is measured at the judged
    budgets (config.gap_eps) only.
    """
    assert state.net is not None
    assert state.data is not None
    x, y = state.data.test.x.to(state.device), state.data.test.y.to(state.device)
    net = state.net.eval()
    with torch.no_grad():
        logits = net(x)
        clean = float((logits.argmax(1) == y).double().mean())
        loss = float(cross_entropy(logits, y))
    rows = []
    for eps in config.eps:
        where = {"norm": config.norm, "eps": eps, "split": "test", "n": len(y)}
        generator = torch.Generator().manual_seed(seed_for(state.seed, f"attack {config.norm} {eps!r}"))
        found = auto_pgd(
            net, x, y, eps, config.norm, iterations=config.iterations, restarts=config.restarts, generator=generator
        )
        robust = float(found.robust.double().mean())
        rows.append(row("robust_accuracy", robust, **where))
        rows.append(row("relative_robust_accuracy", robust / clean if clean > 0 else 0.0, **where))
        rows.append(row("loss_gap_art", float(found.loss.double().mean()) - loss, **where))
        if eps in config.gap_eps:
            worst = pgd(net, x, y, eps, config.norm, iterations=config.gap_iterations, generator=generator)
            rows.append(row("loss_gap", float(worst.loss.double().mean()) - loss, **where))
            rows += _gap_bounds(net, eps, config.norm, where)
            if config.sensitivity:
                rows += _sensitivity(net, x, worst.worst, where)
    return rows


def _gap_bounds(net: Net, eps: float, norm: str, where: dict[str, Any]) -> list[Row]:
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
    at = {key: where[key] for key in ("norm", "eps")}
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
    out = torch.linalg.vector_norm(features(net, worst) - features(net, x), ord=order, dim=1)[moved] / far[moved]
    if len(out) == 0:
        return []
    at = where | {"n": len(out)}
    return [
        row("local_sensitivity_max", float(out.max()), **at),
        row("local_sensitivity_mean", float(out.mean()), **at),
    ]
