"""What a net has once and uses twice, and what it reads without calling it, where the table of kinds says less."""

import pytest
import torch
from torch import nn

from study.nets import net as nets
from study.nets.compression import factorize, mask, quantize, scores
from study.nets.data import load
from study.nets.tied import twins
from study.spec.config import Load, Structure, Train
from study.trial import train as training
from study.trial.freeze import frozen
from study.trial.measures.cost import parameters, stored_bytes
from study.trial.measures.structure import structure
from study.trial.state import State
from tests.foreign_cases import images, made, own_net
from tests.layer_kinds import ROWS, Kind

DATA = load(Load(train_size=60, test_size=60), 0)
TIED = ROWS["two layers of one weight"]["Linear"][0]


def measured(net):
    return structure(State(seed=0, data=DATA, datasets={"": DATA}, net=net), Structure())


def chain(*layers):
    return made(nn.Sequential(nn.Flatten(), nn.Linear(64, 16, bias=False), *layers, nn.Linear(16, 10, bias=False)))


def test_a_layer_in_a_chain_twice_has_no_bound_of_the_whole_net():
    b, act = nn.Linear(16, 16, bias=False), nn.ReLU()
    assert len(nets.chain(chain(act, b, act))) == 2, "one ReLU for all is a chain"
    for again in (chain(act, b, act, b, act), chain(nn.ReLU(), b, b, nn.ReLU())):
        assert nets.chain(again) is None
        assert not [r for r in measured(again) if r["measure"] == "lipschitz_bound"]


@torch.no_grad()
def test_weights_by_hand_of_two_layers_of_one_weight():
    """16 x 16 shared, 64 x 16 and 16 x 10 beside it, biases 16, 16, 16 and 10."""
    net = made(TIED())
    assert twins(net) == {"5": "3"}
    assert parameters(mask.mask_weights(net, 0.25, "magnitude", 0)) == 256 + 64 + 160 + 58
    assert stored_bytes(quantize.quantize(net, 4, [images()])) == 512 + 128 + 80 + 3 * 4 + 3 * 8 + 58 * 4
    small = factorize.factorize(net, 2, 0)
    assert parameters(small) == 2 * 80 + 2 * 32 + 160 + 58
    assert twins(small) == {"5": "3"}


def test_training_of_shared_factors_keeps_them_shared_and_their_norm():
    net = factorize.factorize(made(TIED()), 2, 0)
    before = nets.frobenius(net.body.get_submodule("3"))
    config = Train(epochs=1, batch_size=30, frobenius=2.0, alpha=0.1, penalty="group_lasso", alignment_penalty=0.1)
    progress = training.start(net, config)
    assert [*progress.frozen.layers(net)] == ["1", "3"]
    assert [*progress.frozen.layers(net, each=True)] == ["1", "3", "5"]
    for _ in training.epochs(net, DATA, config, 0, progress):
        pass
    assert net.body.get_submodule("3").A is net.body.get_submodule("5").A
    assert nets.frobenius(net.body.get_submodule("5")) == pytest.approx(2 * before, rel=1e-4)
    assert [*frozen(net, ("3",)).layers(net)] == ["1"], "frozen for both"


def test_a_convolution_that_is_never_called_has_no_norm_as_a_map():
    def way(net, x):
        h = nn.functional.conv2d(net.stem(x).relu(), net.read.weight, net.read.bias)
        return net.head(net.last(h.relu()).relu().mean((2, 3)))

    body = Kind(way, stem=nn.Conv2d(1, 4, 3), read=nn.Conv2d(4, 4, 3), last=nn.Conv2d(4, 4, 3), head=nn.Linear(4, 10))
    net = made(body)
    assert net.read == ("read",)
    of = {layer: {r["measure"] for r in measured(net) if r["layer"] == layer} for layer in net.hidden}
    assert "operator_norm" in of["last"]
    assert "operator_norm" not in of["read"]
    assert "operator_norm_matricised" in of["read"]


def test_scores_of_a_layer_that_the_logits_do_not_depend_on_are_zero():
    net = made(own_net(aux=nn.Linear(16, 3)))
    found = scores.taylor(net, [DATA.test[:10]], "all")
    assert bool((found["aux.weight"] == 0).all())
    assert bool((found["head.weight"] > 0).any())
    assert mask.probabilities(net, 0.5, "taylor", on="all", scores=found)["aux.weight"].shape == (3, 16)
