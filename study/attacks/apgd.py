"""AutoPGD: gradient ascent whose step sizes adapt sample by sample (Croce and Hein 2020)."""

import itertools

import torch
from torch import Tensor, nn

from study.attacks import ball, certificate, draws, losses, standins
from study.attacks.ball import Result
from study.attacks.climb import Plan, climb
from study.attacks.record import Record
from study.attacks.standins import StandIn

BATCH = {"cpu": 256, "cuda": 4096}  # a processor's caches hold the one; a GPU waits for the other
PRECISIONS = ("fp32", "bf16", "auto")
AIMED = 5


def apgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    iterations: int = 100,
    restarts: int = 1,
    loss: str = "ce",
    targets: int = 0,
    goal: str = "robust",
    certify: bool = False,
    precision: str = "fp32",
    batch_size: int = 0,
    generator: torch.Generator,
) -> Result:
    """AutoPGD on the cross-entropy ("ce"), the difference of logits ratio ("dlr") or, with `targets` > 0, targeted DLR.

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units (0 gives the clean point). Each restart begins at a random
    point on the ball's edge; `iterations` steps cost one forward and one backward pass each, and one forward pass at
    the start; every iterate counts. Targeted DLR does this for each of the `targets` most likely wrong classes.
    batch_size 0 takes the device's own, or fewer where memory holds no more.
    goal "robust": only the mask is wanted, a fooled sample is retired and `worst` is the highest point of the climbed
    loss until then. goal "loss": every sample is climbed to the end and `worst` has the highest cross-entropy seen.
    `certify` spares samples that a certificate proves safe (goal "robust" only): the mask is the same, their `worst`
    is the clean point. `precision` "bf16" (goal "robust" only) climbs on a bfloat16 copy of the net in all restarts but
    the last, or in one restart more where there is one: its hits are checked, and its survivors climbed, in float32.
    "auto" does so where the processor has bfloat16 units.
    On a net whose activations are on few levels each restart climbs the net's three stand-ins
    (study.attacks.standins), and with the loss ce and goal "robust" then each on targeted DLR for the AIMED most likely
    wrong classes: 18 climbs. Raises ValueError naming the argument that is out of range,
    TypeError for a net that certificates do not handle.
    """
    ball.check(x, y, eps, norm)
    ball.check_counts(iterations=iterations, restarts=restarts)
    ball.check_choice("goal", goal, ("robust", "loss"))
    ball.check_choice("precision", precision, PRECISIONS)
    retire = goal == "robust"
    if not retire and (certify or precision != "fp32"):
        raise ValueError(f"certify and {precision} serve masks, not losses: goal must be robust, got {goal!r}")
    climbed = losses.targeted_dlr if targets else losses.untargeted(loss)
    with ball.frozen(model):
        record = Record(model, x, y, batch_size)
        record.batch = batch_size or min(record.batch, BATCH["cuda" if x.is_cuda else "cpu"])
        proven = certificate.safe(model, x, y, eps, norm) if certify else torch.zeros_like(record.robust)
        aims = losses.likely_targets(record.clean, y, targets) if targets else [None]
        for legs in _legs(model, record.model, x, precision, restarts) if eps > 0 else ():
            wanted = [(climbed, aim) for aim in aims]
            if len(legs) > 1 and retire and loss == "ce" and not targets:
                wanted += [(losses.targeted_dlr, aim) for aim in losses.likely_targets(record.clean, y, AIMED)]
            for (own, aim), leg in itertools.product(wanted, legs):
                plan = Plan(float(eps), norm, iterations, own, retire, leg.net, leg.trust)
                parts = record.parts((record.robust & ~proven).nonzero()[:, 0] if retire else None)
                for index, edge in zip(parts, draws.edges(x, parts, eps, norm, generator), strict=True):
                    if leg.net is not None:
                        standins.rewind(leg.net)
                    climb(record, index, x[index] + edge, plan, None if aim is None else aim[index])
    return record.result()


def _legs(model: nn.Module, judge: nn.Module, x: Tensor, precision: str, restarts: int) -> list[tuple[StandIn, ...]]:
    """The nets that each restart climbs on: stand-ins where the judging net (`judge`: the model, behind a cast where
    its precision is another) needs them, else itself, in the last restart always."""
    if coarse := standins.of(judge):
        return [coarse] * restarts
    itself: list[tuple[StandIn, ...]] = [(StandIn(None, "all"),)]
    if precision == "bf16" or (precision == "auto" and has_bf16_units(x.device)):
        cheap: list[tuple[StandIn, ...]] = [(standins.rounded(model),)]
        return cheap * max(1, restarts - 1) + itself
    return itself * restarts


def has_bf16_units(device: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32 ones there."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
