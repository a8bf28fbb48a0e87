"""The ART room: the toolbox's attacks behind our signature, safe against its traps (checked on ART 1.20.1).

Here `Result.worst` is what ART returns, the clean point where that lies outside of the ball: its AutoPGD returns a
random start where it failed, too weak for a loss gap. `robust` counts every point that ART showed the net on its way.
`forward` and `backward` are a batch's mean, rounded up.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

from study.attacks import ball
from study.attacks.ball import Result
from study.attacks.record import Record
from study.attacks.recorder import Recorder, seeded

MARGIN = 10.0
P = {"linf": np.inf, "l2": 2}
Make = Callable[[Any, int], Any]


def _classifier(module: nn.Module, x: Tensor, classes: int) -> Any:
    return PyTorchClassifier(
        model=module,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=classes,
        clip_values=(0.0, 1.0),
        device_type="cpu" if x.device.type == "cpu" else "gpu",
    )


def _temperature(record: Record) -> float:
    """One for the whole batch: the toolbox compares losses of samples with one another's."""
    return float(ball.temperature(record.clean, MARGIN).max())


def _through(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    parts: Sequence[Make],
    generator: torch.Generator,
    batch_size: int,
) -> Result:
    """Run one attack after the other, built for (classifier, batch length), on the samples not yet fooled."""
    ball.check(x, y, eps, norm)
    ball.check_counts(batch_size=batch_size)
    with ball.frozen(model):
        record = Record(model, x, y)
        returned = x.clone()
        if eps > 0:
            recorder = Recorder(record, _temperature(record), float(eps), norm)
            classifier = _classifier(recorder, x, record.clean.shape[1])
            with seeded(generator), np.errstate(divide="ignore", invalid="ignore"):
                for make in parts:
                    left = record.left()
                    for index in left.split(min(batch_size, record.batch)) if len(left) else ():
                        recorder.watch(index)
                        attack = make(classifier, len(index))
                        array = attack.generate(x[index].cpu().numpy(), y=y[index].cpu().numpy())
                        found = torch.from_numpy(array).to(x)
                        with torch.no_grad():
                            recorder.judge(found, model(found))
                            inside = recorder.inside(index, found)
                        recorder.rows[0] += len(index)
                        returned[index] = torch.where(ball.per_sample(inside, x), found, x[index])
                        recorder.count()
        loss = cross_entropy(record.logits(returned), y, reduction="none")
    return dataclasses.replace(record.result(), worst=returned, loss=loss)


def fgsm(
    model: nn.Module, x: Tensor, y: Tensor, eps: float, norm: str, *, batch_size: int = 512, generator: torch.Generator
) -> Result:
    """ART's FastGradientMethod from the clean point: one step of eps on the cross-entropy."""

    def make(classifier: Any, n: int) -> Any:
        return evasion.FastGradientMethod(classifier, norm=P[norm], eps=float(eps), batch_size=n)

    return _through(model, x, y, eps, norm, [make], generator, batch_size)


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

    return _through(model, x, y, eps, norm, [make] * restarts, generator, batch_size)


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
    parts = [functools.partial(_auto_pgd, eps, norm, iterations, loss)] * restarts
    return _through(model, x, y, eps, norm, parts, generator, batch_size)


def _auto_pgd(eps: float, norm: str, iterations: int, loss: str, classifier: Any, n: int) -> Any:
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
    classifier = _classifier(model, x, model(x[:1]).shape[1])
    attack = evasion.AutoProjectedGradientDescent(
        classifier, norm=P[norm], eps=float(eps), eps_step=2.0 * float(eps), max_iter=iterations,
        nb_random_init=restarts, batch_size=batch_size, verbose=False,
    )  # fmt: skip
    with seeded(generator):
        found = torch.from_numpy(attack.generate(x.cpu().numpy(), y=y.cpu().numpy())).to(x)
    with ball.frozen(model), torch.no_grad():
        return (model(found).argmax(1) == y) & (model(x).argmax(1) == y)


