"""Nets as people have them: what they may return, where their head is, what of them is made plain, and what is said.

The table "What a net may return, and what is said of it" in docs/extending.md has a row for each.
"""

import copy
import logging

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from study.attacks.apgd import apgd
from study.attacks.losses import dlr, log_odds, margin, targeted_dlr
from study.nets import net as nets
from study.nets import own, sources, tracing
from study.nets.build import build
from study.nets.compression import decompose, factorize, mask, quantize, remove
from study.nets.data import load
from study.nets.net import Net
from study.spec.config import Accuracy, Build, Load, Robustness, Train, Trial
from study.spec.errors import UsageError
from study.sweep.plan import tryout
from study.trial import train as training
from study.trial.freeze import frozen
from study.trial.run import run

SHAPE = (1, 8, 8)
CLASSES = 10
PLAIN = (Accuracy(),)
ATTACK = Robustness(norm="linf", eps=(16 / 255,), iterations=3, gap_eps=(), images=40)


class Own(nn.Module):
    """Layers in the order in which they are given, called by a function of the module and flattened images."""

    def __init__(self, way, **layers):
        super().__init__()
        self.way = way
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.way(self, x.flatten(1))


def own_net(way=lambda net, h: net.head(h), classes=CLASSES, **more):
    """Two hidden layers and a head, and what else is given; `way` makes the outputs of the last hidden features."""
    torch.manual_seed(0)
    layers = {"a": nn.Linear(64, 16), "b": nn.Linear(16, 16), "head": nn.Linear(16, classes)} | more
    return Own(lambda net, x: way(net, net.b(net.a(x).relu()).relu()), **layers)


def made(body, classes=CLASSES, shape=SHAPE):
    """The net that a user's function would become, in eval mode."""
    net = Net(body, (0.3,), (0.4,), (), classes=classes)
    own.known(net, shape, "mine:net")
    own.folded(net)
    return net.eval()


def images(n=6):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def tried(monkeypatch, caplog):
    """Plan one trial with the body that a function gives, and what was said of it."""

    def plan(body, *more, binary=False, measures=PLAIN):
        def build(config, shape, classes, statistics, seed, **_):
            net = Net(body(), *statistics, (), classes=classes)
            own.known(net, shape, config.model)
            own.folded(net)
            return net

        monkeypatch.setattr(tryout, "build", build)
        monkeypatch.setattr(tryout, "say", logging.getLogger("said").warning)
        data = Load(test_size=60, binary=True) if binary else Load(test_size=60)
        tryout.check_data_and_model(Trial(seed=0, stages=(data, Build(model="mine:net"), *more), measures=measures))
        return caplog.text

    return plan


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
        "its logits do not depend on aux",
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


