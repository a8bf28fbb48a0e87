"""Forward hooks of a net's owner: kept where the function stays, refused by name where it would not."""

import copy

import pytest
import torch
from torch import nn

from study.nets import heads, hooks
from study.nets import net as nets
from study.nets.compression import decompose, factorize, integer, quantize, remove
from study.nets.fold import folded
from study.spec.config import Decompose, Factorize
from study.spec.errors import UsageError
from tests.foreign_cases import SHAPE, images, made, own_net

X = images()


def tripled(m, given, out):
    return out * 3


def dense(hook=tripled, layer="1"):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10))
    if hook:
        net.get_submodule(layer).register_forward_hook(hook)
    return net


def of_rank(net, rank):
    """The net with every hidden weight at its nearest of that rank."""
    with torch.no_grad():
        for layer in nets.layers(net).values():
            U, s, V = torch.linalg.svd(layer.weight, full_matrices=False)
            layer.weight.copy_(U[:, :rank] * s[:rank] @ V[:rank])
    return net


@torch.no_grad()
def test_factors_of_exact_rank_keep_the_function_hooks_included():
    net = of_rank(made(dense()), 3)
    plain = of_rank(made(dense(None)), 3)
    assert not torch.allclose(net(X), plain(X), atol=0.01), "the hook matters"
    out = decompose.decompose(net, 0.25, "svd", 0)[0]
    assert isinstance(out.body[1], nets.LowRankLinear)
    torch.testing.assert_close(out(X), net(X), rtol=1e-4, atol=1e-5)
    assert [*hooks.theirs(out.body[1])] == [tripled]
    again = copy.deepcopy(out)
    assert torch.equal(again(X), out(X))


@torch.no_grad()
def test_fresh_factors_and_a_fresh_head_keep_the_hooks():
    out, bare = (factorize.factorize(made(dense(hook)), 4, 0) for hook in (tripled, None))
    bare.body[1].register_forward_hook(tripled)
    assert torch.equal(out(X), bare(X))
    new, twin = (heads.fresh(made(dense(hook, "5")), SHAPE, 4, 0) for hook in (tripled, None))
    assert torch.equal(new(X), 3 * twin(X))


def told(m, given, out):
    return out * m.weight.abs().max()


class Called:
    def __call__(self, m, given, out):
        return out * 3


@pytest.mark.parametrize("hook", [told, lambda m, *rest: rest[1] if isinstance(m, nn.Linear) else 0, Called()])
@pytest.mark.parametrize("stage", [Factorize(rank=2), Decompose(ratio=0.5, method="svd")])
def test_a_hook_that_may_look_at_its_layer_is_no_hook_of_factors(hook, stage, tried):
    with pytest.raises(UsageError, match="1 has a forward hook that looks at the layer itself"):
        tried(lambda: dense(hook), stage)


def test_what_a_user_is_told(tried):
    assert "forward hook" not in tried(lambda: dense(None))
    assert "1 has a forward hook, which stays" in tried(dense)
    net = quantize.quantize(made(dense(None)), 8, [X])
    assert not any(map(hooks.theirs, net.modules())), "those that round inputs are the project's own"


def test_a_net_whose_hook_holds_a_part_of_it_is_refused_and_left_as_it_was():
    def with_gate():
        net = own_net(gate=nn.Linear(16, 16))
        net.a.register_forward_hook(lambda m, given, out: net.gate(out))
        return net

    def with_memory():
        net = own_net(lambda net, h: net.head(h + net.seen["a"]))
        net.seen = {}
        net.a.register_forward_hook(lambda m, given, out: net.seen.update(a=out.relu()))
        return net

    for body in (with_gate(), with_memory()):
        before = copy.deepcopy(body.state_dict())
        with pytest.raises(UsageError, match="a forward hook on a holds a part of the net"):
            made(body)
        assert all(torch.equal(W, before[name]) for name, W in body.state_dict().items())


@torch.no_grad()
def test_removal_is_tried_where_a_chain_has_hooks():
    out = remove.remove_rows(made(dense()), 0.5, SHAPE)
    assert out.body[1].out_features == 8
    with pytest.raises(ValueError, match="a channel of zeros is not without effect"):
        remove.remove_rows(made(dense(lambda m, given, out: out + 1)), 0.5, SHAPE)


@torch.no_grad()
def test_no_bound_no_folding_and_no_integer_kernel_forgets_a_hook():
    chain = [nn.Flatten(), nn.Linear(64, 16, bias=False), nn.ReLU(), nn.Linear(16, 10)]
    assert nets.chain(made(nn.Sequential(*chain))) is not None
    chain[1].register_forward_hook(tripled)
    assert nets.chain(made(nn.Sequential(*chain))) is None
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10),
    )  # fmt: skip
    body[3].register_forward_hook(lambda m, given, out: out.clamp(-5, 5))  # what no image of this test meets
    net = made(body)
    out = folded(net, X)
    assert isinstance(out.body[1], nn.Identity)
    assert isinstance(out.body[4], nn.BatchNorm2d)
    torch.testing.assert_close(out(100 * X), net(100 * X), rtol=1e-4, atol=1e-4)
    assert integer.integer(quantize.quantize(net, 8, [X])) is None