def cw(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    iterations: int = 10,
    step: float = 0.01,
    confidence: float = 0.0,
    batch_size: int = 128,
    generator: torch.Generator,
) -> Result:
    """ART's Carlini and Wagner attacks, which seek the smallest perturbation; judged at eps.

    ART's l_inf method goes one sample at a time, whatever the batch size, and takes about a second for each.
    """
    ball.check_counts(iterations=iterations)

    def make(classifier: Any, n: int) -> Any:
        method = evasion.CarliniLInfMethod if norm == "linf" else evasion.CarliniL2Method
        return method(
            classifier, confidence=confidence, learning_rate=step, max_iter=iterations, batch_size=n, verbose=False
        )

    return _through(model, x, y, eps, norm, [make], generator, 1 if norm == "linf" else batch_size)


def square(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    queries: int = 1000,
    share: float = 0.8,
    restarts: int = 1,
    batch_size: int = 512,
    generator: torch.Generator,
) -> Result:
    """ART's SquareAttack. On small l_2 windows it divides by zero: such points are no numbers and do not count."""
    ball.check_counts(queries=queries, restarts=restarts)
    parts = [functools.partial(_square, eps, norm, queries, share)] * restarts
    return _through(model, x, y, eps, norm, parts, generator, batch_size)


def _square(eps: float, norm: str, queries: int, share: float, classifier: Any, n: int) -> Any:
    return evasion.SquareAttack(
        classifier, norm=P[norm], max_iter=queries, eps=float(eps), p_init=share, nb_restarts=1, batch_size=n,
        verbose=False,
    )  # fmt: skip


def autoattack(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    version: str = "standard",
    iterations: int = 100,
    queries: int = 5000,
    batch_size: int = 512,
    generator: torch.Generator,
) -> Result:
    """AutoAttack as ART makes it up, each part on what the ones before it left.

    "standard" is ART's own list, AutoPGD on both losses, DeepFool (in place of FAB) and Square; "pair" is AutoPGD on
    both losses. ART's AutoAttack class itself imports a package (multiprocess) that ART does not depend on, and tests
    last points alone, so the parts are run from here.
    """
    ball.check_choice("version", version, ("standard", "pair"))
    ball.check_counts(iterations=iterations, queries=queries)

    def deepfool(classifier: Any, n: int) -> Any:
        return evasion.DeepFool(classifier, max_iter=iterations, epsilon=1e-3, batch_size=n, verbose=False)

    parts: list[Make] = [functools.partial(_auto_pgd, eps, norm, iterations, loss) for loss in LOSSES]
    if version == "standard":
        parts += [deepfool, functools.partial(_square, eps, norm, queries, 0.8)]
    return _through(model, x, y, eps, norm, parts, generator, batch_size)


def universal(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    attacker: str = "fgsm",
    epochs: int = 5,
    accuracy: float = 0.0,
    generator: torch.Generator,
) -> Tensor:
    """ART's UniversalPerturbation: a shared delta (1, C, H, W), by an inner attack on one sample after the other.

    `attacker` is fgsm, pgd or deepfool; the first two get the ball's own radius and norm, which ART would leave at .3
    and l_inf. Stops once accuracy is at most `accuracy`. Judge it with study.attacks.universal.
    """
    ball.check(x, y, eps, norm)
    ball.check_counts(epochs=epochs)
    ball.check_choice("attacker", attacker, ("fgsm", "pgd", "deepfool"))
    if eps == 0:
        return torch.zeros_like(x[:1])
    inner: dict[str, Any] = {"batch_size": 1}
    if attacker != "deepfool":
        inner |= {"eps": float(eps), "norm": P[norm], "eps_step": float(eps) / 4}
    if attacker != "fgsm":
        inner |= {"max_iter": 10, "verbose": False}
    with ball.frozen(model), seeded(generator):
        record = Record(model, x, y)
        recorder = Recorder(record, _temperature(record), float(eps), norm)
        attack = evasion.UniversalPerturbation(
            _classifier(recorder, x, record.clean.shape[1]), attacker=attacker, attacker_params=inner, delta=accuracy,
            max_iter=epochs, eps=float(eps), norm=P[norm], batch_size=len(x), verbose=False,
        )  # fmt: skip
        attack.generate(x.cpu().numpy(), y=y.cpu().numpy())
    return ball.project(torch.from_numpy(np.asarray(attack.noise)).to(x), eps, norm)


ATTACKS: dict[str, Callable[..., Result]] = {
    "fgsm": fgsm,
    "pgd": pgd,
    "apgd": auto_pgd,
    "autoattack": autoattack,
    "cw": cw,
    "square": square,
}
