"""The toolbox's attacks along the gradient from the image: FGSM, PGD, AutoPGD, and AutoPGD as its own pages call it."""

import functools
from typing import Any

import torch
from art.attacks import evasion
from torch import Tensor, nn

from study.attacks import ball
from study.attacks.art.room import P, Part, classifier_of, through
from study.attacks.ball import Result
from study.attacks.recorder import seeded


def fgsm(
    model: nn.Module, x: Tensor, y: Tensor, eps: float, norm: str, *, batch_size: int = 512, generator: torch.Generator
) -> Result:
    """ART's FastGradientMethod from the clean point: one step of eps on the cross-entropy."""

    def make(classifier: Any, n: int) -> Any:
        return evasion.FastGradientMethod(classifier, norm=P[norm], eps=float(eps), batch_size=n)

    return through(model, x, y, eps, norm, [Part(make, entropy=True)], generator, batch_size)


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    iterations: int = 50,
    step: float | None = None,
    restarts: int = 1,
    batch_size: int = 512,
    generator: torch.Generator,
) -> Result:
    """ART's ProjectedGradientDescent from a random start per restart; step 2.5 eps / iterations unless given."""
    ball.check_counts(iterations=iterations, restarts=restarts)
    size = 2.5 * eps / iterations if step is None else step

    def make(classifier: Any, n: int) -> Any:
        return evasion.ProjectedGradientDescent(
            classifier, P[norm], eps=float(eps), eps_step=float(size), max_iter=iterations, num_random_init=1,
            batch_size=n, verbose=False,
        )  # fmt: skip

    return through(model, x, y, eps, norm, [Part(make, entropy=True)] * restarts, generator, batch_size)


LOSSES = {"ce": None, "dlr": "difference_logits_ratio"}


def auto_pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    iterations: int = 20,
    restarts: int = 1,
    loss: str = "ce",
    batch_size: int = 512,
    generator: torch.Generator,
) -> Result:
    """AutoPGD through ART (Croce and Hein 2020) on "ce" or "dlr", from a random start per restart.

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units (0 gives clean accuracy). Weight gradients are switched off,
    the model's mode, device and gradients and the global random streams are left as found. DLR needs three classes:
    ValueError with fewer.
    """
    ball.check_choice("loss", loss, LOSSES)
    ball.check_counts(iterations=iterations, restarts=restarts)
    part = climb(eps, norm, iterations, loss)
    return through(model, x, y, eps, norm, [part] * restarts, generator, batch_size)


def climb(eps: float, norm: str, iterations: int, loss: str) -> Part:
    """AutoPGD on a loss; ValueError at its first batch for DLR with fewer than three classes."""
    return Part(functools.partial(_climb, eps, norm, iterations, loss), entropy=loss == "ce")


def _climb(eps: float, norm: str, iterations: int, loss: str, classifier: Any, n: int) -> Any:
    if loss == "dlr" and classifier.nb_classes < 3:
        raise ValueError(f"loss dlr needs at least 3 classes, got {classifier.nb_classes}")
    return evasion.AutoProjectedGradientDescent(
        classifier, norm=P[norm], eps=float(eps), eps_step=2.0 * float(eps), max_iter=iterations, nb_random_init=1,
        batch_size=n, loss_type=LOSSES[loss], verbose=False,
    )  # fmt: skip


def as_documented(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    iterations: int,
    restarts: int = 5,
    batch_size: int = 32,
    generator: torch.Generator,
) -> Tensor:
    """The robust mask (N,) by ART's AutoPGD as its users call it, with its defaults: what benchmarks compare with.

    Labels and clip values are given; weight gradients are computed, and only the points it returns are judged.
    """
    ball.check(x, y, eps, norm)
    with torch.no_grad():
        classes = model(x[:1]).shape[1]
    with seeded(generator), torch.enable_grad():
        attack = evasion.AutoProjectedGradientDescent(
            classifier_of(model, x, classes), norm=P[norm], eps=float(eps), eps_step=2.0 * float(eps),
            max_iter=iterations, nb_random_init=restarts, batch_size=batch_size, verbose=False,
        )  # fmt: skip
        found = torch.from_numpy(attack.generate(x.cpu().numpy(), y=y.cpu().numpy())).to(x)
    with ball.frozen(model), torch.no_grad():
        return (model(found).argmax(1) == y) & (model(x).argmax(1) == y)
