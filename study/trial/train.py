"""The training loop: batches and penalty, an optimiser step, then the projection to masks and fixed Frobenius norms."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from study.nets import masks
from study.nets import net as nets
from study.nets.net import Net
from study.nets.penalties import shrink
from study.nets.splits import Dataset, Split
from study.spec.config import Train
from study.spec.identity import seed_for
from study.trial import adversary, optimise, penalty
from study.trial.freeze import Frozen, frozen
from study.trial.losses import LOSSES, Loss, distilled


@dataclass
class Progress:
    """Where training stands after an epoch; `curves` holds one row (epoch, name, value) per logged value.

    `best_score` is that of the best epoch for early stopping, lower is better. `passes` counts forward and backward
    passes over single images, the adversary's included; evaluation is none.
    """

    epoch: int
    optimizer: torch.optim.Optimizer
    norms: list[float]
    loss: Loss
    frozen: Frozen = field(default_factory=Frozen)
    curves: list[tuple[int, str, float]] = field(default_factory=list)
    best_score: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, Tensor] | None = None
    diverged: bool = False
    passes: int = 0


@torch.no_grad()
def evaluate(net: Net, split: Split, batch_size: int = 1000) -> tuple[float, float]:
    """Accuracy in [0, 1] and mean cross-entropy of a net (in eval mode) on a split."""
    was_training = net.training
    net.eval()
    correct, loss = 0, 0.0
    device = net.mean.device
    for x, y in split.batches(batch_size):
        logits, y = net(x.to(device)), y.to(device)
        correct += int((logits.argmax(1) == y).sum())
        loss += float(cross_entropy(logits, y, reduction="sum"))
    net.train(was_training)
    return correct / len(split.y), loss / len(split.y)


def _shrink(layers: list[Any], config: Train, rate: float, step: int) -> None:
    """The proximal form of the nuclear norm: every T steps the map of T steps' threshold at once."""
    every = max(1, config.penalty_refresh)
    if config.penalty == "nuclear_norm_prox" and (step + 1) % every == 0:
        for layer in layers:
            W = nets.unstacked(nets.matrix(layer).detach(), nets.groups(layer))
            nets.set_matrix(layer, shrink(W, rate * config.alpha * every))


def _epoch(
    net: Net, split: Split, config: Train, progress: Progress, order: Tensor, generator: torch.Generator
) -> float:
    """One pass over the training split; the mean loss (penalty included), NaN once it or a weight is not finite."""
    moving = progress.frozen.layers(net)
    layers = list(moving.values())
    device = net.mean.device
    total, seen, step = torch.zeros((), device=device), 0, 0
    rate = optimise.learning_rate(config, progress.epoch)
    for group in progress.optimizer.param_groups:
        group["lr"] = rate
    held = penalty.Held()
    batches = math.ceil(len(order) / config.batch_size)
    later = 0 if config.patience else (config.epochs - progress.epoch - 1) * batches  # any epoch may be the one kept
    augment = adversary.AUGMENTATIONS[config.augment]
    attacked = adversary.at_epoch(config, progress.epoch)
    for batch, index in enumerate(order.split(config.batch_size)):
        x, y = (part.to(device) for part in split[index])
        progress.passes += adversary.passes(config, len(index))
        x = x if augment is None else augment(x, generator)
        for point in adversary.inputs(net, x, y, attacked, generator):
            with optimise.autocast(config, device):
                loss = progress.loss(net, point, y)
            held.step, held.left = step, later + batches - batch
            loss = penalty.add(loss, net, progress.frozen, moving, config, held)
            progress.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            progress.optimizer.step()
            _shrink(layers, config, rate, step)
            masks.apply(net)
            _project(layers, progress.norms)
            total += loss.detach() * len(index)
            seen, step = seen + len(index), step + 1
    mean = float(total) / seen
    sound = all(bool(p.isfinite().all()) for p in net.parameters())  # the last step may be the one that diverged
    return mean if sound and math.isfinite(mean) else math.nan


def _project(layers: list[Any], norms: list[float]) -> None:
    for layer, norm in zip(layers, norms, strict=False):
        current = nets.frobenius(layer)
        if current > 0:
            nets.scale(layer, norm / current)


