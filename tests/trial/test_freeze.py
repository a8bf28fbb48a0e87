"""A frozen part changes no bit: weights, statistics, decay, penalties, projection and adversary alike."""

import dataclasses

import pytest
import torch
from torch import nn

from study.nets.build import build
from study.nets.compression.factorize import factorize
from study.nets.compression.mask import mask_weights
from study.nets.compression.quantize import quantize
from study.nets.data import load
from study.nets.net import Net
from study.spec.config import Build, Load, Train
from study.trial import train as training
from study.trial.freeze import frozen
from tests.helpers import hidden_of

DATA = load(Load(train_size=200, test_size=60, validation=0.2), 0)
HARD = Train(
    epochs=2,
    weight_decay=0.5,
    learning_rate=0.01,
    frobenius=2.0,
    penalty="group_lasso",
    alpha=0.1,
    adversarial_ratio=0.5,
    train_eps=0.1,
    train_steps=2,
    patience=5,
)


def fcn():
    return build(Build(width=16, depth=2), DATA.shape, 10, (DATA.mean, DATA.std), 0)


def conv():
    """Two convolutions with BatchNorm (statistics away from their beginning), dropout, and a head."""
    torch.manual_seed(0)
    body = nn.Sequential()
    body.add_module("stem", nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()))
    body.add_module("block", nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout()))
    body.add_module("end", nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10)))
    return Net(body, DATA.mean, DATA.std, hidden_of(body))


def vit():
    return build(Build(model="vit", width=32, depth=1), (1, 32, 32), 10, (DATA.mean, DATA.std), 0)


def trained(net, config, seed=1):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    progress = training.start(net, config)
    for _ in training.epochs(net, DATA, config, seed, progress):
        pass
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    return moved, progress


@pytest.mark.parametrize("attack", ["pgd", "free"])
def test_everything_but_the_head_keeps_every_bit(attack):
    config = dataclasses.replace(HARD, freeze=("encoder",), train_attack=attack)
    assert trained(fcn(), config)[0] == {"body.head.weight"}
    assert trained(conv(), config)[0] == {"body.end.2.weight", "body.end.2.bias"}


def test_a_block_by_name_keeps_its_weights_and_statistics_and_the_others_move():
    moved = trained(conv(), dataclasses.replace(HARD, freeze=("stem",)))[0]
    assert not any(name.startswith("body.stem") for name in moved)
    assert {"body.block.0.weight", "body.block.1.running_mean", "body.block.1.num_batches_tracked"} <= moved
    moved = trained(fcn(), dataclasses.replace(HARD, freeze=("layer1",)))[0]
    assert moved == {"body.layer2.weight", "body.head.weight"}


def test_without_freezing_all_of_it_moves():
    net = conv()
    assert trained(net, HARD)[0] == set(net.state_dict()) - {"mean", "std"}


@pytest.mark.parametrize("optimizer", ["", "adam", "sgd"])
@pytest.mark.parametrize("penalty", ["group_lasso", "nuclear_norm", "nuclear_norm_prox"])
def test_no_optimiser_and_no_penalty_touches_it(optimizer, penalty):
    config = dataclasses.replace(HARD, freeze=("layer1",), optimizer=optimizer, penalty=penalty)
    assert "body.layer1.weight" not in trained(fcn(), config)[0]
    whole = dataclasses.replace(config, freeze=("encoder",))
    assert trained(fcn(), whole)[0] == {"body.head.weight"}


def test_compressed_layers_are_frozen_as_they_are():
    config = dataclasses.replace(HARD, frobenius=0.0, freeze=("encoder",))
    assert trained(factorize(fcn(), 4, 0), config)[0] == {"body.head.weight"}
    masked = mask_weights(fcn(), 0.3, "magnitude", 0)
    assert trained(masked, config)[0] == {"body.head.weight"}
    quantized = quantize(masked, 4, [DATA.train.x])
    assert trained(quantized, dataclasses.replace(config, penalty="", alpha=0.0))[0] == {
        "body.head.parametrizations.weight.original"
    }


def test_parameters_beside_the_layers_of_a_transformer_are_part_of_the_encoder():
    net = vit()
    found = frozen(net, ("encoder",))
    assert found.moving(net) == [net.body.head.weight, net.body.head.bias]
    assert id(net.body.cls_token) in found.parameters


def test_flags_and_modes_are_those_of_before():
    net = conv()
    net.body.stem[0].bias.requires_grad_(False)
    progress = trained(net, dataclasses.replace(HARD, freeze=("stem",)))[1]
    assert [n for n, p in net.named_parameters() if not p.requires_grad] == ["body.stem.0.bias"]
    assert len(progress.optimizer.param_groups[0]["params"]) == 6


def test_a_head_on_a_frozen_encoder_learns():
    net = fcn()
    config = Train(epochs=100, learning_rate=0.05, freeze=("encoder",))
    before = training.evaluate(net, DATA.test)[0]
    trained(net, config)
    assert training.evaluate(net, DATA.test)[0] > before + 0.4


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("layer9",), "among layer1, layer2, head, got 'layer9'"),
        (("encoder", "head"), "leaves nothing to train"),
        (("layer1", "layer2", "head"), "leaves nothing to train"),
    ],
)
def test_what_cannot_be_frozen_is_named(names, words):
    with pytest.raises(ValueError, match=words):
        training.start(fcn(), Train(freeze=names))
