"""Adversarial examples for training: cheap, made batch by batch, from the run's own random stream.

Unlike study.attacks these keep no worst point and count nothing: a training step wants a good ascent, and fast.
"""

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from study.attacks import ball
from study.nets.net import Net
from study.spec.config import Train
from study.trial import optimise


def perturb(net: Net, x: Tensor, y: Tensor, config: Train, generator: torch.Generator) -> Tensor:
    """Adversarial points (N, C, H, W) by projected ascent on the cross-entropy from one random start.

    x (N, C, H, W) in [0, 1], y (N,); `train_steps` steps of 2.5 eps / steps (Madry et al. 2018), or for fgsm_rs one of
    1.25 eps (Wong et al. 2020), inside ball and box. Made in eval mode, gradients to the inputs alone; each
    module's mode, and what its weights had, are put back.
    """
    eps, norm = config.train_eps, config.train_norm
    steps, size = (
        (1, 1.25 * eps) if config.train_attack == "fgsm_rs" else (config.train_steps, 2.5 * eps / config.train_steps)
    )
    point = ball.into_box(x, ball.random_delta(x, eps, norm, generator), eps, norm)
    low, high = (x - eps).clamp_min_(0.0), (x + eps).clamp_max_(1.0)
    with ball.frozen(net):  # weights that ask for no gradient spare a ResNet18 a fourteenth of the ascent
        for _ in range(steps):
            point.requires_grad_(True)
            with optimise.autocast(config, x.device):
                loss = cross_entropy(net(point).float(), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, point)
            point = point.detach()
            if (
                norm == "linf"
            ):  # ball and box are one box: a few passes over memory fewer, a sixth of a small net's step
                torch.clamp(point.add_(gradient.sign_(), alpha=size), low, high, out=point)
            else:
                point = ball.into_box(x, point + size * ball.steepest(gradient, norm) - x, eps, norm)
    return point


def inputs(net: Net, x: Tensor, y: Tensor, config: Train, generator: torch.Generator) -> Iterator[Tensor]:
    """What a training step sees of a batch: the batch with a random share rho of it replaced by adversarial points.

    One yield is one optimiser step. `free` (Shafahi et al. 2019) replays the batch train_steps times, and reads the
    ascent direction off the gradient that the caller's backward pass leaves on the yielded tensor.
    """
    count = round(config.adversarial_ratio * len(x))
    if count == 0:
        yield x
        return
    rows = torch.randperm(len(x), generator=generator)[:count].to(x.device)
    mixed = x.clone()
    if config.train_attack != "free":
        mixed[rows] = perturb(net, x[rows], y[rows], config, generator)
        yield mixed
        return
    eps, norm = config.train_eps, config.train_norm
    clean = x[rows]
    point = ball.into_box(clean, ball.random_delta(clean, eps, norm, generator), eps, norm)
    for _ in range(config.train_steps):
        mixed = mixed.detach()
        mixed[rows] = point
        yield mixed.requires_grad_(True)
        assert mixed.grad is not None
        point = ball.into_box(clean, point + eps * ball.steepest(mixed.grad[rows], norm) - clean, eps, norm)


def at_epoch(config: Train, epoch: int) -> Train:
    """The configuration of an epoch (from 0 on): over the first train_warmup epochs the radius grows in even steps, so
    that a net is not lost at the level of chance before it knows anything."""
    share = min(1.0, (epoch + 1) / (config.train_warmup + 1))
    return config if share == 1 else dataclasses.replace(config, train_eps=share * config.train_eps)


def passes(config: Train, n: int) -> int:
    """Forward and backward passes over single images that a training step on a batch of n images makes, its adversary's
    steps included."""
    count = round(config.adversarial_ratio * n)
    if config.train_attack == "free":
        return n * (config.train_steps if count else 1)
    return n + count * (1 if config.train_attack == "fgsm_rs" else config.train_steps)


def crop_flip(x: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Each image moved by up to `padding` pixels (zeros come in) and mirrored with probability 1/2; (N, C, H, W)."""
    n, _, height, width = x.shape
    padded = torch.nn.functional.pad(x, (padding,) * 4)
    down, across = (torch.randint(2 * padding + 1, (n, 1), generator=generator).to(x.device) for _ in range(2))
    columns = torch.arange(width, device=x.device).expand(n, -1)
    mirrored = (torch.rand(n, 1, generator=generator) < 0.5).to(x.device)
    columns = torch.where(mirrored, width - 1 - columns, columns) + across
    rows = torch.arange(height, device=x.device) + down
    image = torch.arange(n, device=x.device)[:, None, None]
    return padded.transpose(1, 3).transpose(1, 2)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


AUGMENTATIONS = {"": None, "crop_flip": crop_flip}
