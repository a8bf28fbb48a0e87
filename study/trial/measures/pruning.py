"""Pruning curves: the net as trained, pruned to one share after the other, with and without an attack."""

import torch
from torch import Tensor

from study.nets.compression.shares import pruned
from study.nets.fold import folded
from study.nets.net import Net
from study.nets.steady import steady
from study.spec.attack_names import current
from study.spec.config import PruningCurve, Robustness
from study.spec.identity import seed_for
from study.spec.rows import Row, row
from study.trial.measures.robustness import attack_of
from study.trial.state import State
from study.trial.train import evaluate


def pruning_curve(state: State, config: PruningCurve) -> list[Row]:
    """pruned_accuracy (relative_: over the net's own), pruned_robust_accuracy and pruned_kept at each target share
    (`kept`) of each way (`pruning`).

    The attack is on the pruned net, on all test images, with the random stream that Robustness gives the net as
    trained: at share 1 both find the same. pruned_kept is the share that is really kept (nets.compression.shares).
    """
    assert state.net is not None
    assert state.data is not None
    test = state.data.test
    x, y = (part.to(state.device) for part in test[:])
    clean = evaluate(state.net, test)[0]
    attacks = [
        Robustness(norm=norm, eps=(eps,), iterations=config.iterations, restarts=config.restarts,
                   backend=config.backend, attack=config.attack, eot=config.eot)
        for norm, eps in (("linf", config.eps_linf), ("l2", config.eps_l2))
    ]  # fmt: skip
    by, rows, shares = current(config.backend, config.attack), [], list(dict.fromkeys(config.kept))
    whole: list[float] = []  # at share 1 every way has the net itself
    for method in config.methods:
        for share, (net, kept) in zip(shares, pruned(state.net, method, shares), strict=True):
            at = {"pruning": method, "kept": share}
            values = whole if share == 1 else []
            if not values:
                values += [evaluate(net, test)[0], *(_robust(state, net, x, y, attack) for attack in attacks)]
            on = at | {"split": "test", "n": len(y)}
            rows += [row("pruned_kept", kept, **at), row("pruned_accuracy", values[0], **on)]
            rows.append(row("relative_pruned_accuracy", values[0] / clean if clean > 0 else 0.0, **on))
            rows += [
                row("pruned_robust_accuracy", robust, **on, norm=attack.norm, eps=attack.eps[0], attack=by)
                for robust, attack in zip(values[1:], attacks, strict=True)
            ]
    return rows


def _robust(state: State, net: Net, x: Tensor, y: Tensor, config: Robustness) -> float:
    """Robust accuracy of a net at the one budget of `config`."""
    net = folded(net.eval(), x[:8])
    (eps,) = config.eps
    held = steady(net, x, config.eot, seed_for(state.seed, f"draws {config.norm}"))
    generator = torch.Generator().manual_seed(seed_for(state.seed, f"attack {config.norm} {eps!r}"))
    found = attack_of(config)(held, x, y, eps, config.norm, generator=generator)
    return float(found.robust.double().mean())
