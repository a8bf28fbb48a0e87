"""Nets as they are shipped: bits really packed, the bytes that `stored_bytes` counts, the same numbers back."""

import dataclasses

import pytest
import torch
from torch import nn

from study.nets import masks
from study.nets import net as nets
from study.nets.build import build
from study.nets.compression import packing, shipped
from study.nets.compression.factorize import factorize
from study.nets.compression.mask import mask_weights
from study.nets.compression.quantize import quantize
from study.nets.compression.remove import remove_rows
from study.nets.net import Net
from study.spec.config import Build, Factorize, Head, Prune, Quantize, Remove, Train
from study.trial.measures.cost import stored_bytes
from study.trial.skeleton import skeleton

SHAPE = (3, 32, 32)
DATA = {"": {"shape": list(SHAPE), "classes": 10, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}}
MODELS = {
    "fcn": Build(width=12, depth=2),
    "cnn": Build(model="cnn", width_multiplier=1 / 16),
    "resnet18": Build(model="resnet18", width_multiplier=1 / 16, stem="small"),
}


def images(n=8, seed=0):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def built(model, seed=3):
    """A net whose norms are those of a trained one: no statistic at its default."""
    net = build(MODELS[model], SHAPE, 10, ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), seed)
    net.train()(images(64, 1))
    return net.eval()


COMPRESSED = {
    "dense": (lambda net: net, ()),
    "removed": (lambda net: remove_rows(net, 0.5, SHAPE), (Remove(ratio=0.5),)),
    "masked": (lambda net: mask_weights(net, 0.3, "bernoulli", 0), (Prune(keep_prob=0.3, mask="bernoulli"),)),
    "hardly masked": (lambda net: mask_weights(net, 0.999, "magnitude", 0), (Prune(keep_prob=0.999),)),
    "low rank": (lambda net: factorize(net, 3, 0), (Factorize(rank=3),)),
    "low rank, masked": (lambda net: mask_weights(factorize(net, 3, 0), 0.5, "magnitude", 0),
                         (Factorize(rank=3), Prune(keep_prob=0.5))),
}  # fmt: skip


def bytes_of(tensors):
    return sum(W.numel() * W.element_size() for W in tensors.values())


@pytest.mark.parametrize("bits", packing.BITS)
def test_numbers_of_a_few_bits_come_back(bits):
    for n in (0, 1, 7, 8, 9, 1001):
        codes = torch.randint(0, 2**bits, (n,), generator=torch.Generator().manual_seed(n))
        packed = packing.pack(codes, bits)
        assert packed.dtype == torch.uint8
        assert len(packed) == -(-n * bits // 8)
        assert packing.unpack(packed, bits, n).tolist() == codes.tolist()


def test_the_layout_is_the_one_that_is_said():
    assert packing.pack(torch.tensor([1, 0, 1, 1, 0, 0, 0, 0, 1]), 1).tolist() == [0b1101, 1]
    assert packing.pack(torch.tensor([3, 10, 15]), 4).tolist() == [0xA3, 0x0F]
    assert packing.pack(torch.tensor([258]), 16).tolist() == [2, 1]
    with pytest.raises(ValueError, match=r"lie in \[0, 4\), got 1 to 4"):
        packing.pack(torch.tensor([1, 4]), 2)
    with pytest.raises(ValueError, match="bits must be one of"):
        packing.pack(torch.tensor([1]), 3)
    with pytest.raises(ValueError, match="take 2 bytes, got 3"):
        packing.unpack(torch.zeros(3, dtype=torch.uint8), 4, 3)


def test_four_bits_of_64_x_200_weights_take_6400_bytes():
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 200, bias=False), nn.ReLU(), nn.Linear(200, 10))
    net = mask_weights(Net(body, (0.0,), (1.0,), ["1"]), 0.1, "magnitude", 0)
    net.masks.clear()
    found, _ = shipped.pack(quantize(net, 4, [torch.rand(4, 1, 8, 8)]))
    assert {name: W.numel() * W.element_size() for name, W in found.items()} == {
        "body.1.weight": 6400, "body.1.weight.scale": 4, "body.3.weight": 1000, "body.3.weight.scale": 4,
        "body.3.bias": 40, "inputs.scale": 4, "inputs.zero": 4, "mean": 4, "std": 4,
    }  # fmt: skip


