"""Blocks of a ViT: their matrices, the net as far as the first one, what stretches before and behind them."""

import pytest
import torch
from torch import nn

from study.nets import blocks
from study.nets.build import build
from study.spec.config import Build
from study.theory.blocks import GELU
from tests.helpers import linear_net


def vit(shape=(1, 8, 8), **how):
    config = Build(model="vit", **({"width": 64, "depth": 2, "patch_size": 8} | how))
    channels = (0.3,) * shape[0], (0.5,) * shape[0]
    return build(config, shape, 10, channels, 0).eval()


def test_the_net_as_far_as_its_first_block_has_that_blocks_tokens():
    net, x, seen = vit(), torch.rand(3, 1, 8, 8), []
    net.body.blocks[0].register_forward_hook(lambda module, given, out: seen.append(out))
    net(x)
    torch.testing.assert_close(blocks.first(net)(x), seen[0].flatten(1))


def test_the_matrices_of_a_block_by_head():
    net = vit()
    assert blocks.names(net) == ["blocks.0", "blocks.1"]
    block = blocks.matrices(net, "blocks.1")
    attention = net.body.blocks[1].attn
    assert (len(block.Q), block.d, [tuple(W.shape) for W in block.ffn]) == (2, 64, [(256, 64), (64, 256)])
    assert torch.equal(torch.cat(list(block.V)), attention.qkv.v.weight)
    assert torch.equal(block.out, attention.proj.weight)
    assert blocks.names(linear_net(torch.ones(2, 64), (1, 8, 8))) == []


@pytest.mark.parametrize(("shape", "least"), [((3, 32, 32), 0.999), ((1, 32, 32), 0.5), ((1, 8, 8), 0.3)])
def test_tokens_move_at_most_by_what_begins_says(shape, least):
    """Against the Jacobian at the normalised image: reached where no channel is repeated and nothing is enlarged,
    elsewhere up to three times above (what is enlarged is smooth)."""
    net = vit(shape, width=32, depth=1)
    body = net.body

    def tokens(x):
        pixels = x.view(1, *shape).expand(-1, 3, -1, -1)
        if shape[-1] != 32:
            pixels = nn.functional.interpolate(pixels, size=(32, 32), mode="bilinear")
        return body.patch_embed(pixels).flatten()

    J = torch.autograd.functional.jacobian(tokens, torch.rand(shape).flatten())
    largest, said = float(torch.linalg.matrix_norm(J, ord=2)), blocks.begin(net, shape)
    assert least * said <= largest <= said * (1 + 1e-5)


def test_layer_normalisation_stretches_a_constant_token_by_its_constant():
    norm = nn.LayerNorm(8, eps=1e-4).double()
    nn.init.constant_(norm.weight, -3.0)
    J = torch.autograd.functional.jacobian(norm, torch.full((8,), 0.7, dtype=torch.float64))
    assert blocks.constant(norm) == pytest.approx(300)
    assert float(torch.linalg.matrix_norm(J, ord=2)) == pytest.approx(300)
    assert blocks.constant(nn.Identity()) == 1


def test_the_constant_of_gelu_is_its_largest_slope():
    x = torch.linspace(-6, 6, 100_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(nn.functional.gelu(x).sum(), x)
    assert float(slope.abs().max()) == pytest.approx(GELU, abs=1e-6)
