"""One climb of AutoPGD (Croce and Hein 2020, Algorithm 1): momentum, and step sizes that adapt sample by sample."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from study.attacks import ball
from study.attacks.losses import Loss, log_odds, right
from study.attacks.record import Record

MOMENTUM = 0.75
RHO = 0.75  # a step size is kept while more than this share of its steps raised the loss
# Soft logits find the rival class, hard ones reach it: from the checkpoint at SOFT of a climb on their margin at the
# clean point is HARD times MARGIN. Both are set from the logits themselves, so that their scale is of no account. Float
# nets (digits and MNIST, 9 kinds, both norms, 200 images, 20 iterations) against targeted DLR with 9 targets and 50
# iterations: .8 points more images robust, 1.1 with margins of 3 and 12, 1.2 with 10 and 20, 1.5 with 20 throughout.
MARGIN, HARD, SOFT = 5.0, 2.0, 0.4
TIE = 1e-5  # of the loss: a net of few levels gives many points the same logits, and rounding is no rise
CROWD = 16  # fallen samples leave the batch once they are one in CROWD: leaving copies the whole state


@dataclass(frozen=True)
class Plan:
    """What a climb is told: the ball, the loss, whether fooled samples retire, and the net to climb on.

    `net` is None for the judging net itself. Else it is a stand-in, and `trust` says what its logits are worth: "all",
    they are the judging net's own; "hits", the judging net looks at points that fool the stand-in; "none", at all.
    """

    eps: float
    norm: str
    iterations: int
    loss: Loss
    retire: bool
    net: nn.Module | None = None
    trust: str = "all"


def checkpoints(iterations: int) -> Iterator[int]:
    """The steps ceil(p_j N) after which step sizes are reconsidered: p_1 = .22, gaps shrink by .03 down to .06."""
    before, p = 0, 22  # in hundredths: 0.57 N is not to be rounded up by round-off
    while p <= 100:
        yield -(-p * iterations // 100)
        before, p = p, p + max(p - before - 3, 6)


@dataclass
class _State:
    """The samples being climbed, one row each: where they are, where they were, and the best they have seen.

    The loss is that of the logits over `temperature`, (N, 1).
    """

    index: Tensor
    x: Tensor
    temperature: Tensor
    low: Tensor | None
    high: Tensor | None
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


def climb(record: Record, index: Tensor, start: Tensor, plan: Plan, target: Tensor | None = None) -> None:
    """Algorithm 1 on the samples in `index` from `start`; what it finds goes into the record."""
    state = _begin(record, index, start, plan, target)
    marks, last = set(checkpoints(plan.iterations)), 0
    for k in range(1, plan.iterations + 1):
        if plan.retire and not len(_shed(state, always=k - 1 in marks)):
            return
        state.before, state.point = state.point, _move(state, plan, MOMENTUM if k > 1 else 1.0)
        before = state.value
        logits = _look(record, state, plan, gradient=k < plan.iterations)
        state.rises += state.value > before + TIE
        _keep_best(state, logits)
        _judge(record, state, logits, plan)
        if k in marks:
            _reconsider(state, k - last)
            if last < SOFT * plan.iterations <= k:
                _harden(state, record, plan)
            last = k
    if plan.retire:
        # the fallen have had their say: how long one stayed here depends on its neighbours in the batch
        state.keep((~state.fallen).nonzero()[:, 0])
        if plan.trust == "all":
            record.judge(state.index, state.best, state.best_logits)
        elif plan.trust == "hits" and len(state.index):
            record.look(state.index, state.best)


def _begin(record: Record, index: Tensor, start: Tensor, plan: Plan, target: Tensor | None) -> _State:
    x, eps = record.x[index], plan.eps
    low, high = ((x - eps).clamp_min_(0), (x + eps).clamp_max_(1)) if plan.norm == "linf" else (None, None)
    none = torch.zeros(len(x), device=x.device)
    # ratios do not need it, but with two or three classes they are plain differences, of which TIE is a part
    temperature = ball.temperature(record.clean[index], MARGIN)
    if not plan.retire:
        temperature.clamp_min_(1.0)
    state = _State(
        index=index,
        x=x,
        temperature=temperature[:, None],
        low=low,
        high=high,
        target=target,
        step=ball.per_sample(torch.full_like(none, 2 * eps), x),
        point=start,
        before=start,
        value=none,
        gradient=x,
        best=start,
        best_logits=none,
        best_value=none,
        best_gradient=x,
        rises=none.clone(),
        mark=none,
        halved=none.bool(),
        fallen=none.bool(),
    )
    state.point = state.before = _project(state, start.clone(), plan)
    state.best_logits = _look(record, state, plan, gradient=True)
    state.best, state.best_value, state.best_gradient = state.point.clone(), state.value.clone(), state.gradient.clone()
    state.mark = state.value.clone()
    _judge(record, state, state.best_logits, plan)
    return state


def _move(state: _State, plan: Plan, momentum: float) -> Tensor:
    """z = P(x_k + step d), then P(x_k + a (z - x_k) + (1 - a)(x_k - x_{k-1})): the next point, inside ball and box."""
    direction = ball.steepest(state.gradient, plan.norm).mul_(state.step)
    z = _project(state, direction.add_(state.point), plan)
    if momentum == 1.0:
        return z
    z = z.mul_(momentum).add_(state.point, alpha=2 - 2 * momentum).sub_(state.before, alpha=1 - momentum)
    return _project(state, z, plan)


def _project(state: _State, point: Tensor, plan: Plan) -> Tensor:
    if plan.norm == "linf":
        return torch.clamp(point, state.low, state.high, out=point)
    return ball.into_box(state.x, point - state.x, plan.eps, plan.norm)


def _look(record: Record, state: _State, plan: Plan, gradient: bool) -> Tensor:
    """Evaluate the points and count the passes; the logits. The last point of a climb needs no gradient."""
    point = state.point.detach().requires_grad_(gradient)
    with torch.set_grad_enabled(gradient):
        logits: Tensor = (plan.net or record.model)(point)
        value = plan.loss(logits / state.temperature, record.y[state.index], state.target)
    if gradient:
        state.gradient = torch.autograd.grad(value.sum(), point)[0]
        record.backward[state.index] += 1
    record.forward[state.index] += 1
    state.value = value.detach()
    return logits.detach()


def _keep_best(state: _State, logits: Tensor) -> None:
    better = state.value > state.best_value + TIE
    for best, now in (
        (state.best, state.point),
        (state.best_gradient, state.gradient),
        (state.best_logits, logits),
        (state.best_value, state.value),
    ):
        ball.put(best, now, better)


def _judge(record: Record, state: _State, logits: Tensor, plan: Plan) -> None:
    """Tell the record: every point where losses are wanted, newly fooled samples alone where the mask is."""
    if plan.trust == "none":
        logits = record.look(state.index, state.point)
    elif not plan.retire:
        record.judge(state.index, state.point, logits)
    fooled = ~right(logits, record.y[state.index])
    fell = fooled & ~state.fallen
    if plan.retire and plan.trust == "all":
        record.judge(state.index, state.point, logits, fell)
    elif plan.trust == "hits" and bool(fell.any()):
        record.look(state.index[fell], state.point[fell])  # where the hit was a rounding, a float32 climb follows
    state.fallen |= fooled


def _shed(state: _State, always: bool) -> Tensor:
    """Retire the fallen once they crowd the batch (on a GPU, where counting them waits for the device, at checkpoints
    only); the rows still climbed."""
    if always or state.x.device.type == "cpu":
        count = int(state.fallen.sum())
        if count * CROWD > len(state.x) or (always and count):
            state.keep((~state.fallen).nonzero()[:, 0])
    return state.index


def _harden(state: _State, record: Record, plan: Plan) -> None:
    """Lower the temperature for the rest of the climb, which goes on from the best point and its loss as it now is.

    Where losses are wanted, not masks, it ends at the logits as they are: the loss has the scale that the net gives it.
    """
    if plan.loss is not log_odds:
        return
    state.temperature = state.temperature / HARD if plan.retire else torch.ones_like(state.temperature)
    state.best_value = plan.loss(state.best_logits / state.temperature, record.y[state.index], None)
    state.mark, state.value = state.best_value.clone(), state.best_value.clone()
    state.point, state.gradient = state.best.clone(), state.best_gradient.clone()


def _reconsider(state: _State, steps: int) -> None:
    """Halve the step size, and go back to the best point, where too few of the last `steps` steps raised the loss, or
    where the best loss has not moved since a checkpoint that kept the step size."""
    halve = (state.rises < RHO * steps) | (~state.halved & (state.best_value <= state.mark + TIE))
    state.step = torch.where(ball.per_sample(halve, state.step), state.step / 2, state.step)
    ball.put(state.point, state.best, halve)
    ball.put(state.gradient, state.best_gradient, halve)
    ball.put(state.value, state.best_value, halve)
    state.halved, state.mark = halve, state.best_value.clone()
    state.rises.zero_()
