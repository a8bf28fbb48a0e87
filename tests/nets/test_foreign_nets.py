"""Nets as people have them: what they may return, and what is said of it.

The table "What a net may return, and what is said of it" in docs/extending.md has a row for each.
"""

import pytest
import torch
from torch import nn

from study.attacks.apgd import apgd
from study.attacks.losses import dlr, log_odds, margin, targeted_dlr
from study.nets import net as nets
from study.nets import sources
from study.nets.build import build
from study.nets.compression import remove
from study.nets.data import load
from study.spec.config import Build, Load
from study.spec.errors import UsageError
from tests.foreign_cases import ATTACK, CLASSES, SHAPE, images, made, own_net

PAIR = {
    "tuple": lambda net, h: (net.aux(h), net.head(h)),
    "list": lambda net, h: [h, [net.head(h), h]],
    "dict": lambda net, h: {"features": h, "logits": net.head(h), "loss": None},
    "training alone": lambda net, h: (net.head(h), net.aux(h)) if net.training else net.head(h),
}


@torch.no_grad()
@pytest.mark.parametrize("form", PAIR)
def test_the_first_tensor_of_logits_is_taken_and_said(form, tried):
    more = {"aux": nn.Linear(16, 7)}
    net, plain = made(own_net(PAIR[form], **more)), made(own_net(**more))
    for mode in (True, False):
        assert torch.equal(net.train(mode)(images()), plain(images()))
    assert nets.head(net) is net.body.head
    assert net.hidden == ("a", "b")
    assert "the first tensor of shape (N, 10) in it is taken as logits" in tried(lambda: own_net(PAIR[form], **more))


@torch.no_grad()
@pytest.mark.parametrize("form", ["tuple", "dict"])
def test_what_is_returned_beside_the_logits_loses_the_rows_that_are_removed(form):
    net = made(own_net(PAIR[form], aux=nn.Linear(16, 7)))
    smaller = remove.remove_rows(net, 0.5, SHAPE)
    assert smaller(images()).shape == (6, 10)
    assert smaller.body.b.weight.shape == (8, 8)
    assert smaller.body.aux.in_features == (8 if form == "tuple" else 16)  # the dict's is never called


@torch.no_grad()
@pytest.mark.parametrize("way", [lambda net, h: net.head(h), lambda net, h: net.head(h)[:, 0]])
def test_one_logit_is_two_classes(way, tried):
    net = made(own_net(way, classes=1), classes=2)
    z = way(net.body, net.body.b(net.body.a(((images() - 0.3) / 0.4).flatten(1)).relu()).relu()).reshape(-1)
    assert torch.allclose(net(images()).softmax(1)[:, 1], z.sigmoid())
    assert torch.equal(net(images()).argmax(1), (z > 0).long())
    assert remove.remove_rows(net, 0.5, SHAPE)(images()).shape == (6, 2)
    said = tried(lambda: own_net(way, classes=1), binary=True)
    assert "it returns one logit z per image; its two classes have the logits 0 and z" in said


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (lambda net, h: h, r"it returned a tensor \(2, 16\) of torch.float32 for N = 2; it must return logits"),
        (lambda net, h: net.head(h)[:, :, None], r"it returned a tensor \(2, 10, 1\) of torch.float32"),
        (lambda net, h: (h, None), r"it returned a tuple of a tensor \(2, 16\) of torch.float32, a NoneType"),
        (lambda net, h: {"y": net.head(h).argmax(1)}, r"it returned a dict with y: a tensor \(2,\) of torch.int64"),
        (lambda net, h: net.head(h).argmax(1), r"it returned a tensor \(2,\) of torch.int64"),
        (lambda net, h: "cat", r"it returned a str for N = 2"),
        (lambda net, h: (), r"it returned a tuple of nothing"),
    ],
)
def test_anything_else_is_refused_naming_what_came_back(way, words, tried):
    with pytest.raises(UsageError, match=words):
        tried(lambda: own_net(way))


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (lambda net, h: net.head(h).sigmoid(), "the net gives a probability of each class"),
        (lambda net, h: net.head(h).softmax(1), "the net gives probabilities, not logits"),
    ],
)
def test_probabilities_are_no_logits(way, words, tried):
    with pytest.raises(UsageError, match=f"cannot be attacked: {words}"):
        tried(lambda: own_net(way), measures=(ATTACK,))
    assert words in tried(lambda: own_net(way))


