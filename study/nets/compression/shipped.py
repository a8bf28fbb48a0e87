"""A net as it is shipped: its tensors at the bits they have, and what one must know to lay them out again.

Of a weight tensor NAME there is `NAME` (float32, or codes packed into bytes), `NAME.scale` where it is quantized and
`NAME.mask` where a bitmap of the entries that may differ from zero, followed by these alone, takes fewer bytes.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from study.nets import masks
from study.nets import net as nets
from study.nets.compression import packing
from study.nets.compression.quantize import InputQuantizer, bits_of
from study.nets.net import Net

Facts = dict[str, Any]


@torch.no_grad()
def pack(net: Net) -> tuple[dict[str, Tensor], Facts]:
    """The tensors of a net by name, and how they lie there as plain data: shape, bits and bitmap of each weight tensor,
    and which layers' inputs are quantized.

    Their bytes are those of `stored_bytes` and the constants of the normalisation. Whole-number buffers are left out:
    the architecture has them, and knows which layers share a tensor, which stands here once. ValueError for weights
    that lie on no levels of their bits.
    """
    out: dict[str, Tensor] = {}
    weights: dict[str, Facts] = {}
    inputs = _inputs(net)
    laid = {id(b) for m in inputs.values() for b in m.buffers()}
    for layer, module in nets.weighted(net).items():
        for part, behind in masks.stored(module).items():
            if id(behind) in laid:
                continue
            laid.add(id(behind))
            name, mask = f"body.{layer}.{part}", net.masks.get(f"{layer}.{part}")
            try:
                tensors, weights[name] = _packed(getattr(module, part), behind, bits_of(module), mask)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            out |= {name + suffix: W for suffix, W in tensors.items()}
    for name, W in net.state_dict(keep_vars=True).items():
        if W.is_floating_point() and ".parametrizations." not in name and id(W) not in laid:
            laid.add(id(W))
            out[name] = W
    if inputs:
        out["inputs.scale"] = torch.tensor([float(m.scale) for m in inputs.values()])
        out["inputs.zero"] = torch.tensor([int(m.zero) for m in inputs.values()], dtype=torch.int32)
    plain = {name: W.detach().cpu().clone().contiguous() for name, W in out.items()}
    return plain, {"weights": weights, "inputs": list(inputs)}


@torch.no_grad()
def fill(net: Net, tensors: Mapping[str, Tensor], facts: Facts) -> None:
    """Give a net of the same architecture, its weights plain, the tensors that `pack` has made, in place.

    Masks come back from their bitmaps; of a masked tensor that was shorter without one, they are its non-zeros.
    ValueError, KeyError or RuntimeError where they do not fit.
    """
    rest = dict(tensors)
    state: dict[str, Tensor] = {}
    for name, fact in facts["weights"].items():
        parts = {suffix: rest.pop(name + suffix, None) for suffix in ("", ".scale", ".mask")}
        state[name], mask = _unpacked(parts, fact)
        if fact["masked"]:
            net.masks[name.removeprefix("body.")] = mask.to(torch.float32)
    inputs = _inputs(net)
    if list(inputs) != facts["inputs"]:
        raise ValueError("its quantized inputs are those of another net")
    scales = rest.pop("inputs.scale").tolist() if inputs else []
    zeros = rest.pop("inputs.zero").tolist() if inputs else []
    missing, unknown = net.load_state_dict(state | rest, strict=False)
    own = net.state_dict(keep_vars=True)
    laid = {id(own[n]) for n in own if n not in missing} | {id(b) for m in inputs.values() for b in m.buffers()}
    absent = [n for n in missing if own[n].is_floating_point() and id(own[n]) not in laid]
    if absent or unknown:
        raise ValueError(f"its tensors are those of another net: {', '.join([*absent, *unknown][:3])}")
    for quantizer, scale, zero in zip(inputs.values(), scales, zeros, strict=True):
        _lay(quantizer, scale, zero)  # last: a range that is part of the state has followed what was loaded


def _inputs(net: Net) -> dict[str, InputQuantizer]:
    return {name: m for name, m in net.named_modules() if isinstance(m, InputQuantizer)}


def _lay(quantizer: InputQuantizer, scale: float, zero: int) -> None:
    """Give a quantizer its levels, and what it may hold beside them: the factor 1 / scale, the range as state."""
    quantizer.scale, quantizer.zero = scale, zero
    held: Any = quantizer
    if hasattr(held, "inverse"):
        held.inverse = float(1 / torch.tensor(scale))
    for name, value in zip(("low", "high"), quantizer.range(), strict=True):
        if isinstance(found := getattr(quantizer, name, None), Tensor):
            found.fill_(value)


def _packed(V: Tensor, behind: Tensor, bits: int, mask: Tensor | None) -> tuple[dict[str, Tensor], Facts]:
    """A weight tensor's parts by suffix; V are its numbers as the net multiplies them."""
    zeros = bits == 1 and not bool(V.all())  # one bit has no level for zero
    kept = (mask != 0) if mask is not None and not zeros else V != 0 if zeros else None
    sparse = kept is not None and (bits == 1 or _bytes(V, kept, bits) < _bytes(V, None, bits))
    fact: Facts = {"shape": list(V.shape), "bits": bits, "masked": mask is not None}
    parts = {".mask": packing.pack(kept.flatten(), 1)} if sparse and kept is not None else {}
    if bits == 32:
        return parts | {"": V[kept] if sparse else V}, fact
    s = packing.scales(V, behind, bits)
    q = packing.quotients(V, s)
    q = q[kept] if sparse else q.flatten()
    codes = (q > 0) if bits == 1 else q + 2 ** (bits - 1)
    return parts | {"": packing.pack(codes, bits), ".scale": s.view(-1)}, fact


def _bytes(V: Tensor, kept: Tensor | None, bits: int) -> int:
    if kept is None:
        return math.ceil(V.numel() * bits / 8)
    return math.ceil(V.numel() / 8) + math.ceil(int(kept.count_nonzero()) * bits / 8)


def _unpacked(parts: Mapping[str, Tensor | None], fact: Facts) -> tuple[Tensor, Tensor]:
    """The numbers of a weight tensor, and where they may differ from zero."""
    shape, bits = tuple(fact["shape"]), fact["bits"]
    n, given, bitmap, s = math.prod(shape), parts[""], parts[".mask"], parts[".scale"]
    assert given is not None
    kept = torch.ones(n, dtype=torch.bool) if bitmap is None else packing.unpack(bitmap, 1, n).bool()
    if bits == 32:
        values = given.flatten()
    else:
        codes = packing.unpack(given, bits, int(kept.count_nonzero()))
        values = (2 * codes - 1 if bits == 1 else codes - 2 ** (bits - 1)).float()
    V = torch.zeros(n)
    V[kept] = values
    V = V.view(shape)
    if s is not None:
        V = V * (packing.spread(s, V) if len(s) > 1 else s[0])
    return V, kept.view(shape) if bitmap is not None else V != 0
