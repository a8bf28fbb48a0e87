"""What is added to a batch's loss: alpha times the penalty, and the penalties that have strengths of their own."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from study.nets import net as nets
from study.nets.net import Net
from study.nets.pairs import UNPAIRED, pairs
from study.nets.penalties import l1_norm, linearised, penalty_of, polar, spread_control
from study.spec.config import Structure, Train
from study.theory.alignment_slope import alignment_slope
from study.trial.freeze import Frozen

SETTLING_BATCHES = 30
PROXIMAL = ("", "nuclear_norm_prox")  # nothing to descend on: none, or a step of its own after each batch
SHARE = Structure().share  # of the singular values: what the measured alignment keeps


@dataclass
class Held:
    """Gradients that are renewed every penalty_refresh steps, in place; begun anew in each epoch, so that a resumed run
    needs none of them. `left` counts the batches to the end of training."""

    step: int = 0
    left: int = 0
    polars: list[Tensor] = field(default_factory=list)
    slopes: tuple[Tensor, list[Tensor]] | None = None

    def due(self, config: Train) -> tuple[bool, bool]:
        """Whether this step renews them, and exactly: each one in the last batches, so that what is small settles."""
        exact = self.left <= SETTLING_BATCHES or config.penalty_refresh <= 1
        return exact or self.step % config.penalty_refresh == 0, exact


def add(loss: Tensor, net: Net, frozen: Frozen, moving: Collection[str], config: Train, held: Held) -> Tensor:
    """The loss with every penalty of the configuration on the hidden layers named in `moving`; what is off is free.

    A weight that layers share counts once, but in the alignment of each with its neighbours.

    ValueError for a penalty of one's own without a gradient.
    """
    structured = config.alpha > 0 and config.penalty not in PROXIMAL
    if moving and (structured or config.spread_control > 0 or config.alignment_penalty > 0 or config.l1 > 0):
        named = nets.weight_matrices(net, moving)
        matrices = list(named.values())
        if structured and config.penalty == "nuclear_norm":
            loss = loss + config.alpha * _structured(_blocks(net, named), config, held)
        elif structured:
            loss = loss + config.alpha * _structured(matrices, config, held)
        if config.l1 > 0 and config.l1_on == "hidden":
            loss = loss + config.l1 * l1_norm(matrices)
        if config.spread_control > 0:
            loss = loss + config.spread_control * spread_control(matrices)
        if config.alignment_penalty > 0:
            loss = loss + config.alignment_penalty * _alignment(net, frozen, config, held)
    if config.l1 > 0 and config.l1_on == "all":
        loss = loss + config.l1 * l1_norm(frozen.moving(net))
    return loss


def _blocks(net: Net, named: dict[str, Tensor]) -> list[Tensor]:
    """The matrices of a spectrum's penalty: a grouped convolution's are its groups', a stack."""
    groups = {name: nets.groups(layer) for name, layer in nets.layers(net).items()}
    return [nets.unstacked(W, groups.get(name, 1)) for name, W in named.items()]


def _structured(matrices: Sequence[Tensor], config: Train, held: Held) -> Tensor:
    """The penalty that alpha weighs.

    Between renewals of its polar factors the smallest singular values overshoot zero, so that they need not be told
    apart; in the last batches every step renews exactly, and the spectrum's tail settles where the gradient has it.
    """
    if config.penalty != "nuclear_norm" or not config.penalty_refresh:
        value = penalty_of(config.penalty)(matrices)
        if not getattr(value, "requires_grad", False):
            raise ValueError(
                f"penalty {config.penalty} gives nothing to descend on: return a sum of the matrices' entries"
            )
        return value
    due, exact = held.due(config)
    if due:
        held.polars[:] = [polar(W, exact) for W in matrices]
    return linearised(matrices, held.polars)


def check(net: Net, frozen: Frozen, config: Train) -> None:
    """ValueError for an alignment penalty on a net of which no two layers that are trained follow one another."""
    if config.alignment_penalty > 0 and not pairs(net, frozen.layers(net, each=True)):
        raise ValueError(UNPAIRED)


def _alignment(net: Net, frozen: Frozen, config: Train, held: Held) -> Tensor:
    """The alignment of consecutive layers as its tangent where it was last renewed: it has no scale, so that
    <gradient, W> is 0 there and the tangent is value + <gradient, W>."""
    moving = frozen.layers(net, each=True)
    named = nets.weight_matrices(net, moving)
    matrices = list(named.values())
    if held.slopes is None or held.due(config)[0]:
        place = {name: i for i, name in enumerate(named)}
        found = [(place[earlier], place[later]) for earlier, later in pairs(net, moving)]
        held.slopes = alignment_slope([W.detach() for W in matrices], found, SHARE)
    value, slopes = held.slopes
    return value.to(matrices[0].dtype) + linearised(matrices, slopes)