WAYS = {
    "weight_norm (hook)": (weight_norm, "weight_norm of a is folded into plain weights", True),
    "weight_norm": (parametrizations.weight_norm, "weight_norm of a is folded into plain weights", True),
    "spectral_norm (hook)": (spectral_norm, "spectral_norm of a is folded into plain weights", False),
    "spectral_norm": (parametrizations.spectral_norm, "spectral_norm of a is folded into plain weights", False),
    "orthogonal": (parametrizations.orthogonal, "the parametrization _Orthogonal of a is folded", False),
    "torch's pruning": (lambda m: prune.l1_unstructured(m, "weight", 0.5), "torch.nn.utils.prune of a", False),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")


@pytest.mark.parametrize("which", WAYS)
def test_weights_computed_from_others_are_folded_and_can_be_compressed(which, tried):
    wrap, words, free = WAYS[which]
    torch.manual_seed(1)
    body = own_net(a=wrap(nn.Linear(64, 16)))
    was = Net(body, (0.3,), (0.4,), (), classes=CLASSES).eval()(images()).detach()
    net = made(body)
    assert torch.allclose(net(images()), was, atol=1e-6)
    assert isinstance(net.body.a.weight, nn.Parameter)
    for smaller in (
        mask.mask_weights(net, 0.5, "magnitude", 0),
        quantize.quantize(net, 4, [images()]),
        decompose.decompose(net, 0.25, "svd", 0)[0],
    ):
        assert smaller(images()).isfinite().all()
    remove.remove_rows(net, 0.5, SHAPE)
    assert words in tried(lambda: own_net(a=wrap(nn.Linear(64, 16))))
    if free:
        tried(lambda: own_net(a=wrap(nn.Linear(64, 16))), Train(epochs=1))
    else:
        with pytest.raises(UsageError, match=r"cannot be trained: a has .*, which plain weights would lose"):
            tried(lambda: own_net(a=wrap(nn.Linear(64, 16))), Train(epochs=1))
        with pytest.raises(ValueError, match=r"a has .*, which plain weights would lose"):
            training.start(net, Train(epochs=1))


@torch.no_grad()
@pytest.mark.parametrize("which", ["weight_norm (hook)", "weight_norm", "spectral_norm (hook)", "spectral_norm"])
def test_a_file_of_weights_that_are_computed_from_others_is_read_before_they_are_folded(which, tmp_path, monkeypatch):
    wrap = WAYS[which][0]
    torch.manual_seed(3)
    theirs = own_net(a=wrap(nn.Linear(64, 16)))
    theirs(images())
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")

    def fresh(shape, classes):
        return own_net(a=wrap(nn.Linear(64, 16)))

    monkeypatch.setattr(sources, "user_function", lambda name, what: fresh)
    file = str(tmp_path / "theirs.pt")
    config = Build(model="mine:fresh", weights=f"file:{sources.file_digest(file)}", weights_file=file)
    net = build(config, SHAPE, CLASSES, ((0.3,), (0.4,)), 0).eval()
    assert torch.allclose(net(images()), theirs.eval()((images() - 0.3) / 0.4), atol=1e-6)
    assert isinstance(net.body.a.weight, nn.Parameter)


def test_copies_of_a_parametrized_layer_are_folded_each():
    torch.manual_seed(1)
    layer = parametrizations.weight_norm(nn.Linear(16, 16))
    body = own_net(lambda net, h: net.head(net.d(net.c(h))), c=layer, d=copy.deepcopy(layer))
    was = Net(body, (0.3,), (0.4,), (), classes=CLASSES).eval()(images()).detach()
    net = made(body)
    assert torch.equal(net(images()), was)
    assert net.body.c.weight is not net.body.d.weight


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_net_of_another_precision_is_cast_and_said_and_trains(dtype, tried):
    net = made(own_net().to(dtype))
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert f"it has weights or statistics of {dtype}; all are cast to float32" in tried(lambda: own_net().to(dtype))


def test_a_net_that_insists_on_its_precision_is_refused(tried):
    def body():
        net = own_net().double()
        net.way = lambda net, x: net.head(net.a(x.double()))
        return net

    with pytest.raises(
        UsageError, match=r"weights or statistics of torch.float64; all are cast to float32, and then Runt"
    ):
        tried(body)  # fmt: skip


def noisy(net, h):
    return net.head(nn.functional.dropout(h, 0.3, training=True))


def crowded(net, h):
    return net.head((h - h.mean(0)) / (h.std(0) + 1e-3))


class Stubborn(nn.BatchNorm1d):
    """A norm that its owner keeps in training mode."""

    def train(self, mode=True):
        return super().train(True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda: own_net(noisy), "the net gives the same images other logits each time"),
        (lambda: own_net(crowded), "the net's logits for an image depend on the others of its batch"),
        (lambda: own_net(lambda net, h: net.head(net.norm(h)), norm=Stubborn(16)), "depend on the others of its batch"),
        (
            lambda: own_net(lambda net, h: net.head(net.norm(h)), norm=nn.BatchNorm1d(16, track_running_stats=False)),
            "depend on the others of its batch",
        ),
    ],
)
def test_a_net_of_its_batch_or_of_chance_is_said_and_not_attacked(body, words, tried):
    assert words in tried(body)
    with pytest.raises(UsageError, match=f"cannot be attacked: .*{words}"):
        tried(body, measures=(ATTACK,))


def test_a_net_of_chance_that_is_averaged_is_said_to_be(tried):
    averaged = Robustness(norm="linf", eps=(16 / 255,), iterations=3, gap_eps=(), images=40, eot=4)
    assert "its logits depend on chance: attacked is their mean over 4 draws" in tried(
        lambda: own_net(noisy), measures=(averaged,)
    )


