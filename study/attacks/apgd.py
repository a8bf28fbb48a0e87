"""AutoPGD: gradient ascent with momentum whose step sizes adapt sample by sample (Croce and Hein 2020, Algorithm 1)."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from study.attacks import ball, certificate, losses
from study.attacks.ball import Result
from study.attacks.losses import Loss
from study.attacks.record import Record

MOMENTUM = 0.75
RHO = 0.75  # a step size is kept while more than this share of its steps raised the loss
CROWD = 16  # fallen samples leave the batch once they are one in CROWD: leaving copies the whole state


def apgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    iterations: int = 100,
    restarts: int = 1,
    loss: str = "ce",
    targets: int = 0,
    goal: str = "robust",
    certify: bool = False,
    batch_size: int = 256,
    generator: torch.Generator,
) -> Result:
    """AutoPGD on the cross-entropy ("ce"), the difference of logits ratio ("dlr") or, with `targets` > 0, targeted DLR.

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units (0 gives the clean point). Each restart begins at a random
    point on the ball's edge; `iterations` steps cost one forward and one backward pass each, and one forward pass at
    the start; every iterate counts. Targeted DLR does this for each of the `targets` most likely wrong classes.
    goal "robust": only the mask is wanted, a fooled sample is retired and `worst` is the highest point of the climbed
    loss until then. goal "loss": every sample is climbed to the end and `worst` has the highest cross-entropy seen.
    `certify` spares samples that a certificate proves safe (goal "robust" only): the mask is the same, their `worst`
    is the clean point. Raises ValueError naming the argument that is out of range, TypeError for a net that
    certificates do not handle.
    """
    ball.check(x, y, eps, norm)
    ball.check_counts(iterations=iterations, restarts=restarts, batch_size=batch_size)
    ball.check_choice("goal", goal, ("robust", "loss"))
    if certify and goal != "robust":
        raise ValueError(f"certify proves masks, not losses: goal must be robust, got {goal!r}")
    climbed = losses.targeted_dlr if targets else losses.untargeted(loss)
    with ball.frozen(model):
        record = Record(model, x, y)
        retire = goal == "robust"
        proven = certificate.safe(model, x, y, eps, norm) if certify else torch.zeros_like(record.robust)
        for _ in range(restarts if eps > 0 else 0):
            for target in losses.likely_targets(record.clean, y, targets) if targets else (None,):
                left = (record.robust & ~proven).nonzero()[:, 0] if retire else record.all
                for index in left.split(batch_size) if len(left) else ():
                    start = ball.random_edge(x[index], eps, norm, generator)
                    aim = None if target is None else target[index]
                    _climb(record, index, x[index] + start, eps, norm, iterations, climbed, aim, retire)
    return record.result()


def checkpoints(iterations: int) -> Iterator[int]:
    """The steps ceil(p_j N) after which step sizes are reconsidered: p_1 = .22, gaps shrink by .03 down to .06."""
    before, p = 0, 22  # in hundredths: 0.57 N is not to be rounded up by round-off
    while p <= 100:
        yield -(-p * iterations // 100)
        before, p = p, p + max(p - before - 3, 6)


@dataclass
class _State:
    """The samples being climbed, one row each: where they are, where they were, and the best they have seen."""

    index: Tensor
    x: Tensor
    low: Tensor
    high: Tensor
    target: Tensor | None
    step: Tensor
    point: Tensor
    before: Tensor
    value: Tensor
    gradient: Tensor
    best: Tensor
    best_logits: Tensor
    best_value: Tensor
    best_gradient: Tensor
    rises: Tensor
    mark: Tensor
    halved: Tensor
    fallen: Tensor

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        for field in fields(self):
            value = getattr(self, field.name)
            setattr(self, field.name, None if value is None else value[rows])


def _climb(
    record: Record,
    index: Tensor,
    start: Tensor,
    eps: float,
    norm: str,
    iterations: int,
    loss: Loss,
    target: Tensor | None,
    retire: bool,
) -> None:
    """Algorithm 1 on the samples in `index`; what it finds goes into the record."""
    state = _begin(record, index, start, eps, norm, loss, target)
    marks, last = set(checkpoints(iterations)), 0
    for k in range(1, iterations + 1):
        if retire and not len(_shed(state, always=k - 1 in marks)):
            return
        momentum = MOMENTUM if k > 1 else 1.0
        state.before, state.point = state.point, _move(state, eps, norm, momentum)
        logits = _look(record, state, loss, gradient=k < iterations)
        _keep_best(state, logits)
        _judge(record, state, logits, retire)
        if k in marks:
            _reconsider(state, k - last)
            last = k
    if retire:
        record.judge(state.index, state.best, state.best_logits)


def _begin(
    record: Record, index: Tensor, start: Tensor, eps: float, norm: str, loss: Loss, target: Tensor | None
) -> _State:
    x = record.x[index]
    low, high = ((x - eps).clamp_min_(0), (x + eps).clamp_max_(1)) if norm == "linf" else (x, x)
    point = start.clamp(low, high) if norm == "linf" else ball.into_box(x, start - x, eps, norm)
    logits, value, gradient = record.climb(index, point, loss, target)
    return _State(
        index=index,
        x=x,
        low=low,
        high=high,
        target=target,
        step=ball.per_sample(torch.full((len(x),), 2.0 * eps, device=x.device), x),
        point=point,
        before=point,
        value=value,
        gradient=gradient,
        best=point.clone(),
        best_logits=logits,
        best_value=value.clone(),
        best_gradient=gradient.clone(),
        rises=torch.zeros(len(x), device=x.device),
        mark=value.clone(),
        halved=torch.zeros(len(x), dtype=torch.bool, device=x.device),
        fallen=~record.robust[index],
    )


def _move(state: _State, eps: float, norm: str, momentum: float) -> Tensor:
    """z = P(x_k + step d), then P(x_k + a (z - x_k) + (1 - a)(x_k - x_{k-1})): the next point, inside ball and box."""
    direction = ball.steepest(state.gradient, norm).mul_(state.step)
    z = _project(state, direction.add_(state.point), eps, norm)
    if momentum == 1.0:
        return z
    z = z.mul_(momentum).add_(state.point, alpha=2 - 2 * momentum).sub_(state.before, alpha=1 - momentum)
    return _project(state, z, eps, norm)


def _project(state: _State, point: Tensor, eps: float, norm: str) -> Tensor:
    if norm == "linf":
        return torch.clamp(point, state.low, state.high, out=point)
    return ball.into_box(state.x, point - state.x, eps, norm)


def _look(record: Record, state: _State, loss: Loss, gradient: bool) -> Tensor:
    """Evaluate the points, count the passes and the rises; the logits. The last point of a climb needs no gradient."""
    point = state.point.detach().requires_grad_(gradient)
    with torch.set_grad_enabled(gradient):
        logits: Tensor = record.model(point)
        value = loss(logits, record.y[state.index], state.target)
    if gradient:
        state.gradient = torch.autograd.grad(value.sum(), point)[0]
        record.backward[state.index] += 1
    record.forward[state.index] += 1
    value = value.detach()
    state.rises += value > state.value
    state.value = value
    return logits.detach()


def _keep_best(state: _State, logits: Tensor) -> None:
    rows = (state.value > state.best_value).nonzero()[:, 0]
    for best, now in (
        (state.best, state.point),
        (state.best_gradient, state.gradient),
        (state.best_logits, logits),
        (state.best_value, state.value),
    ):
        best[rows] = now[rows]


def _judge(record: Record, state: _State, logits: Tensor, retire: bool) -> None:
    """Tell the record: every point where losses are wanted, newly fooled samples alone where the mask is."""
    if not retire:
        record.judge(state.index, state.point, logits)
        return
    fooled = logits.argmax(1) != record.y[state.index]
    rows = (fooled & ~state.fallen).nonzero()[:, 0]
    record.judge(state.index[rows], state.point[rows], logits[rows])
    state.fallen |= fooled


def _shed(state: _State, always: bool) -> Tensor:
    """Retire the fallen once they crowd the batch (on a GPU, where counting them waits for the device, at checkpoints
    only); the rows still climbed."""
    if always or state.x.device.type == "cpu":
        count = int(state.fallen.sum())
        if count * CROWD > len(state.x) or (always and count):
            state.keep((~state.fallen).nonzero()[:, 0])
    return state.index


def _reconsider(state: _State, steps: int) -> None:
    """Halve the step size, and go back to the best point, where too few of the last `steps` steps raised the loss, or
    where the best loss has not moved since a checkpoint that kept the step size."""
    halve = (state.rises < RHO * steps) | (~state.halved & (state.best_value == state.mark))
    rows = halve.nonzero()[:, 0]
    state.step[rows] /= 2
    state.point[rows] = state.best[rows]
    state.gradient[rows] = state.best_gradient[rows]
    state.value[rows] = state.best_value[rows]
    state.halved, state.mark = halve, state.best_value.clone()
    state.rises.zero_()
