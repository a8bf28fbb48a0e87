"""Optimisers, learning rates by epoch, what early stopping looks at, and mixed precision: all by name."""

import math
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from study.spec.config import Train

OPTIMISERS: dict[str, Callable[[Sequence[nn.Parameter], Train], Optimizer]] = {
    "": lambda p, c: AdamW(p, lr=c.learning_rate, weight_decay=c.weight_decay, fused=True),
    "adam": lambda p, c: Adam(p, lr=c.learning_rate, weight_decay=c.weight_decay, fused=True),
    "sgd": lambda p, c: SGD(
        p, lr=c.learning_rate, weight_decay=c.weight_decay, momentum=c.momentum, fused=True
    ),
}  # fmt: skip


def _cosine(config: Train, epoch: int) -> float:
    """Half a cosine from learning_rate down to 0 after the last epoch."""
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / config.epochs))


def _multistep(config: Train, epoch: int) -> float:
    """learning_rate times gamma for each of the milestones (epochs done) that is past."""
    return float(config.learning_rate * config.gamma ** sum(epoch >= m for m in config.milestones))


SCHEDULES: dict[str, Callable[[Train, int], float]] = {
    "": lambda config, epoch: config.learning_rate,
    "cosine": _cosine,
    "multistep": _multistep,
}
STOPS = ("", "accuracy", "adversarial_accuracy")
AUTOCAST = ("", "gpu", "always")


def learning_rate(config: Train, epoch: int) -> float:
    """The rate of an epoch (from 0) under the configured schedule."""
    return SCHEDULES[config.schedule](config, epoch)


def autocast(config: Train, device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 forward passes where they are asked for; weights, gradients and optimiser stay float32."""
    on = config.autocast == "always" or (config.autocast == "gpu" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16) if on else nullcontext()


def check(config: Train, losses: Collection[str]) -> None:
    """ValueError naming the field and its choices when a training is configured with what there is not."""
    choices: dict[str, Collection[str]] = {
        "loss": losses, "optimizer": OPTIMISERS, "schedule": SCHEDULES, "stop_on": STOPS, "autocast": AUTOCAST,
    }  # fmt: skip
    for name, known in choices.items():
        if getattr(config, name) not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {getattr(config, name)!r}")
    if config.stop_on == "adversarial_accuracy" and not config.train_eps > 0:
        raise ValueError("stop_on adversarial_accuracy needs a train_eps above 0")
    if config.momentum and config.optimizer != "sgd":
        raise ValueError(f"momentum goes with optimizer sgd, got {config.optimizer or 'adamw'}")
