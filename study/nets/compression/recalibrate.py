"""BatchNorm's running statistics taken anew: those of the whole net are wrong once weights, rows or factors went."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from study.nets.net import Net


@torch.no_grad()
def recalibrate(net: Net, images: Iterable[Tensor]) -> Net:
    """A copy of `net`, in eval mode, each BatchNorm of which has the mean over the batches of `images` of what it saw.

    images: batches (N, C, H, W) in [0, 1]; each layer is given what the ones before it make of the batch by the batch's
    own statistics, as in training (adaptive batch normalization, Li et al. 2020). A batch of one image is left out. No
    weight moves, and no Dropout acts (torch's update_bn switches it on). ValueError for a net without BatchNorm, or
    without one that keeps statistics, and where no batch is left.
    """
    out = copy.deepcopy(net).eval()
    norms = [m for m in out.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        raise ValueError("it has no BatchNorm that keeps running statistics")
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # every batch counts alike
        norm.train()
    seen = [len(out(batch)) for batch in images if len(batch) > 1]
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    if not seen:
        raise ValueError("BatchNorm's statistics need a batch of two images at least")
    return out
