"""Attention heads and MLP units really removed: outputs of the masked net, sizes by hand, what comes after."""

import copy

import pytest
import timm
import torch
from torch import nn

from study.nets import net as nets
from study.nets.build import build
from study.nets.compression.factorize import factorize
from study.nets.compression.mask import mask_weights
from study.nets.compression.prune import silenced
from study.nets.compression.quantize import quantize
from study.nets.compression.remove import remove_heads, remove_rows
from study.nets.data import load
from study.nets.net import Net
from study.nets.vision import vit
from study.spec.config import Accuracy, Build, Cost, Load, Prune, Quantize, Remove, Teacher, Train, Trial
from study.sweep.worker import weights
from study.trial import run as trials
from study.trial import train as training
from study.trial.measures.cost import macs, parameters

DATA = load(Load(train_size=100, test_size=40), 0)
SHAPE, X = DATA.shape, DATA.test.x[:4]
D, MLP, TOKENS = 128, 512, 1 + 4 * 4  # width: 4 heads of 32; 32 x 32 pixels in patches of 8


def new_net(rank=0, depth=2):
    config = Build(model="vit", width=D, depth=depth, patch_size=8)
    net = build(config, SHAPE, 10, (DATA.mean, DATA.std), 0)
    with torch.no_grad():  # biases begin at zero, where they would hide what becomes of them
        for name, p in net.named_parameters():
            if name.endswith("bias"):
                p.uniform_(-0.3, 0.3, generator=torch.Generator().manual_seed(len(name)))
    return factorize(net, rank, 0) if rank else net


def train(net, **config):
    config = Train(**({"epochs": 1, "batch_size": 25} | config))
    progress = training.start(net, config)
    for _ in training.epochs(net, DATA, config, 1, progress):
        pass
    return net


def tiny_b8():
    """The published model's own class and patches, at a width of 64."""
    body = timm.create_model(
        "vit_base_patch8_224", pretrained=False, num_classes=10, depth=1, embed_dim=64, num_heads=4
    )
    body, hidden = vit._hidden(body)
    return Net(body, (0.3,), (0.4,), hidden, 224)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 0.95])
@pytest.mark.parametrize("make", [new_net, lambda: new_net(rank=4), lambda: train(new_net(depth=1)), tiny_b8])
def test_removal_is_masking_in_outputs(make, ratio):
    net = make()
    modes = [m.training for m in net.modules()]
    before = copy.deepcopy(net.state_dict())
    out, gone = remove_heads(net, ratio, SHAPE)
    assert [m.training for m in out.modules()] == [m.training for m in net.modules()] == modes
    with torch.no_grad():
        found, masked, whole = (n.eval()(X) for n in (out, silenced(net, gone), net))
    torch.testing.assert_close(found, masked, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(W, before[name]) for name, W in net.state_dict().items()), "the argument is not changed"
    assert (not torch.allclose(found, whole, atol=1e-4)) == (ratio > 0)
    if ratio == 0:
        assert all(torch.equal(W, before[name]) for name, W in out.state_dict().items()), "bit for bit"
    for block, small in zip(net.body.blocks, out.body.blocks, strict=True):
        assert small.attn.num_heads == max(1, round((1 - ratio) * block.attn.num_heads))
        assert nets.matrix(small.mlp.fc1).shape[0] == max(1, round((1 - ratio) * nets.matrix(block.mlp.fc1).shape[0]))
        assert (
            nets.matrix(small.attn.proj).shape[0] == nets.matrix(small.mlp.fc2).shape[0] == block.norm1.weight.numel()
        )


@torch.no_grad()
def test_a_head_is_judged_by_its_rows_of_all_three_and_a_unit_by_its_own():
    net = new_net(depth=1)
    block = net.body.blocks[0]
    for layer in (block.attn.qkv.q, block.attn.qkv.k, block.attn.qkv.v, block.mlp.fc1):
        layer.weight.fill_(0.1)
    block.attn.qkv.v.weight[32:64] = -0.4  # head 1: .1 + .1 + .4 an entry
    block.attn.qkv.q.weight[64:96] = 0.25  # head 2: .25 + .1 + .1
    block.attn.qkv.k.weight[96:] = 0.0  # head 3: .1 + .1
    block.attn.qkv.q.bias[96:] = 100.0  # and biases are not counted
    block.mlp.fc1.weight[[7, 300]] = 0.2
    _, gone = remove_heads(net, 0.5, SHAPE)
    for part in "qkv":
        assert gone[f"blocks.0.attn.qkv.{part}"] == [*range(32), *range(96, 128)]
    assert gone["blocks.0.mlp.fc1"] == [u for u in range(255, 512) if u != 300], "of equal norms the first stay"


