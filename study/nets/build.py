"""Networks by name. Normalisation is inside; the head is known by its place, never by its width."""

from collections.abc import Callable

import torch
from torch import nn

from study.nets import sources
from study.nets.fcn import fcn
from study.nets.net import Net, hidden_of
from study.spec import datasets
from study.spec.config import Build
from study.spec.errors import UsageError

Shape = tuple[int, int, int]


def build(config: Build, shape: Shape, classes: int, statistics: tuple[tuple[float, ...], ...], seed: int) -> Net:
    """An untrained network for images of `shape` (C, H, W), its weights drawn from `seed` alone.

    `statistics` are the per-channel mean and standard deviation. Raises UsageError for a user's function that does
    not return an nn.Module with a hidden layer and a head.
    """
    mean, std = statistics
    own = datasets.is_user_function(config.model)
    if not own and config.model not in BUILDERS:
        raise UsageError(f"unknown model {config.model!r}; choose from {', '.join(BUILDERS)} or package:function")
    size = 0 if own or config.model == "fcn" else max(32, shape[-1])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        make = _users if own else BUILDERS[config.model]
        body, hidden = make(config, shape, classes, size)
    return Net(body, mean, std, hidden, size)


Body = tuple[nn.Module, list[str]]  # and the names of its hidden layers


def _fcn(config: Build, shape: Shape, classes: int, size: int) -> Body:
    return fcn(shape, classes, config.width, config.depth)


def _resnet18(config: Build, shape: Shape, classes: int, size: int) -> Body:
    from study.nets import vision  # timm and torchvision take a second to import

    return vision.resnet18(classes)


def _vit(config: Build, shape: Shape, classes: int, size: int) -> Body:
    from study.nets import vision

    return vision.vit(classes, config.width, config.depth, size)


def _users(config: Build, shape: Shape, classes: int, size: int) -> Body:
    name = config.model
    body = sources.user_function(name, "--model")(shape, classes)
    if not isinstance(body, nn.Module):
        raise UsageError(f"--model {name} must return a torch.nn.Module, got {type(body).__name__}")
    hidden = hidden_of(body)
    if not hidden:
        raise UsageError(f"--model {name} must have a Linear or Conv2d layer before its head, found none")
    return body, hidden


# What is built for images of `size` pixels a side is given them enlarged; an fcn and a user's net as they are (0).
BUILDERS: dict[str, Callable[[Build, Shape, int, int], Body]] = {"fcn": _fcn, "resnet18": _resnet18, "vit": _vit}
