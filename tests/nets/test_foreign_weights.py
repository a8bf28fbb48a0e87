"""Nets as people have them: weights computed from others, other precisions, what is frozen, batch and chance.

The table "What a net may return, and what is said of it" in docs/extending.md has a row for each.
"""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from study.nets import sources
from study.nets.build import build
from study.nets.compression import decompose, factorize, mask, quantize, remove
from study.nets.data import load
from study.nets.net import Net
from study.spec.config import Build, Load, Robustness, Train
from study.spec.errors import UsageError
from study.sweep.plan import tryout
from study.trial import train as training
from study.trial.freeze import frozen
from study.trial.run import run
from tests.foreign_cases import ATTACK, CLASSES, SHAPE, images, made, own_net

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
