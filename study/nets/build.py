"""Networks by name. Normalisation is inside; the head is known by its place, never by its width."""

import torch
from torch import nn

from study.nets import sources
from study.nets.fcn import fcn
from study.nets.net import Net, hidden_of
from study.spec import datasets
from study.spec.config import Build
from study.spec.errors import UsageError


def build(
    config: Build, shape: tuple[int, int, int], classes: int, statistics: tuple[tuple[float, ...], ...], seed: int
) -> Net:
    """An untrained network for images of `shape` (C, H, W), its weights drawn from `seed` alone.

    `statistics` are the per-channel mean and standard deviation. Raises UsageError for a user's function that does
    not return an nn.Module with a hidden layer and a head.
    """
    mean, std = statistics
    size = 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if config.model == "fcn":
            body, hidden = fcn(shape, classes, config.width, config.depth)
        elif datasets.is_user_function(config.model):
            body, hidden = _users(config.model, shape, classes)
        else:
            from study.nets import vision as pretrained

            size = max(32, shape[-1])
            if config.model == "resnet18":
                body, hidden = pretrained.resnet18(classes)
            elif config.model == "vit":
                body, hidden = pretrained.vit(classes, config.width, config.depth, size)
            else:
                raise UsageError(f"unknown model {config.model!r}; choose from fcn, resnet18, vit or package:function")
    return Net(body, mean, std, hidden, size)


def _users(name: str, shape: tuple[int, int, int], classes: int) -> tuple[nn.Module, list[str]]:
    body = sources.user_function(name, "--model")(shape, classes)
    if not isinstance(body, nn.Module):
        raise UsageError(f"--model {name} must return a torch.nn.Module, got {type(body).__name__}")
    hidden = hidden_of(body)
    if not hidden:
        raise UsageError(f"--model {name} must have a Linear or Conv2d layer before its head, found none")
    return body, hidden