@pytest.mark.parametrize(("ratio", "heads", "units"), [(0.0, 4, 512), (0.25, 3, 384), (0.5, 2, 256), (0.99, 1, 5)])
def test_parameters_and_macs_by_hand(ratio, heads, units):
    out = remove_rows(new_net(), ratio, SHAPE)
    a = 32 * heads
    block = 3 * (D * a + a) + (a * D + D) + (D * units + units) + (units * D + D) + 4 * D
    ends = (3 * 64 * D + D) + D + TOKENS * D + 2 * D + (D * 10 + 10)  # patches, class token, places, last norm, head
    assert parameters(out) == 2 * block + ends
    attention = 2 * TOKENS**2 * a  # queries with keys, and what they weigh
    assert macs(out, X[:1]) == 2 * (TOKENS * (4 * D * a + 2 * D * units) + attention) + 16 * 3 * 64 * D + D * 10


def test_a_smaller_one_learns_is_masked_and_quantized_and_is_saved_and_loaded():
    small, other = (remove_rows(new_net(), 0.5, SHAPE) for _ in range(2))
    before = copy.deepcopy(small.state_dict())
    train(small)
    assert all(not torch.equal(p, before[name]) for name, p in small.named_parameters() if "qkv.k.bias" not in name)
    other.load_state_dict(small.state_dict())
    assert torch.equal(other.eval()(X), small.eval()(X))
    masked = mask_weights(small, 0.9, "magnitude", 0)
    eight = quantize(masked, 8, [X])
    torch.testing.assert_close(eight(X), masked(X), atol=0.1, rtol=0)
    assert not torch.equal(train(eight).eval()(X), small(X))


def test_a_trial_compresses_a_trained_one_in_every_way_and_comes_to_it_again_from_its_weights(tmp_path):
    build_ = Build(model="vit", width=64, depth=1, patch_size=8)
    after = (Teacher(), Remove(ratio=0.5), Prune(keep_prob=0.5), Quantize(bits=8))
    tune = Train(epochs=1, batch_size=50, distillation=0.5)
    first = (Load(train_size=100, test_size=40), build_, Train(epochs=1, batch_size=50))
    trial = Trial(seed=0, stages=(*first, *after, tune), measures=(Accuracy(), Cost(repeats=1)))
    *_, done = trials.run(trial)
    weights.save(tmp_path / "net.safetensors", done.state)
    kept, snapshot = weights.load(tmp_path / "net.safetensors")
    assert kept["body.blocks.0.attn.qkv.q.parametrizations.weight.original"].shape == (32, 64)
    *_, again = trials.run(trial, resume=snapshot)
    x = done.state.data.test.x
    assert torch.equal(again.state.net.eval()(x), done.state.net.eval()(x))
    assert {r["measure"]: r["value"] for r in again.rows}["macs"] == 17 * (
        4 * 32 * 64 + 2 * 64 * 128 + 2 * 17 * 32
    ) + 16 * 192 * 64 + 640


def test_a_transformer_whose_units_at_zero_act_is_refused():
    net = new_net(depth=1)
    net.body.blocks[0].mlp.act = nn.Sigmoid()
    with pytest.raises(ValueError, match="those at zero are not without effect"):
        remove_rows(net, 0.5, SHAPE)
    with pytest.raises(ValueError, match="before the weights are masked"):
        remove_rows(mask_weights(new_net(depth=1), 0.5, "magnitude", 0), 0.5, SHAPE)
    with pytest.raises(ValueError, match="ratio must lie in"):
        remove_rows(new_net(depth=1), 1.0, SHAPE)
