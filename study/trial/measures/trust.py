"""Has an attack converged, and does what it found hold? Rows beside a robust accuracy."""

from typing import Any

from torch import Tensor, nn

from study.attacks.ball import Result
from study.attacks.recheck import recheck
from study.spec.config import Robustness
from study.spec.rows import Row, row

# Forward passes of one restart beside its iterations, of the native attacks that climb from start to end. The others
# have no half: AutoAttack is several attacks, FGSM one step, Carlini and Wagner search, Square asks; the toolbox's
# passes are a batch's mean.
BESIDE = {"apgd": 1, "apgd_dlr": 1, "pgd": 2}


def converged(found: Result, config: Robustness, where: dict[str, Any]) -> list[Row]:
    """late_falls and robust_accuracy_half of a native climbing attack; nothing for any other, or below 4 iterations.

    late_falls: the share of images first fooled in the last quarter of the attack's forward passes.
    robust_accuracy_half: what robust accuracy stood at when half of them were spent. Both are of all restarts together,
    one after the other (and of the several climbs of a restart on a net of few levels), and of this attack's own
    schedule of steps: a run planned for half as many iterations would end lower. Where no image is left the passes are
    those that were spent.
    """
    if config.backend != "native" or config.attack not in BESIDE or config.iterations < 4:
        return []
    planned = config.restarts * (config.iterations + BESIDE[config.attack])
    passes = max(planned, int(found.forward.max()) - 1)  # the look at the clean point is no attack's
    late = found.fell > 0.75 * passes
    half = (found.fell < 0) | (found.fell > 0.5 * passes)
    return [
        row("late_falls", float(late.double().mean()), **where),
        row("robust_accuracy_half", float(half.double().mean()), **where),
    ]


def confirmed(net: nn.Module, x: Tensor, y: Tensor, found: Result, where: dict[str, Any]) -> list[Row]:
    """unconfirmed_share: the share of images (of all) whose adversarial point does not hold in a second look, at
    another batch size and, for a net of chance, with fresh draws."""
    bad = recheck(net, x, y, where["eps"], where["norm"], found)
    return [row("unconfirmed_share", float(bad.double().mean()), **where)]