HARD = Train(
    epochs=2, weight_decay=0.5, learning_rate=0.01, frobenius=2.0, penalty="nuclear_norm_prox", alpha=0.1,
    adversarial_ratio=0.5, train_eps=0.1, train_steps=2,
)  # fmt: skip


def test_what_its_owner_froze_keeps_every_bit_in_training_and_stays_frozen():
    def way(net, h):
        return net.head(net.still(net.norm(net.c(h))))

    body = own_net(way, c=nn.Linear(16, 16), norm=nn.BatchNorm1d(16), still=nn.BatchNorm1d(16))
    for part in (body.b, body.norm):
        part.requires_grad_(False)
    body.still.eval()
    net = made(body).train()
    data = load(Load(train_size=200, test_size=60), 0)
    before = copy.deepcopy(net.state_dict())
    progress = training.start(net, HARD)
    assert "b" not in progress.frozen.layers(net)
    for _ in training.epochs(net, data, HARD, 1, progress):
        pass
    moved = {name for name, W in net.state_dict().items() if not torch.equal(W, before[name])}
    assert moved == {
        f"body.{n}" for n in ("a.weight", "a.bias", "c.weight", "c.bias", "still.weight", "still.bias", "head.weight",
                              "head.bias")
    }  # fmt: skip
    assert not any(p.requires_grad for part in (net.body.b, net.body.norm) for p in part.parameters())
    assert not net.body.still.training


def test_compression_leaves_frozen_what_was():
    body = own_net()
    body.b.requires_grad_(False)
    net = made(body)
    for smaller in (decompose.decompose(net, 0.25, "svd", 0)[0], remove.remove_rows(net, 0.5, SHAPE)):
        flags = {n.split(".")[0]: set() for n, _ in smaller.body.named_parameters()}
        for n, p in smaller.body.named_parameters():
            flags[n.split(".")[0]].add(p.requires_grad)
        assert flags == {"a": {True}, "b": {False}, "head": {True}}
    with pytest.raises(ValueError, match=r"b is frozen \(requires_grad=False\): fresh factors"):
        factorize.factorize(net, 2, 0)


def test_a_net_that_is_frozen_whole_is_measured_and_not_trained(tried):
    tried(lambda: own_net().requires_grad_(False))
    with pytest.raises(UsageError, match="cannot be trained: all its weights are frozen"):
        tried(lambda: own_net().requires_grad_(False), Train(epochs=1))
    with pytest.raises(ValueError, match="requires_grad=False of every weight leaves nothing to train"):
        frozen(made(own_net().requires_grad_(False)), ())


MODULE = """
import torch
from torch import nn


class Odd(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.aux_of_none = nn.Linear(16, classes)
        self.norm = nn.utils.parametrizations.weight_norm(nn.Linear(64, 16))
        self.b, self.head, self.aux = nn.Linear(16, 16), nn.Linear(16, classes), nn.Linear(16, 3)

    def forward(self, x):
        h = self.b(self.norm(x.flatten(1)).relu()).relu()
        return {"aux": self.aux(h), "logits": self.head(h).log_softmax(1)}


def net(shape, classes):
    return Odd(classes).double()
"""


@pytest.mark.parametrize("done", [{}, {"bits": 4}, {"keep_prob": 0.4}, {"factorize_ratio": 0.25}])
def test_such_a_net_goes_through_a_whole_trial(done, tmp_path, monkeypatch):
    from study.spec.families import FAMILIES
    from study.spec.knobs import KNOBS

    (tmp_path / "odd_foreign.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    point = {n: k.default for n, k in KNOBS.items()} | {
        "data": "digits", "data_digest": "", "data_dir": "", "model": "odd_foreign:net", "model_digest": "",
        "sources": {}, "seed": 0, "epochs": 8, "frobenius": 0.0, "test_size": 60, "attack_iterations": 3,
        "gap_iterations": 3,
    }  # fmt: skip
    trial = FAMILIES["compressed"](point | done)
    tryout.check_data_and_model(trial)
    *_, outcome = run(trial)
    (clean,) = [r["value"] for r in outcome.rows if r["measure"] == "clean_accuracy" and r["split"] == "test"]
    assert outcome.state.net.hidden == ("norm", "b")
    assert clean > 0.3
