"""Robust accuracy, its ratio to clean accuracy, and the loss gap, in one norm at several budgets."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from study.attacks import ATTACKS, memory
from study.attacks.ball import NORMS, Result
from study.attacks.pgd import pgd
from study.config import Robustness, seed_for
from study.measures import masking
from study.measures.structure import encoder_bounds
from study.models.fold import folded
from study.models.net import Net, features, head, matrix
from study.rows import Row, row
from study.state import State
from study.theory.lipschitz import adv_risk_bound


def attack_of(config: Robustness) -> Callable[..., Result]:
    """The configured attack: (model, x, y, eps, norm, *, generator) -> Result. The toolbox is imported if asked for.

    ValueError for `certify` with anything but the native apgd.
    """
    steps: dict[str, Any] = {"iterations": config.iterations, "restarts": config.restarts}
    known: dict[str, tuple[str, dict[str, Any]]] = {
        "apgd": ("apgd", steps),
        "apgd_dlr": ("apgd", steps | {"loss": "dlr"}),
        "pgd": ("pgd", steps),
        "fgsm": ("fgsm", {}),
        "autoattack": ("autoattack", {"iterations": config.iterations, "version": "standard"}),
        "autoattack_pair": ("autoattack", {"iterations": config.iterations, "version": "pair"}),
        "cw": ("cw", {}),
        "square": ("square", {}),
    }
    name, options = known[config.attack]
    if config.certify:
        if (config.backend, name) != ("native", "apgd"):
            raise ValueError(f"certify goes with the native apgd alone, got {config.backend} {config.attack}")
        options = options | {"certify": True}
    if config.backend == "art":
        from study.attacks import art

        return functools.partial(art.ATTACKS[name], **options)
    return functools.partial(ATTACKS[name], **options)


def robustness(state: State, config: Robustness) -> list[Row]:
    """robust_accuracy and relative_robust_accuracy per eps; loss_gap (worst point seen) at the judged budgets.

    A gap is the mean adversarial minus the mean clean cross-entropy on the split. Through ART also loss_gap_art,
    the gap at the points that it returns (its random start where it failed), to compare with published numbers. The
    checks for gradient masking (study.measures.masking) stand beside them.
    """
    return [r for split in config.splits for r in _on_split(state, config, split)]


def _on_split(state: State, config: Robustness, split: str) -> list[Row]:
    """The rows of one split; each split and each named data set has random streams of its own."""
    assert state.net is not None
    x, y = (part.to(state.device) for part in state.on(config.on).split(split)[:])
    net = folded(state.net.eval(), x[:8])
    at: dict[str, Any] = {"norm": config.norm, "split": split, "n": len(y)} | ({"on": config.on} if config.on else {})
    stream = config.norm + (f" on {config.on}" if config.on else "") + ("" if split == "test" else f" {split}")
    with torch.no_grad():
        logits = memory.logits(net, x)
        clean = float((logits.argmax(1) == y).double().mean())
        loss = float(cross_entropy(logits, y))
    rows, attack = [], attack_of(config)
    for eps in config.eps:
        where = at | {"eps": eps}
        generator = torch.Generator().manual_seed(seed_for(state.seed, f"attack {stream} {eps!r}"))
        found = attack(net, x, y, eps, config.norm, generator=generator)
        robust = float(found.robust.double().mean())
        rows.append(row("robust_accuracy", robust, **where))
        rows.append(row("relative_robust_accuracy", robust / clean if clean > 0 else 0.0, **where))
        if config.backend == "art":
            rows.append(row("loss_gap_art", float(found.loss.double().mean()) - loss, **where))
        if eps in config.gap_eps:
            worst = pgd(net, x, y, eps, config.norm, iterations=config.gap_iterations, generator=generator)
            rows.append(row("loss_gap", float(worst.loss.double().mean()) - loss, **where))
            if split == config.splits[0]:  # bounds hold for any image
                rows += _gap_bounds(net, eps, config.norm, where)
            if config.sensitivity:
                rows += _sensitivity(net, x, worst.worst, where)
            if config.audit_queries:
                rows += masking.audit(net, x, y, found.robust, config.audit_queries, generator, where)
    return rows + masking.checks(net, x, y, attack, config.eps, at, seed_for(state.seed, f"masking {stream}"))


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
