"""Nets as people have them: where their head is, by what the logits depend on last.

The table "What a net may return, and what is said of it" in docs/extending.md has a row for each.
"""

import copy

import pytest
import torch
from torch import nn

from study.nets import net as nets
from study.nets import tracing
from study.nets.compression import mask, quantize, remove
from study.nets.net import Net
from study.spec.errors import UsageError
from tests.foreign_cases import SHAPE, Own, images, made, own_net


def sharing():
    net = own_net(b=nn.Linear(16, 10), c=nn.Linear(10, 16))
    net.way = lambda net, x: net.head(net.c(net.b(net.a(x).relu()).relu()).relu())
    net.head.weight = net.b.weight
    return net


HEADS = {
    "declared first": (
        lambda: Own(
            lambda net, x: net.last(net.b(net.a(x).relu()).relu()),
            last=nn.Linear(16, 10), a=nn.Linear(64, 16), b=nn.Linear(16, 16),
        ), "last", ("a", "b"), "its head is last and the first layer a",
    ),
    "an auxiliary one declared last": (
        lambda: own_net(lambda net, h: (net.head(h), net.aux(h)), aux=nn.Linear(16, 10)), "head", ("a", "b"),
        "aux is not reached by gradients of the 64 images tried (noise, greys, squares): no hidden layer, 10.3 % of",
    ),
    "tied": (sharing, "head", ("a", "c"), "b has the weight of the head head and is no hidden layer either"),
    "two that are added": (
        lambda: own_net(lambda net, h: net.head(h) + net.other(h), other=nn.Linear(16, 10)), "other", ("a", "b"),
        "head gives logits beside the head other",
    ),
    "in its place": (own_net, "head", ("a", "b"), ""),
}  # fmt: skip


@pytest.mark.parametrize("which", HEADS)
def test_the_head_is_what_the_logits_depend_on_last(which, tried):
    body, head, hidden, words = HEADS[which]
    net = made(body())
    assert nets.head(net) is net.body.get_submodule(head)
    assert net.hidden == hidden
    said = tried(body)
    assert (words in said) if words else said == ""


def test_a_head_declared_first_is_left_alone_and_the_first_layer_reads_the_image():
    net = made(HEADS["declared first"][0]())
    before = net.body.last.weight.detach().clone()
    assert torch.equal(mask.mask_weights(net, 0.3, "magnitude", 0).body.last.weight, before)
    rounded = quantize.quantize(net, 8, [images()])
    assert [hasattr(layer, "input_quantizer") for layer in (rounded.body.a, rounded.body.b, rounded.body.last)] == [
        False, True, True,
    ]  # fmt: skip
    smaller = remove.remove_rows(net, 0.5, SHAPE)
    assert smaller.body.last.weight.shape == (10, 8)
    assert smaller.body.a.weight.shape == (8, 64)


def test_a_first_convolution_is_told_by_the_calls():
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.second, self.stem = nn.Linear(8, 10), nn.Conv2d(8, 8, 3), nn.Conv2d(1, 8, 3)

        def forward(self, x):
            return self.fc(self.second(self.stem(x).relu()).mean((2, 3)))

    assert made(Late()).hidden == ("second",)


def by_hand(net, h):
    return h @ net.other.weight.T


@pytest.mark.parametrize(
    ("way", "other", "words"),
    [
        (by_hand, nn.Linear(16, 10), "the parameter other.weight makes the logits, without a call of a layer"),
        (lambda net, h: net.other(h, h), nn.Bilinear(16, 16, 10), "other, of type Bilinear, makes the logits"),
        (lambda net, h: net.head(h).detach(), nn.Identity(), "its logits have no gradient to the weights of any"),
    ],
)
def test_a_net_without_a_head_is_refused(way, other, words, tried):
    with pytest.raises(UsageError, match=f"--model mine:net cannot be used: it has no head: .*{words}"):
        tried(lambda: own_net(way, other=copy.deepcopy(other)))


def test_looking_for_the_head_leaves_a_net_as_it_was():
    body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 16), nn.Linear(16, 10))
    body[1].forward = lambda x: nn.functional.batch_norm(x, body[1].running_mean, body[1].running_var, training=True)
    body[3].weight.requires_grad_(False)
    body[3].eval()
    net = Net(body, (0.3,), (0.4,), (), classes=10)
    before, state = copy.deepcopy(net.state_dict()), torch.random.get_rng_state()
    tracing.trace(net, SHAPE)
    assert all(torch.equal(W, before[name]) for name, W in net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [m.training for m in body] == [True, True, True, False, True]
    assert [p.requires_grad for p in body[3].parameters()] == [False, True]


def experts(bias=0.0):
    """Four layers of which the largest of four numbers chooses one for each image, and one that nothing chooses."""

    def way(net, h):
        chosen, out = net.router(h).argmax(1), torch.zeros_like(h)
        for i, expert in enumerate((net.e0, net.e1, net.e2, net.e3)):
            if (mine := chosen == i).any():
                out[mine] = expert(h[mine]).relu()
        return net.head(h + out)

    layers = {f"e{i}": nn.Linear(16, 16) for i in range(4)} | {"never": nn.Linear(16, 16)}
    net = own_net(way, router=nn.Linear(16, 4), **layers)
    nn.init.constant_(net.router.bias[:1], bias)
    return net


@pytest.mark.parametrize("bias", [0.0, 100.0])
def test_a_layer_that_few_images_reach_is_hidden(bias):
    """With a bias of 100 no image but e0's is there; other weights, which may be loaded later, choose others."""
    body = experts(bias)
    before = copy.deepcopy(body.state_dict())
    net = made(body)
    assert net.hidden == ("a", "b", "e0", "e1", "e2", "e3")
    assert net.read == ()
    share = 100 * (68 + 272) / (1040 + 6 * 272 + 68 + 170)
    assert net.notes[-1] == (
        "router, never is not reached by gradients of the 64 images tried (noise, greys, squares): no hidden layer, "
        f"{share:.3g} % of its parameters"
    )
    assert all(torch.equal(W, before[name]) for name, W in body.state_dict().items())


def test_more_images_are_tried_only_where_a_layer_is_left():
    seen = []
    made(own_net(lambda net, h: (seen.append(len(h)), net.head(h))[1]))
    assert seen == [2]
    seen.clear()
    made(own_net(lambda net, h: (seen.append(len(h)), net.head(h))[1], never=nn.Linear(2, 2)))
    assert sum(seen) == 64
