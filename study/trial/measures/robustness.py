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
from study.nets.fold import folded
from study.nets.net import Net, features, head, matrix
from study.spec.attack_names import attack_name
from study.spec.config import Robustness
from study.spec.identity import seed_for
from study.spec.rows import Row, row
from study.theory.lipschitz import adv_risk_bound
from study.trial.measures import masking
from study.trial.measures.structure import encoder_bounds
from study.trial.state import State


def attack_of(config: Robustness) -> Callable[..., Result]:
    """The configured attack: (model, x, y, eps, norm, *, generator) -> Result. The toolbox is imported if asked for.

    ValueError for `certify` with anything but the native apgd.
    """
    steps: dict[str, Any] = {"iterations": config.iterations, "restarts": config.restarts}
    asked = {"queries": config.queries} if config.queries and config.backend == "native" else {}
    known: dict[str, tuple[str, dict[str, Any]]] = {
        "apgd": ("apgd", steps),
        "apgd_dlr": ("apgd", steps | {"loss": "dlr"}),
        "pgd": ("pgd", steps),
        "fgsm": ("fgsm", {}),
        "autoattack": ("autoattack", {"iterations": config.iterations, "version": "standard"} | asked),
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

    A gap is the mean adversarial minus the mean clean cross-entropy on the test split, by the native PGD. Through ART
    also the gap at the points that it returns (its random start where it failed), to compare with published numbers.
    The checks for gradient masking (study.trial.measures.masking) stand beside them. Rows name their attack.
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
    rows, attack, by = [], attack_of(config), names_of(config)
    for eps in dict.fromkeys(config.eps):
        where = at | {"eps": eps}
        generator = torch.Generator().manual_seed(seed_for(state.seed, f"attack {stream} {eps!r}"))
        found = attack(net, x, y, eps, config.norm, generator=generator)
        robust = float(found.robust.double().mean())
        own = where | {"attack": by["own"]}
        rows.append(row("robust_accuracy", robust, **own))
        rows.append(row("relative_robust_accuracy", robust / clean if clean > 0 else 0.0, **own))
        if config.backend == "art":
            rows.append(row("loss_gap", float(found.loss.double().mean()) - loss, **own))
        if eps in config.gap_eps:
            worst = pgd(net, x, y, eps, config.norm, iterations=config.gap_iterations, generator=generator)
            rows.append(row("loss_gap", float(worst.loss.double().mean()) - loss, **where, attack=by["pgd"]))
            if split == config.splits[0]:  # bounds hold for any image
                rows += _gap_bounds(net, eps, config.norm, where)
            if config.sensitivity:
                rows += _sensitivity(net, x, worst.worst, where | {"attack": by["pgd"]})
            if config.audit_queries:
                asked = where | {"attack": by["square"]}
                rows += masking.audit(net, x, y, found.robust, config.audit_queries, generator, asked)
    if not config.checks:
        return rows
    seed = seed_for(state.seed, f"masking {stream}")
    return rows + masking.checks(net, x, y, attack, config.eps, at, seed, by)


def names_of(config: Robustness) -> dict[str, str]:
    """The names of the attacks of a measure in its rows: its own, and the native PGD and Square beside it."""
    return {
        "own": attack_name(config.backend, config.attack, config.revision),
        "pgd": attack_name("native", "pgd", config.pgd_revision),
        "square": attack_name("native", "square", config.square_revision),
    }


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