def start(net: Net, config: Train, teacher: Net | None = None) -> Progress:
    """The state before the first epoch: optimiser, loss, and the Frobenius norms that the hidden layers are held at.

    With config.frobenius = c > 0 each hidden layer is held at c times the norm it has now; 0 leaves it free, and what
    is frozen stays as it is. Distillation learns from the `teacher`, a net in eval mode that asks for no gradient.
    ValueError for a configuration that names what there is not, distillation without a teacher among it.
    """
    optimise.check(config, LOSSES)
    if net.bound and config.epochs:
        raise ValueError(net.bound)
    held = frozen(net, config.freeze)
    penalty.check(net, held, config)
    layers = list(held.layers(net).values())
    norms = [config.frobenius * nets.frobenius(layer) for layer in layers] if config.frobenius else []
    _project(layers, norms)
    optimizer = optimise.OPTIMISERS[config.optimizer](held.moving(net), config)
    loss = LOSSES[config.loss]
    if config.distillation > 0:
        if teacher is None:
            raise ValueError("distillation needs a teacher: a stage Teacher before this training")
        loss = distilled(loss, teacher, config.distillation, config.temperature)
    return Progress(epoch=0, optimizer=optimizer, norms=norms, loss=loss, frozen=held)


def epochs(net: Net, data: Dataset, config: Train, seed: int, progress: Progress) -> Iterator[Progress]:
    """Train `net` in place from progress.epoch on, yielding after each epoch, with early stopping where configured.

    Each epoch draws its own random streams from (seed, epoch), so a run that goes on from a checkpoint equals one
    that was never interrupted. A loss that is not finite ends training with progress.diverged set. With patience,
    the weights of the best epoch by config.stop_on are put back at the end (paper A, C.1: by validation loss).
    """
    while progress.epoch < config.epochs and not progress.diverged:
        if config.patience and progress.epoch - progress.best_epoch >= config.patience:
            break
        with torch.random.fork_rng():
            torch.manual_seed(seed_for(seed, f"epoch {progress.epoch}"))
            order = torch.randperm(len(data.train.y))
            generator = torch.Generator().manual_seed(seed_for(seed, f"adversary {progress.epoch}"))
            net.train()
            with progress.frozen.held(net):
                loss = _epoch(net, data.train, config, progress, order, generator)
        progress.epoch += 1
        progress.diverged = not math.isfinite(loss)
        progress.curves.append((progress.epoch, "train_loss", loss))
        if len(data.validation.y) and not progress.diverged:
            _validate(net, data, config, progress, generator)
        yield progress
    if progress.best_weights is not None and not progress.diverged:
        net.load_state_dict(progress.best_weights)


def _validate(net: Net, data: Dataset, config: Train, progress: Progress, generator: torch.Generator) -> None:
    """Validation curves and the epoch's score for early stopping; under adversarial training that is the adversarial
    loss unless stop_on says otherwise (paper A, C.3)."""
    accuracy, loss = evaluate(net, data.validation)
    progress.curves.append((progress.epoch, "validation_loss", loss))
    progress.curves.append((progress.epoch, "validation_accuracy", accuracy))
    scores = {"": loss, "accuracy": -accuracy}
    if config.adversarial_ratio > 0 or config.stop_on == "adversarial_accuracy":
        device = net.mean.device
        points = [
            adversary.perturb(net, x.to(device), y.to(device), config, generator).cpu()
            for x, y in data.validation.batches(1000)
        ]
        accuracy, loss = evaluate(net, Split(pixels=torch.cat(points), y=data.validation.y))
        progress.curves.append((progress.epoch, "validation_adversarial_loss", loss))
        progress.curves.append((progress.epoch, "validation_adversarial_accuracy", accuracy))
        scores |= {"adversarial_accuracy": -accuracy} | ({"": loss} if config.adversarial_ratio > 0 else {})
    if config.patience and scores[config.stop_on] < progress.best_score:
        progress.best_score, progress.best_epoch = scores[config.stop_on], progress.epoch
        progress.best_weights = copy.deepcopy(net.state_dict())