def test_a_bitmap_and_the_kept_weights_by_hand():
    W = torch.tensor([[0.0, 2.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.5, 0.0, 4.0] + [0.0] * 22])
    body = nn.Sequential(nn.Flatten(), nn.Linear(32, 1, bias=False), nn.ReLU(), nn.Linear(1, 2, bias=False))
    net = Net(body, (0.0,), (1.0,), ["1"])
    with torch.no_grad():
        body[1].weight.copy_(W)
    net = mask_weights(net, 4 / 32, "magnitude", 0)
    found, _ = shipped.pack(net)
    assert found["body.1.weight.mask"].tolist() == [0b10010010, 0b10, 0, 0]
    assert found["body.1.weight"].tolist() == [2.0, -1.0, 0.5, 4.0]


CASES = [
    *[("fcn", kind, bits) for kind in COMPRESSED for bits in (32, 8, 4, 2, 1)],
    *[("cnn", kind, bits) for kind in ("removed", "masked", "low rank") for bits in (32, 4)],
    ("resnet18", "removed", 32), ("resnet18", "low rank, masked", 2), ("resnet18", "dense", 1),
]  # fmt: skip


@pytest.mark.parametrize(("model", "kind", "bits"), CASES)
def test_a_net_comes_back_with_the_bytes_that_are_counted(model, kind, bits):
    make, stages = COMPRESSED[kind]
    net = make(built(model))
    if bits < 32:
        net, stages = quantize(net, bits, [images()]), (*stages, Quantize(bits=bits))
    tensors, facts = shipped.pack(net.eval())
    assert bytes_of(tensors) == stored_bytes(net) + 4 * 6, "six constants of the normalisation are not counted"
    again = skeleton((MODELS[model], *stages), DATA)
    shipped.fill(again, tensors, facts)
    x = images(5, 2)
    with torch.no_grad():
        assert torch.equal(again.eval()(x), net(x))
    assert again.masks.keys() == net.masks.keys()
    for name, W in masks.hidden_weights(again).items():
        if name in again.masks:
            assert bool((W[again.masks[name] == 0] == 0).all())


def rows_apart(net):
    """Every quantizer replaced by one whose scale is that of a row: what a finer granularity gives."""

    class Rows(nn.Module):
        def __init__(self, bits):
            super().__init__()
            self.bits = bits

        def forward(self, W):
            flat = W.detach().abs().flatten(1)
            shape = (-1, *[1] * (W.ndim - 1))
            if self.bits == 1:
                return W.sign() * flat.mean(1).view(shape)
            half = 2 ** (self.bits - 1)
            zero = torch.zeros(len(W), dtype=torch.int32)
            return torch.fake_quantize_per_channel_affine(W, flat.amax(1) / (half - 0.5), zero, 0, -half, half - 1)

    for layer in nets.weighted(net).values():
        for part in layer.parametrizations.values():
            part[0] = Rows(part[0].bits)
    return net


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_a_scale_of_each_row_is_read_off_the_weights(bits):
    net = rows_apart(quantize(built("cnn"), bits, [images()])).eval()
    tensors, facts = shipped.pack(net)
    scales = {name: len(W) for name, W in tensors.items() if name.endswith("weight.scale")}
    assert scales == {f"body.{n}.weight.scale": len(m.weight) for n, m in nets.weighted(net).items()}
    again = skeleton((MODELS["cnn"], Quantize(bits=bits)), DATA)
    shipped.fill(again, tensors, facts)
    with torch.no_grad():
        assert torch.equal(again.eval()(images(5, 2)), net(images(5, 2)))


def test_weights_on_no_levels_are_refused():
    net = quantize(built("fcn"), 4, [images()])
    layer = next(iter(nets.weighted(net).values()))
    layer.parametrizations.weight[0].forward = lambda W: W
    with pytest.raises(ValueError, match=r"body\.layer1\.weight: the weights do not lie on 16 levels"):
        shipped.pack(net)


def test_tensors_of_another_net_are_refused():
    tensors, facts = shipped.pack(built("fcn"))
    other = skeleton((MODELS["cnn"],), DATA)
    with pytest.raises((ValueError, RuntimeError)):
        shipped.fill(other, tensors, facts)
    quantized = skeleton((MODELS["fcn"], Quantize(bits=4)), DATA)
    with pytest.raises(ValueError, match="quantized inputs are those of another net"):
        shipped.fill(quantized, tensors, facts)
    del tensors["body.1.weight.scale" if "body.1.weight.scale" in tensors else "mean"]
    with pytest.raises(ValueError, match="tensors are those of another net: mean"):
        shipped.fill(skeleton((MODELS["fcn"],), DATA), tensors, facts)


def test_a_skeleton_needs_neither_training_nor_the_weights_that_the_net_began_with():
    stages = (dataclasses.replace(MODELS["fcn"], weights="file:0", on="first"), Train(), Head())
    data = {"first": DATA[""] | {"classes": 4}, "": DATA[""]}
    assert nets.classes(skeleton(stages, data), SHAPE) == 10
