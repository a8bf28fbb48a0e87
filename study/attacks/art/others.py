"""The toolbox's other attacks: Carlini and Wagner, Square, AutoAttack, and one perturbation for all images."""

import functools
from typing import Any

import numpy as np
import torch
from art.attacks import evasion
from torch import Tensor, nn

from study.attacks import ball
from study.attacks.art.climbs import LOSSES, climb
from study.attacks.art.room import P, Part, classifier_of, through
from study.attacks.ball import Result
from study.attacks.record import Record
from study.attacks.recorder import MARGIN, Recorder, seeded


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

    return through(model, x, y, eps, norm, [Part(make)], generator, 1 if norm == "linf" else batch_size)


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
    part = Part(functools.partial(_square, eps, norm, queries, share))
    return through(model, x, y, eps, norm, [part] * restarts, generator, batch_size)


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
    restarts: int = 1,
    queries: int = 5000,
    batch_size: int = 512,
    generator: torch.Generator,
) -> Result:
    """AutoAttack as ART makes it up, each part on what the ones before it left.

    "standard" is ART's own list, AutoPGD on both losses, DeepFool (in place of FAB) and Square; "pair" is AutoPGD on
    both losses. `restarts` are those of the AutoPGDs. ART's AutoAttack class itself imports a package (multiprocess) that ART does not depend on, and tests
    last points alone, so the parts are run from here.
    """
    ball.check_choice("version", version, ("standard", "pair"))
    ball.check_counts(iterations=iterations, restarts=restarts, queries=queries)

    def deepfool(classifier: Any, n: int) -> Any:
        return evasion.DeepFool(classifier, max_iter=iterations, epsilon=1e-3, batch_size=n, verbose=False)

    parts = [climb(eps, norm, iterations, loss) for loss in LOSSES for _ in range(restarts)]
    if version == "standard":
        parts += [Part(deepfool), Part(functools.partial(_square, eps, norm, queries, 0.8))]
    return through(model, x, y, eps, norm, parts, generator, batch_size)


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
        recorder = Recorder(record, float(eps), norm)
        quiet = recorder.quiet(record.all)
        if len(quiet):  # samples taught one by one teach nothing here
            recorder.temperature = ball.temperature(record.clean[quiet], MARGIN)[:, None]
        attack = evasion.UniversalPerturbation(
            classifier_of(recorder, x, record.clean.shape[1]), attacker=attacker, attacker_params=inner, delta=accuracy,
            max_iter=epochs, eps=float(eps), norm=P[norm], batch_size=len(x), verbose=False,
        )  # fmt: skip
        attack.generate(x.cpu().numpy(), y=y.cpu().numpy())
    return ball.project(torch.from_numpy(np.asarray(attack.noise)).to(x), eps, norm)