def test_one_probability_is_refused(tried):
    with pytest.raises(UsageError, match="it returns one probability per image, a sigmoid; take it away"):
        tried(lambda: own_net(lambda net, h: net.head(h).sigmoid(), classes=1), binary=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_outputs_of_another_precision_are_cast_and_said(dtype, tried):
    net, plain = made(own_net(lambda net, h: net.head(h).to(dtype))), made(own_net())
    x, y = images(), torch.arange(6)
    assert net(x).dtype == torch.float32
    assert torch.allclose(net(x), plain(x), atol=1e-2)
    found = apgd(net, x, y, 0.1, "linf", iterations=3, generator=torch.Generator().manual_seed(0))
    assert found.loss.isfinite().all()
    assert f"its logits are {dtype}; they are cast" in tried(lambda: own_net(lambda net, h: net.head(h).to(dtype)))


@torch.no_grad()
def test_autocast_inside_a_net_gives_float32_logits():
    def way(net, h):
        with torch.autocast("cpu", torch.bfloat16):
            return net.head(h)

    assert made(own_net(way))(images()).dtype == torch.float32


@pytest.mark.parametrize("loss", [log_odds, dlr, margin, targeted_dlr])
def test_losses_are_the_same_on_log_probabilities(loss):
    z = 5 * torch.randn(200, CLASSES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, target = torch.arange(200) % CLASSES, (torch.arange(200) + 3) % CLASSES
    z.requires_grad_(True)
    of_logits, of_logs = loss(z, y, target), loss(z.log_softmax(1), y, target)
    assert torch.allclose(of_logits, of_logs)
    slopes = [torch.autograd.grad(value.sum(), z, retain_graph=True)[0] for value in (of_logits, of_logs)]
    assert torch.allclose(*slopes, atol=1e-10)


@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_an_attack_on_log_probabilities_is_the_attack_on_logits(loss, tried):
    digits = load(Load(test_size=60), 0)
    x, y = digits.test[:]
    logits = made(own_net())
    logs = made(own_net(lambda net, h: net.head(h).log_softmax(1)))
    _fit(logits, digits)
    logs.load_state_dict(logits.state_dict())
    masks = [
        apgd(n, x, y, 0.1, "linf", iterations=10, loss=loss, generator=torch.Generator().manual_seed(0))
        for n in (logits, logs)
    ]
    assert 5 < int(masks[0].robust.sum()) < 55
    assert torch.equal(masks[0].robust, masks[1].robust)
    assert torch.allclose(masks[0].loss, masks[1].loss, rtol=1e-3, atol=1e-3)
    assert tried(lambda: own_net(lambda net, h: net.head(h).log_softmax(1)), measures=(ATTACK,)) == ""


def _fit(net, data):
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    x, y = data.train[:]
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel, lambda net: nn.DataParallel(torch.compile(net))])
def test_a_net_in_a_wrapper_is_the_net_inside_and_takes_its_weights(wrap, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "user_function", lambda name, what: lambda shape, classes: wrap(own_net()))
    theirs = {name: W + 1 for name, W in own_net().state_dict().items()}
    torch.save(theirs, tmp_path / "a.pt")
    file = str(tmp_path / "a.pt")
    config = Build(model="mine:net", weights=f"file:{sources.file_digest(file)}", weights_file=file)
    net = build(config, SHAPE, CLASSES, ((0.3,), (0.4,)), 0)
    assert net.hidden == ("a", "b")
    assert torch.equal(net.body.a.weight, theirs["a.weight"])
    assert any("the net inside its" in note for note in net.notes)
