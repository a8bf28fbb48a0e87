"""Multiply-adds on numbers done by hand: of whatever multiplies, by whatever it is called."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from study.nets import masks
from study.nets import net as nets
from study.nets.build import build
from study.nets.compression.decompose import decompose
from study.nets.compression.factorize import factorize
from study.nets.compression.mask import mask_weights
from study.nets.compression.quantize import quantize
from study.nets.compression.remove import remove_rows
from study.nets.products import multiplied, multiply_adds
from study.spec.config import Build

ROWS = torch.rand(1, 5, 8)  # five tokens of eight numbers
PLANES = torch.rand(1, 8, 9, 7)


class Calls(nn.Module):
    """Weights that functions are given, by what `how` does with them."""

    def __init__(self, how, *shape):
        super().__init__()
        self.how, self.W = how, nn.Parameter(torch.rand(*shape))

    def forward(self, x):
        return self.how(x, self.W)


class Attention(nn.MultiheadAttention):
    def forward(self, x, weights=False):
        return super().forward(x, x, x, need_weights=weights)[0]


class Reading(nn.Module):
    """A linear layer that is read and never called, and one number that scales."""

    def __init__(self):
        super().__init__()
        self.inner, self.gain = nn.Linear(8, 6), nn.Parameter(torch.ones(1, 6))

    def forward(self, x):
        return self.gain * F.linear(x, self.inner.weight)


def attention(tokens, width):
    return tokens * 4 * width * width + 2 * tokens * tokens * width


KINDS = {
    "linear": (nn.Linear(8, 3), ROWS, 5 * 24),
    "conv1d": (nn.Conv1d(5, 4, 3), ROWS, 6 * 60),
    "conv2d": (nn.Conv2d(8, 4, 3), PLANES, 35 * 288),
    "strided, dilated": (nn.Conv2d(8, 4, 3, stride=2, dilation=2, padding=1), PLANES, 4 * 3 * 288),
    "grouped": (nn.Conv2d(8, 4, 3, groups=2), PLANES, 35 * 144),
    "depthwise": (nn.Conv2d(8, 8, 3, groups=8), PLANES, 35 * 72),
    "circular": (nn.Conv2d(8, 4, 3, padding=1, padding_mode="circular"), PLANES, 63 * 288),
    "conv3d": (nn.Conv3d(8, 2, 3, padding=1), PLANES[:, :, None], 63 * 2 * 8 * 27),
    "transposed": (nn.ConvTranspose2d(8, 4, 3, stride=2), PLANES, 63 * 288),
    "transposed, grouped": (nn.ConvTranspose2d(8, 4, 3, groups=4), PLANES, 63 * 72),
    "transposed 1d": (nn.ConvTranspose1d(5, 4, 3), ROWS, 8 * 60),
    "attention": (Attention(8, 2, batch_first=True), ROWS, attention(5, 8)),
    "a layer of a transformer": (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), ROWS, attention(5, 8) + 5 * 2 * 8 * 16,
    ),
    "fused attention": (Calls(lambda x, W: F.scaled_dot_product_attention(x, x, x @ W), 8, 8), ROWS, 5 * 64 + 400),
    "F.linear": (Calls(F.linear, 3, 8), ROWS, 5 * 24),
    "F.conv2d": (Calls(F.conv2d, 4, 8, 3, 3), PLANES, 35 * 288),
    "matmul": (Calls(lambda x, W: x @ W, 8, 3), ROWS, 5 * 24),
    "bmm": (Calls(lambda x, W: torch.bmm(x, x.mT) @ W, 5, 3), ROWS, 25 * 8 + 25 * 3),
    "einsum": (Calls(lambda x, W: torch.einsum("nti,io->nto", x, W), 8, 3), ROWS, 5 * 24),
    "a vector": (Calls(lambda x, W: x @ W[0], 1, 8), ROWS, 5 * 8),
    "two vectors": (Calls(lambda x, W: (x[0, 0] @ W[0])[None], 1, 8), ROWS, 8),
    "bilinear": (Calls(lambda x, W: F.bilinear(x, x, W), 3, 8, 8), ROWS, 5 * 192),
    "lstm": (nn.LSTM(8, 6, batch_first=True), ROWS, 5 * 4 * (48 + 36)),
    "two lstms both ways": (
        nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True), ROWS, 5 * 2 * 4 * (48 + 36 + 72 + 36),
    ),
    "gru": (nn.GRU(8, 6, batch_first=True), ROWS, 5 * 3 * (48 + 36)),
    "embedding": (nn.Embedding(9, 4), torch.tensor([[1, 2]]), 0),
    "norms": (nn.Sequential(nn.LayerNorm(8), nn.GELU(), nn.Softmax(-1)), ROWS, 0),
    "read": (Reading(), ROWS, 5 * 48),
    "twice": (nn.Sequential(*[nn.Linear(8, 8)] * 2), ROWS, 2 * 5 * 64),
    "a weight from others": (parametrizations.spectral_norm(nn.Linear(8, 3)), ROWS, 5 * 24),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_by_hand(kind):
    net, x, count = KINDS[kind]
    assert multiply_adds(net, x) == count


def test_fused_attention_is_taken_apart_and_left_as_it_was():
    fast, math = torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()
    layer = Attention(8, 2, batch_first=True).eval()
    assert multiply_adds(layer, ROWS) == attention(5, 8)
    with pytest.raises(AssertionError):  # of torch: tokens of another width
        multiply_adds(layer, ROWS[..., :3])
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()) == (fast, math)


@torch.no_grad()
def by_layers(net, image):
    """The count of before, of layers alone: every weight of one at each of its places."""
    counts = []
    hooks = [
        layer.register_forward_hook(
            lambda m, given, out: counts.append(
                sum(W.numel() for W in masks.stored(m).values()) * out.numel() // nets.matrix(m).shape[0]
            )
        )
        for layer in nets.weighted(net).values()
    ]
    net.eval()(image)
    for hook in hooks:
        hook.remove()
    return sum(counts)


def built(model, shape, **how):
    return build(Build(model=model, **how), shape, 10, ((0.5,) * shape[0], (0.25,) * shape[0]), 0)


@pytest.mark.parametrize("model", ["fcn", "cnn8", "resnet18"])
def test_nets_without_attention_count_what_their_layers_do(model):
    shape = (1, 8, 8) if model == "fcn" else (3, 32, 32)
    net = built(model, shape, **({} if model == "fcn" else {"width_multiplier": 0.125}))
    x = torch.rand(1, *shape)
    whole = by_layers(net, x)
    assert multiply_adds(net, x) == multiply_adds(mask_weights(net, 0.3, "magnitude", 0), x) == whole
    assert multiply_adds(quantize(net, 4, [x]), x) == whole
    for made in (remove_rows(net, 0.5, shape), factorize(net, 2, 0), decompose(net, 0.5, "svd", 0)[0]):
        assert multiply_adds(made, x) == by_layers(made, x) < whole


def test_of_a_transformer_attention_is_more_than_its_layers():
    x = torch.rand(1, 1, 8, 8)
    net = built("vit", (1, 8, 8), width=64, depth=2)
    assert multiply_adds(net, x) == by_layers(net, x) + 2 * 2 * 65**2 * 64, "8 x 8 patches of enlarged images, and one"


@pytest.mark.parametrize(
    ("net", "x", "names"),
    [
        (nn.Sequential(nn.Linear(8, 3), nn.LayerNorm(3)), ROWS, ["0.weight"]),
        (Attention(8, 2, batch_first=True), ROWS, ["in_proj_weight", "out_proj.weight"]),
        (Reading(), ROWS, ["inner.weight"]),
        (Calls(lambda x, W: torch.einsum("nti,io->nto", x, W), 8, 3), ROWS, ["W"]),
        (nn.LSTM(8, 6, batch_first=True), ROWS, ["weight_ih_l0", "weight_hh_l0"]),
        (nn.ConvTranspose2d(8, 4, 3), PLANES, ["weight"]),
        (nn.Embedding(9, 4), torch.tensor([[1, 2]]), []),
    ],
)
def test_weights_that_images_are_multiplied_with_are_named_by_whoever_calls(net, x, names):
    assert multiplied(net, x) == names
