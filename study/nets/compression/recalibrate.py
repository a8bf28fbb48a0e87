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

    images: batches (N, C, H, W) in [0, 1], of about one size and of all classes, for each counts alike; each layer is
    given what the ones before it make of the batch by the batch's own statistics, as in training (adaptive batch
    normalization, Li et al. 2020). A batch of one image is left out. No weight moves, and no Dropout acts (torch's
    update_bn switches it on). A norm that its net keeps in eval mode, or calls otherwise, keeps what it has. ValueError
    for a net none of whose BatchNorms took new statistics, and where no batch is left.
    """
    out = copy.deepcopy(net).eval()
    norms = [m for m in out.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    before = [(norm.momentum, copy.deepcopy(norm.state_dict())) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # every batch counts alike
        norm.train()
    seen = [len(out(batch)) for batch in images if len(batch) > 1] if norms else []
    taken = [norm for norm in norms if norm.num_batches_tracked is not None and int(norm.num_batches_tracked)]
    for norm, (momentum, state) in zip(norms, before, strict=True):
        norm.momentum = momentum
        norm.eval()
        if norm not in taken:
            norm.load_state_dict(state)
    if norms and not seen:
        raise ValueError("BatchNorm's statistics need a batch of two images at least")
    if not taken:
        raise ValueError("it has no BatchNorm that keeps running statistics")
    return out
