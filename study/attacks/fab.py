"""FAB-T: the nearest misclassified point, towards one class at a time (Croce and Hein 2020, "Minimally distorted")."""

import torch
from torch import Tensor, nn

from study.attacks import ball, draws
from study.attacks.ball import Result
from study.attacks.losses import Loss, likely_targets, right
from study.attacks.record import Record

ETA = 1.05  # overshoot beyond the linearised boundary
BIAS = 0.1  # most weight that the projection of the clean point gets
BACK = 0.9  # a point that fools the net is moved back to this share of its distance


def fab(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    iterations: int = 100,
    restarts: int = 1,
    targets: int = 9,
    batch_size: int = 0,
    generator: torch.Generator,
) -> Result:
    """Steps to the boundary between label and target linearised at the iterate, drawn towards the clean point.

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units (0 gives the clean point). For each of the `targets` most
    likely wrong classes, `iterations` forward and backward passes on the samples not yet fooled inside the ball.
    Iterates leave the ball; only points inside of it count. The first restart begins at the clean point, the others
    at half of the ball's radius. batch_size 0: what memory holds. Raises ValueError for a count out of range.
    """
    ball.check(x, y, eps, norm)
    ball.check_counts(iterations=iterations, restarts=restarts, targets=targets)
    with ball.frozen(model):
        record = Record(model, x, y, batch_size)
        for restart in range(restarts if eps > 0 else 0):
            for target in likely_targets(record.clean, y, targets):
                parts = record.parts(record.left())
                shifts = draws.edges(x, parts, eps / 2, norm, generator) if restart else [x.new_zeros(())] * len(parts)
                for index, shift in zip(parts, shifts, strict=True):
                    _walk(record, index, (x[index] + shift).clamp(0.0, 1.0), target[index], eps, norm, iterations)
    return record.result()


def _difference(target: Tensor) -> Loss:
    def loss(logits: Tensor, y: Tensor, _: Tensor | None = None) -> Tensor:
        return (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None]))[:, 0]

    return loss


def _walk(record: Record, index: Tensor, point: Tensor, target: Tensor, eps: float, norm: str, iterations: int) -> None:
    """One target's iterations; samples leave when they are fooled inside the ball."""
    x = record.x[index]
    for _ in range(iterations):
        inside = record.inside(index, point, eps, norm)
        logits, value, gradient = record.climb(index, point, _difference(target), inside=inside)
        kept = record.robust[index].nonzero()[:, 0]
        if not len(kept):
            return
        fooled = ~right(logits, record.y[index])
        index, x, point, target = index[kept], x[kept], point[kept], target[kept]
        value, gradient, fooled = value[kept], gradient[kept], fooled[kept]
        # a fooling point outside of the ball is drawn back before the next linearisation counts
        back = ball.per_sample(torch.where(fooled, BACK, 1.0), x)
        point = _step(x, point, value, gradient, norm, x + back * (point - x))
    record.look(index, point, record.inside(index, point, eps, norm))


def _step(x: Tensor, point: Tensor, value: Tensor, gradient: Tensor, norm: str, begin: Tensor) -> Tensor:
    """The biased step with overshoot: a mean of the moves of `begin` and x to the hyperplane f = 0 around `point`."""
    shape = x.shape
    w, flat = gradient.flatten(1), point.flatten(1)
    level = value - (w * flat).sum(1)
    here = to_hyperplane(begin.flatten(1), w, level, norm).view(shape)
    origin = to_hyperplane(x.flatten(1), w, level, norm).view(shape)
    a, b = ball.lengths(here, norm), ball.lengths(origin, norm)
    share = ball.per_sample((a / (a + b).clamp_min(1e-12)).clamp(0.0, BIAS), x)
    return ((1 - share) * (begin + ETA * here) + share * (x + ETA * origin)).clamp(0.0, 1.0)


def to_hyperplane(x: Tensor, w: Tensor, level: Tensor, norm: str) -> Tensor:
    """The shortest d with w.(x + d) + level = 0 and x + d in [0, 1], or the longest useful d where there is none.

    x, w (N, D), level (N,). Pixel i moves at speed s_i (1 for l_inf, |w_i| for l_2) towards the hyperplane until it
    meets the box at time t_i = room_i / s_i; the gain sum_i |w_i| min(t s_i, room_i) is concave and piecewise linear
    in t, and the t that closes the gap is read off its sorted corners.
    """
    gap = (w * x).sum(1) + level
    way = -w.sign() * gap.sign()[:, None]
    room = torch.where(way > 0, 1 - x, x)
    speed = (torch.ones_like(w) if norm == "linf" else w.abs()).masked_fill(w == 0, 0.0)
    time = torch.where(speed > 0, room / speed.clamp_min(1e-30), 0.0)
    order = time.argsort(1)
    corner = time.gather(1, order)
    slope = (w.abs() * speed).gather(1, order)
    spent = (slope * corner).cumsum(1)
    rate = (slope.sum(1, keepdim=True) - slope.cumsum(1)).clamp_min(0.0)
    need = gap.abs()[:, None]
    # on the segment before corner k the pixels sorted before k stand at the box and the others still move
    before = torch.searchsorted((spent + corner * rate).contiguous(), need).clamp_max(x.shape[1] - 1)
    stood = torch.where(before > 0, spent.gather(1, (before - 1).clamp_min(0)), 0.0)
    moving = torch.where(before > 0, rate.gather(1, (before - 1).clamp_min(0)), slope.sum(1, keepdim=True))
    t = ((need - stood) / moving.clamp_min(1e-30)).clamp_min(0.0)
    t = torch.minimum(t, corner[:, -1:])
    return way * torch.minimum(t * speed, room)
