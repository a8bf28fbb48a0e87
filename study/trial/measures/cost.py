"""What a net costs to ship, to run and to train; docs/compression.md has the definitions in full."""

import math
import statistics
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from study.nets import masks
from study.nets import net as nets
from study.nets.compression.integer import integer
from study.nets.compression.quantize import InputQuantizer, bits_of, scales_of
from study.nets.net import Net
from study.nets.products import multiply_adds
from study.spec.config import Cost
from study.spec.rows import Row, row
from study.trial.measures.energy import inference_joules, meter
from study.trial.measures.memory import allocated_bytes, inference_bytes
from study.trial.state import State

FLOAT = 4  # bytes
BATCH = 64  # images of a pass whose energy is measured, fewer where there are fewer test images
AGREE = 0.95  # of the predictions, beside the simulation: a value between two levels may fall to either


def parameters(net: Net) -> int:
    """Parameters that the shipped net keeps: all of them less the weights that a mask holds at zero."""
    weights = masks.weights(net) if net.masks else {}
    one_each = {id(weights[name]): mask for name, mask in net.masks.items()}
    masked = sum(mask.numel() - int(mask.count_nonzero()) for mask in one_each.values())
    return sum(p.numel() for p in net.parameters()) - masked


def tensor_bytes(weights: int, kept: int | None, bits: int) -> int:
    """Bytes of one tensor of `weights` weights at `bits` bits each, the last byte filled up.

    With a mask that keeps `kept` of them (None: no mask) the cheaper of dense storage, zeros included, and a bitmap of
    one bit per weight followed by the kept ones. One bit has no level for zero: with a mask it takes the bitmap.
    """
    dense = math.ceil(weights * bits / 8)
    if kept is None:
        return dense
    sparse = math.ceil(weights / 8) + math.ceil(kept * bits / 8)
    return sparse if bits == 1 else min(dense, sparse)


def stored_bytes(net: Net) -> int:
    """Bytes of the net as it would be shipped, before any entropy coding and without file headers.

    Weight tensors as in tensor_bytes; for each quantized one a float32 scale (channel: one of each of its rows), for
    each quantized input a float32 scale and zero point, which is all that a moving range comes to; every other
    parameter (biases, norms) and statistic of the body in float32. A tensor that layers share counts once. The
    constants of the input normalisation and the architecture are not counted.
    """
    total, counted = 0, set[int]()
    for name, layer in nets.weighted(net).items():
        bits = bits_of(layer)
        own = {part: W for part, W in masks.stored(layer).items() if id(W) not in counted}
        for part, W in own.items():
            total += tensor_bytes(W.numel(), _kept(getattr(layer, part), net.masks.get(f"{name}.{part}"), bits), bits)
            counted.add(id(W))
        total += FLOAT * scales_of(layer) if own else 0
    others = sum(p.numel() for p in net.body.parameters() if id(p) not in counted)
    quantizers = [m for m in net.body.modules() if isinstance(m, InputQuantizer)]
    ranges = {id(b) for m in quantizers for b in m.buffers()}
    others += sum(b.numel() for b in net.body.buffers() if b.is_floating_point() and id(b) not in ranges)
    others += 2 * len(quantizers)
    return total + FLOAT * others


def _kept(V: Tensor, mask: Tensor | None, bits: int) -> int | None:
    """How many weights a bitmap would be followed by, None where there is none: those of a mask, at one bit all that
    are not zero, for which it has no level."""
    if bits == 1 and (mask is not None or not bool(V.all())):
        return int(V.count_nonzero())
    return None if mask is None else int(mask.count_nonzero())


def macs(net: Net, image: Tensor) -> int:
    """Multiply-accumulates of the net for one image (1, C, H, W), on hardware that computes densely.

    Every product of matrices and every convolution (study.nets.products): of layers, of functional calls, between
    activations (attention). Zeros of a mask are multiplied like any weight and bits do not matter; rows removed and low
    rank do save. Activations, norms and biases are not counted.
    """
    return multiply_adds(net, image)


@torch.no_grad()
def latencies(net: nn.Module, image: Tensor, repeats: int) -> list[float]:
    """Wall seconds of `repeats` forward passes of one image, after five that are not timed.

    Quantized weights are computed once before; the arithmetic stays floating point, so bits make nothing faster here.
    """
    net.eval()
    out = []
    with parametrize.cached():
        for i in range(repeats + 5):
            begun = perf_counter()
            net(image)
            if image.is_cuda:
                torch.cuda.synchronize()
            if i >= 5:
                out.append(perf_counter() - begun)
    return out


def cost(state: State, config: Cost) -> list[Row]:
    """What stands in docs/compression.md, "What a net costs"; `parameters` stands with the accuracies.

    Deterministic: stored_bytes, macs, inference_bytes, training_passes. Not: latency_seconds (median, batch of one, n
    passes), training_seconds (all trainings, those of a shared base included). Where the net has them,
    integer_latency_seconds and integer_inference_bytes on kernels of 8-bit integers; on a GPU
    inference_allocated_bytes; where the machine counts energy, inference_joules of a pass of BATCH images.
    """
    assert state.net is not None
    assert state.data is not None
    images = state.data.test[:BATCH][0].to(state.device)
    passes = sum(progress.passes for progress in state.trainings.values())
    rows = [
        row("stored_bytes", stored_bytes(state.net)),
        row("macs", macs(state.net, images[:1])),
        row("inference_bytes", inference_bytes(state.net, images[:1])),
        row("training_passes", passes),
        _latency("latency_seconds", state.net, images[:1], config),
        row("training_seconds", state.seconds.get("train_seconds", 0.0), deterministic=False),
    ]
    if images.is_cuda:
        allocated = allocated_bytes(state.net, images[:1])
        rows.append(row("inference_allocated_bytes", allocated, deterministic=False))
    twin = agreeing(state.net, images)
    if twin is not None:
        rows.append(_latency("integer_latency_seconds", twin, images[:1], config))
        rows.append(row("integer_inference_bytes", inference_bytes(twin, images[:1]), deterministic=False))
    if joules := meter(state.device):
        nets_ = {"inference_joules": state.net} | ({} if twin is None else {"integer_inference_joules": twin})
        for name, net in nets_.items():
            value, n = inference_joules(net, images, config.repeats, joules)
            rows.append(row(name, value, n=n, deterministic=False))
    return rows


def _latency(name: str, net: Net, image: Tensor, config: Cost) -> Row:
    times = latencies(net, image, config.repeats)
    return row(name, statistics.median(times), n=len(times), deterministic=False)


@torch.no_grad()
def agreeing(net: Net, images: Tensor) -> Net | None:
    """The net on integer kernels, where it has them and predicts for AGREE of the images (N, C, H, W) what the
    simulation does: of some older processors the kernels add up in 16 bits and overflow. None else."""
    twin = integer(net)
    if twin is None:
        return None
    same = net.eval()(images).argmax(1) == twin(images).argmax(1)
    return twin if float(same.float().mean()) >= AGREE else None
