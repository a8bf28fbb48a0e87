"""What an attack climbs: functions of logits (N, K) and labels (N,), one value per sample, larger is worse for the net.

None of them saturates: `log_odds` orders points as the cross-entropy does, but keeps a gradient where float32
cross-entropy is exactly 0.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from study.attacks.ball import check_choice

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def _of(logits: Tensor, index: Tensor) -> Tensor:
    return logits.gather(1, index[:, None])[:, 0]


def _others(logits: Tensor, y: Tensor) -> Tensor:
    return logits.scatter(1, y[:, None], -torch.inf)


def right(logits: Tensor, y: Tensor) -> Tensor:
    """Which samples are classified rightly, (N,); logits with a NaN among them never are."""
    top = logits.argmax(1)  # a NaN where there is one
    return (top == y) & ~_of(logits, top).isnan()


def log_odds(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """u = log sum_{j != y} exp(z_j) - z_y, so that cross-entropy = log(1 + e^u).

    The logarithm grows with u, hence sign(g), g / ||g||_2 and every comparison of losses are those of cross-entropy.
    """
    return _others(logits, y).logsumexp(1) - _of(logits, y)


def margin(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """max_{j != y} z_j - z_y: positive where the label is not predicted (Carlini and Wagner 2017)."""
    return _others(logits, y).amax(1) - _of(logits, y)


def dlr(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """Difference of logits ratio: (max_{j != y} z_j - z_y) / (z_1 - z_3), logits sorted downwards.

    Croce and Hein 2020, equation 6; free of the logits' scale. With fewer than three classes there is no third logit
    and the margin itself is returned.
    """
    if logits.shape[1] < 3:
        return margin(logits, y)
    top = logits.topk(3, dim=1).values
    return margin(logits, y) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """(z_t - z_y) / (z_1 - (z_3 + z_4) / 2) for a target class t per sample (Croce and Hein 2020, equation 7).

    With fewer than four classes the difference z_t - z_y itself. Raises ValueError without targets.
    """
    if target is None:
        raise ValueError("targeted_dlr needs a target class per sample")
    difference = _of(logits, target) - _of(logits, y)
    if logits.shape[1] < 4:
        return difference
    top = logits.topk(4, dim=1).values
    return difference / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


LOSSES: dict[str, Loss] = {"ce": log_odds, "dlr": dlr, "margin": margin}


def untargeted(loss: str) -> Loss:
    """The loss of a name; ValueError with the names there are."""
    check_choice("loss", loss, LOSSES)
    return LOSSES[loss]


def likely_targets(logits: Tensor, y: Tensor, count: int) -> list[Tensor]:
    """The `count` most likely wrong classes of each sample (all where there are fewer), one tensor (N,) each."""
    ranked = _others(logits, y).argsort(dim=1, descending=True)
    return list(ranked[:, : min(count, logits.shape[1] - 1)].unbind(1))
