"""AutoAttack: several attacks one after the other, each on what the ones before it left (Croce and Hein 2020)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from study.attacks import ball
from study.attacks.apgd import apgd
from study.attacks.ball import Result
from study.attacks.fab import fab
from study.attacks.record import Record
from study.attacks.square import square

VERSIONS = ("standard", "pair")


def autoattack(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    version: str = "standard",
    iterations: int = 100,
    restarts: int = 1,
    queries: int = 5000,
    batch_size: int = 0,
    generator: torch.Generator,
) -> Result:
    """The standard four: APGD-CE, targeted APGD-DLR, FAB-T and Square; or the pair APGD-CE and APGD-DLR (paper C).

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units (0 gives the clean point). `iterations` and `restarts` hold for
    each gradient attack (9 targets each where there are that many classes), `queries` for Square. Only the mask is
    sought: samples are retired as they fall. batch_size 0: what memory holds.
    Raises ValueError for a version or a count out of range.
    """
    ball.check(x, y, eps, norm)
    ball.check_choice("version", version, VERSIONS)
    ball.check_counts(iterations=iterations, restarts=restarts, queries=queries)
    count = {"iterations": iterations, "restarts": restarts}
    with ball.frozen(model):
        record = Record(model, x, y, batch_size)
        for attack, options in _parts(version, count, queries) if eps > 0 else ():
            left = record.left()
            if len(left):
                found = attack(
                    model, x[left], y[left], eps, norm, **options, batch_size=batch_size, generator=generator
                )
                record.merge(left, found)
    return record.result()


def _parts(version: str, count: dict[str, int], queries: int) -> list[tuple[Callable[..., Result], dict[str, Any]]]:
    if version == "pair":
        return [(apgd, count), (apgd, count | {"loss": "dlr"})]
    aimed = count | {"targets": 9}
    return [(apgd, count), (apgd, aimed), (fab, aimed), (square, {"queries": queries})]
