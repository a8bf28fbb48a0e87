"""Robust accuracy, its ratio to clean accuracy, and the loss gap, in one norm at several budgets."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from study.attacks import ATTACKS, memory
from study.attacks.ball import Result
from study.attacks.losses import right
from study.nets.fold import folded
from study.nets.steady import steady
from study.spec import attack_settings
from study.spec.attack_names import current
from study.spec.config import Robustness
from study.spec.identity import seed_for
from study.spec.rows import Row, row
from study.trial.measures import masking, trust
from study.trial.measures.gap import gap
from study.trial.state import State


def attack_of(config: Robustness) -> Callable[..., Result]:
    """The configured attack: (model, x, y, eps, norm, *, generator) -> Result. The toolbox is imported if asked for.

    ValueError for `certify` with anything but the native apgd.
    """
    asked = {"queries": config.queries} if config.queries and config.backend == "native" else {}
    known: dict[str, tuple[str, dict[str, Any]]] = {
        "apgd_dlr": ("apgd", {"loss": "dlr"}),
        "autoattack": ("autoattack", {"version": "standard"} | asked),
        "autoattack_pair": ("autoattack", {"version": "pair"}),
    }
    name, options = known.get(config.attack, (config.attack, {}))
    options = options | attack_settings.counts(config.attack, config.iterations, config.restarts)
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

    A gap is the mean adversarial minus the mean clean cross-entropy on the test split, by the native AutoPGD on the
    loss. Through ART also the gap at the points that it returns (its random start where it failed), to compare with
    published numbers. Beside them stand signs of whether the attack can be trusted (study.trial.measures.trust and
    masking). Rows name their attack. A net of chance is attacked as its mean over `eot` draws; ValueError for one
    without them, and for a net whose logits depend on the batch.
    """
    return [r for split in config.splits for r in _on_split(state, config, split)]


def _on_split(state: State, config: Robustness, split: str) -> list[Row]:
    """The rows of one split; each split, each named data set and each attack has random streams of its own."""
    assert state.net is not None
    x, y = (part.to(state.device) for part in state.on(config.on).split(split)[: config.images or None])
    plain = folded(state.net.eval(), x[:8])
    at: dict[str, Any] = {"norm": config.norm, "split": split, "n": len(y)} | ({"on": config.on} if config.on else {})
    stream = config.norm + (f" on {config.on}" if config.on else "") + ("" if split == "test" else f" {split}")
    net = steady(plain, x, config.eot, seed_for(state.seed, f"draws {stream}"))
    with torch.no_grad():
        logits = memory.logits(net, x)
        clean = float(right(logits, y).double().mean())
        loss = float(cross_entropy(logits, y))
    rows, attack, by = [], attack_of(config), names_of(config)
    for eps in dict.fromkeys(config.eps):
        where = at | {"eps": eps}

        def seed(purpose: str, eps: float = eps) -> int:
            return seed_for(state.seed, f"{purpose} {stream} {eps!r}")

        generator = torch.Generator().manual_seed(seed("attack"))
        found = attack(net, x, y, eps, config.norm, generator=generator)
        robust = float(found.robust.double().mean())
        own = where | {"attack": by["own"]}
        rows.append(row("robust_accuracy", robust, **own))
        rows.append(row("relative_robust_accuracy", robust / clean if clean > 0 else 0.0, **own))
        rows += trust.converged(found, config, own) + trust.confirmed(net, x, y, found, own)
        if config.backend == "art":
            rows.append(row("loss_gap", float(found.loss.double().mean()) - loss, **own))
        if eps in config.gap_eps:
            first = split == config.splits[0]
            rows += gap(net, plain, x, y, loss, config, where | {"attack": by["gap"]}, seed("gap"), bounds=first)
            if config.audit_queries:
                asked, some = where | {"attack": by["square"]}, slice(config.audit_images or None)
                rows += masking.audit(net, x[some], y[some], found.robust, config.audit_queries, seed("audit"), asked)
    if not config.checks:
        return rows
    signs = masking.checks(net, x, y, attack, config.eps, at, seed_for(state.seed, f"masking {stream}"), by)
    # of a net of chance two looks at the clean points differ, whatever the attack does
    return rows + [r for r in signs if net is plain or r["measure"] != "zero_eps_agrees"]


def names_of(config: Robustness) -> dict[str, str]:
    """The names of the attacks of a measure in its rows, as this version computes them: its own, and the native AutoPGD
    on the loss, PGD and Square beside it."""
    return {
        "own": current(config.backend, config.attack),
        "gap": current("native", "apgd"),
        "pgd": current("native", "pgd"),
        "square": current("native", "square"),
    }
