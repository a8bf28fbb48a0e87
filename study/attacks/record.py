"""What an attack has seen so far: every point it judges goes through here, so that every iterate counts."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from study.attacks import ball, memory
from study.attacks.ball import Result
from study.attacks.losses import Loss, log_odds, right
from study.attacks.precision import at_its_own


class Record:
    """First flip, worst point, mask and passes of N samples, begun with a look at the clean points.

    Opening one costs a forward pass; `model` must be frozen (ball.frozen). `batch_size` is how many images the model
    gets at once (0: what memory.images says).
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, batch_size: int = 0) -> None:
        self.model, self.x, self.y = at_its_own(model, x), ball.plain(x), ball.plain(y)
        ball.check_counts(batch_size=batch_size or 1)
        self.batch = batch_size or memory.images(self.model, x)
        self.first, self.worst = x.clone(), x.clone()
        self.loss = torch.full((len(x),), -torch.inf, device=x.device, dtype=x.dtype)
        self.robust = torch.ones(len(x), dtype=torch.bool, device=x.device)
        self.forward = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        self.backward = torch.zeros_like(self.forward)
        self.fell = torch.full_like(self.forward, -1)
        self.all = torch.arange(len(x), device=x.device)
        self.clean = self.logits(self.x)
        ball.check_labels(self.y, self.clean)
        self.forward += 1
        self.judge(self.all, self.x, self.clean)

    def left(self) -> Tensor:
        """The numbers of the samples that have not been fooled."""
        return self.robust.nonzero()[:, 0]

    def parts(self, index: Tensor | None = None) -> tuple[Tensor, ...]:
        """`index` (all samples by default) in pieces of the batch size; none where it is empty."""
        index = self.all if index is None else index
        return index.split(self.batch) if len(index) else ()

    @torch.no_grad()
    def logits(self, point: Tensor) -> Tensor:
        """The logits (n, K) of points, batch by batch; nothing is judged or counted."""
        if len(point) <= self.batch:
            out: Tensor = self.model(point)
            return out
        return torch.cat([self.model(part) for part in point.split(self.batch)])

    @torch.no_grad()
    def judge(
        self, index: Tensor, point: Tensor, logits: Tensor, inside: Tensor | None = None, passes: int = 0
    ) -> Tensor:
        """Count points (one per sample in `index`) of known logits; the mask of those that fool the net.

        Where `inside` is given, points outside of it count for nothing; nor does a point whose pixels are not all
        finite. A finite point with a NaN among its logits is misclassified, with an infinite loss. The points' own
        forward pass is counted already, or is the last of `passes` that are not.
        """
        y = self.y[index]
        sound = point.flatten(1).sum(1).isfinite()
        sound = sound if inside is None else sound & inside
        fooled = ~right(logits, y) & sound
        loss = softplus(log_odds(logits, y)).nan_to_num(torch.inf, torch.inf).to(self.loss.dtype)
        better = (loss > self.loss[index]) & sound
        ball.put(self.worst, point, better, index)
        ball.put(self.loss, loss, better, index)
        fell = fooled & self.robust[index]
        ball.put(self.first, point, fell, index)
        ball.put(self.fell, self.forward[index] + passes - 1, fell, index)
        self.robust[index] &= ~fooled
        return fooled

    @torch.no_grad()
    def look(self, index: Tensor, point: Tensor, inside: Tensor | None = None) -> Tensor:
        """One forward pass over points, judged; their logits (n, K)."""
        logits = self.logits(point)
        self.forward[index] += 1
        self.judge(index, point, logits, inside)
        return logits

    def climb(
        self, index: Tensor, point: Tensor, loss: Loss, target: Tensor | None = None, inside: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One forward and one backward pass: logits (n, K), loss values (n,) and the loss's gradient at the points.

        At most `batch` samples: their activations are all in memory. Values and gradients that are not finite are 0.
        """
        point = point.detach().requires_grad_(True)
        logits = self.model(point)
        value = loss(logits, self.y[index], target)
        gradient = torch.autograd.grad(value.sum(), point)[0]
        self.forward[index] += 1
        self.backward[index] += 1
        self.judge(index, point.detach(), logits.detach(), inside)
        return logits.detach(), ball.finite(value.detach()).to(point.dtype), ball.finite(gradient)

    def merge(self, index: Tensor, found: Result) -> None:
        """Count what another attack found on the samples in `index`."""
        better = (found.loss > self.loss[index]) & found.worst.flatten(1).sum(1).isfinite()
        ball.put(self.worst, found.worst, better, index)
        ball.put(self.loss, found.loss, better, index)
        fell = ~found.robust & self.robust[index] & found.first.flatten(1).sum(1).isfinite()
        ball.put(self.first, found.first, fell, index)
        ball.put(self.fell, self.forward[index] + found.fell, fell, index)
        self.robust[index] &= ~fell
        self.forward[index] += found.forward
        self.backward[index] += found.backward

    def inside(self, index: Tensor, point: Tensor, eps: float, norm: str) -> Tensor:
        """Which points lie in the ball; the box is the caller's."""
        return ball.lengths(point - self.x[index], norm) <= eps

    def result(self) -> Result:
        """What has been found."""
        return Result(
            first=self.first,
            worst=self.worst,
            loss=self.loss,
            robust=self.robust,
            forward=self.forward,
            backward=self.backward,
            fell=self.fell,
        )
