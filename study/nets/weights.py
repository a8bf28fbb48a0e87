"""Weights that a net begins with: published ones by their library's name, or a file of one's own."""

import logging

import torch
from torch import Tensor

from study.nets import checkpoints, keyed, qkv, sources
from study.nets import net as nets
from study.spec.config import Build
from study.spec.errors import UsageError
from study.spec.models import FILE

log = logging.getLogger(__name__)


def begin(net: nets.Net, config: Build, *, whole: bool = False) -> None:
    """Overwrite the body's weights with those that the configuration names, in place; nothing where it names none.

    A head of another number of classes stays as it was drawn, and that is said; where the net is to be `whole`, because
    nothing will train that head, it is refused. UsageError where the weights are not there, are not those that the
    trial was planned with, or are another net's.
    """
    if not config.weights:
        return
    if config.weights.startswith(FILE):
        path, name = keyed.split(config.weights_file)
        if not config.weights_file:
            raise UsageError(f"weights: where the file of digest {config.weights.removeprefix(FILE)} lies is not known")
        if f"{FILE}{sources.file_digest(config.weights_file)}" != config.weights:
            raise UsageError(
                f"weights {path} were changed since this trial was planned; --resume --retry-failed takes them as "
                "they are now"
            )
    else:
        from study.nets.vision import published

        path, name = published.path_of(config.model, config.weights), ""
    found, net.beside = checkpoints.read(path, name, net.body.state_dict())
    net.notes += (net.beside,) if net.beside else ()
    place(net, found, str(path), whole=whole)


@torch.no_grad()
def place(net: nets.Net, found: dict[str, Tensor], what: str, *, whole: bool = False) -> None:
    """Overwrite the body's tensors with those of a state dict of the body, of a Net, or of the library's own model with
    fused q, k, v; UsageError naming tensors that do not fit, of a head too where the net is to be `whole`."""
    own = net.body.state_dict()
    found = checkpoints.bare(found, own, what)
    checkpoints.check(found, what)
    given = found = qkv.cut(found, own)
    checkpoints.check_kinds(found, own, what)
    head = next(reversed(nets.weighted(net)))
    of_head = [name for name in own if name.startswith(f"{head}.")]
    odd = next((n for n in of_head if n not in found or found[n].shape != own[n].shape), "")
    if odd:
        has = f"its {odd} is {tuple(found[odd].shape)}" if odd in found else f"it has no {odd}"
        if not whole:
            log.warning("the head of %s has other classes: a fresh one is drawn", what)
        found = {name: W for name, W in found.items() if not name.startswith(f"{head}.")}
        found |= {name: own[name] for name in of_head}
    counters = {name: W for name, W in own.items() if name.endswith("num_batches_tracked")}
    found = {**counters, **found}
    shaped = [n for n in own if n in found and found[n].shape != own[n].shape]
    wrong = {
        "missing": [n for n in own if n not in found],
        "not of this net": [n for n in found if n not in own],
        "of another shape": [f"{n} {tuple(found[n].shape)}, not {tuple(own[n].shape)}" for n in shaped],
    }
    if said := [f"{why}: {checkpoints.few(names)}" for why, names in wrong.items() if names]:
        fit = checkpoints.fitting(given, own)
        raise UsageError(
            f"weights: {what} are those of another net: {fit} of its {len(own)} tensors fit ({'; '.join(said)})"
        )
    if odd and whole:
        raise UsageError(
            f"weights: {what} have a head of other classes ({has}, here {tuple(own[odd].shape)}), and nothing would "
            "train the one that is drawn in its place; give the data that the net was trained on, or a file with a "
            "head for these"
        )
    net.body.load_state_dict(found)
