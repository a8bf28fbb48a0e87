"""Networks: what is hidden, what is normalised, and the real libraries behind the names."""

import math

import pytest
import torch
from torch import nn

from study.nets import net as nets
from study.nets.build import build
from study.nets.compression.factorize import factorize
from study.nets.compression.prune import keep_rows, plant
from study.spec.config import Build
from study.spec.errors import UsageError
from tests.helpers import ROOT, hidden_of

STATS = ((0.5,), (0.25,))


def fcn(width=20, depth=3, seed=0):
    return build(Build(width=width, depth=depth), (1, 8, 8), 10, STATS, seed)


def test_fcn_has_no_bias_and_its_head_is_not_hidden():
    net = fcn()
    assert net.hidden == ("layer1", "layer2", "layer3")
    assert [tuple(W.shape) for W in nets.weight_matrices(net).values()] == [(20, 64), (20, 20), (20, 20)]
    assert all("bias" not in name for name, _ in net.named_parameters())


def test_only_a_chain_of_dense_layers_and_relu_has_bounds_of_the_whole_net():
    found = nets.chain(fcn())
    assert found is not None
    assert [tuple(W.shape) for W in found] == [(20, 64), (20, 20), (20, 20)]
    low = nets.chain(factorize(fcn(), 3, 0))
    assert low is not None
    assert [int(torch.linalg.matrix_rank(W)) for W in low] == [3, 3, 3]
    for inner in (nn.Linear(64, 8), nn.Sequential(nn.Linear(64, 8, bias=False)), nn.Identity()):
        body = nn.Sequential(nn.Flatten(), inner, nn.ReLU(), nn.Linear(8, 2, bias=False))
        assert nets.chain(nets.Net(body, (0.0,), (1.0,), ())) is None
    sigmoid = nn.Sequential(nn.Flatten(), nn.Linear(64, 8, bias=False), nn.Sigmoid(), nn.Linear(8, 2))
    assert nets.chain(nets.Net(sigmoid, (0.0,), (1.0,), ())) is None


def test_features_are_what_the_head_is_given():
    net, x = fcn(), torch.rand(4, 1, 8, 8)
    assert torch.allclose(nets.features(net, x) @ nets.head(net).weight.T, net(x))


def test_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    a = fcn(seed=5)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    b = fcn(seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(next(a.parameters()), next(fcn(seed=6).parameters()))


def test_normalisation_is_inside():
    net = fcn()
    x = torch.rand(3, 1, 8, 8)
    assert torch.allclose(net(x), net.body((x - 0.5) / 0.25))


@pytest.mark.parametrize("rank", [1, 4, 500])
def test_factorized_layers_keep_shape_scale_and_rank(rank):
    net = fcn()
    low = factorize(net, rank, seed=0)
    for a, b in zip(nets.layers(net).values(), nets.layers(low).values(), strict=True):
        W = nets.matrix(b).detach()
        assert W.shape == nets.matrix(a).shape
        assert nets.frobenius(b) == pytest.approx(nets.frobenius(a), rel=1e-5)
        assert nets.frobenius(b) == pytest.approx(float(W.norm()), rel=1e-4)
        assert int(torch.linalg.matrix_rank(W)) == min(rank, *W.shape)
    assert isinstance(nets.layers(net)["layer1"], nn.Linear)
    x = torch.rand(2, 1, 8, 8)
    dense = fcn()
    for name, layer in nets.layers(low).items():
        nets.set_matrix(nets.layers(dense)[name], nets.matrix(layer))
    dense.body.head.weight.data.copy_(low.body.head.weight)
    assert torch.allclose(low(x), dense(x), atol=1e-5)


def test_a_factorized_convolution_is_a_convolution_of_lower_rank():
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1)
    body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), conv, nn.Flatten(), nn.Linear(6 * 16, 2))
    net = nets.Net(body, *STATS, hidden_of(body))
    assert net.hidden == ("1",)
    low = factorize(net, 2, 0)
    layer = nets.layers(low)["1"]
    x = torch.rand(1, 4, 8, 8)
    wanted = nn.functional.conv2d(x, nets.matrix(layer).view(6, 4, 3, 3), conv.bias, 2, 1)
    assert torch.allclose(layer(x), wanted, atol=1e-5)


def test_scale_multiplies_the_matrix():
    for net in (fcn(), factorize(fcn(), 3, 0)):
        layer = nets.layers(net)["layer2"]
        before = nets.matrix(layer).clone()
        nets.scale(layer, 2.5)
        assert torch.allclose(nets.matrix(layer), 2.5 * before, rtol=1e-4)


def test_keep_rows_keeps_the_largest_and_changes_nothing_else():
    net = fcn()
    before = {n: W.clone() for n, W in nets.weight_matrices(net).items()}
    out = keep_rows(net, 0.1)
    for name, W in nets.weight_matrices(out).items():
        alive = W.abs().sum(1) > 0
        assert int(alive.sum()) == 2
        assert set(alive.nonzero()[:, 0].tolist()) == set(before[name].abs().sum(1).topk(2).indices.tolist())
    assert all(torch.equal(W, before[n]) for n, W in nets.weight_matrices(net).items())
    assert torch.equal(keep_rows(net, 1.0)(torch.ones(1, 1, 8, 8)), net(torch.ones(1, 1, 8, 8)))
    with pytest.raises(ValueError, match="kept must lie in"):
        keep_rows(net, 0.0)


@pytest.mark.parametrize("structure", ["rows", "spectrum"])
def test_a_planted_effect_moves_compressibility_at_the_same_scale(structure):
    from study.theory.compressibility import eps_q, row_l1, singular_values

    measure = row_l1 if structure == "rows" else singular_values
    eps = []
    for strength in (0.0, 0.5, 1.0, 3.0):
        out = plant(fcn(), structure, strength)
        for a, b in zip(nets.layers(fcn()).values(), nets.layers(out).values(), strict=True):
            assert nets.frobenius(b) == pytest.approx(nets.frobenius(a), rel=1e-5)
        eps.append(eps_q(measure(nets.weight_matrices(out)["layer2"]), 1, 2))
    assert eps == sorted(eps, reverse=True)
    assert eps[0] > eps[-1] + 0.2


def test_resnet18_and_its_hidden_layers():
    net = build(Build(model="resnet18"), (1, 8, 8), 10, STATS, 0)
    assert net(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert "conv1" not in net.hidden
    assert "fc" not in net.hidden
    assert len(net.hidden) == 19


def test_a_timm_vit_builds_and_runs_with_q_k_v_apart():
    net = build(Build(model="vit", width=64, depth=2), (1, 8, 8), 10, STATS, 0)
    assert net(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    names = list(nets.weight_matrices(net))
    assert names[:4] == ["blocks.0.attn.qkv.q", "blocks.0.attn.qkv.k", "blocks.0.attn.qkv.v", "blocks.0.attn.proj"]
    assert len(names) == 12
    with pytest.raises(ValueError, match="multiple of 32"):
        build(Build(model="vit", width=50), (1, 8, 8), 10, STATS, 0)


def test_open_clips_image_tower_runs():
    from study.nets.vision import clip_image_tower

    tower = clip_image_tower("ViT-B-32").eval()
    with torch.no_grad():
        assert tower(torch.rand(1, 3, 224, 224)).shape == (1, 512)


USER = """
from torch import nn
def good(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, classes))
def headless(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
def no_module(shape, classes):
    return 3
"""


def test_a_users_model(tmp_path, monkeypatch):
    (tmp_path / "mine_model.py").write_text(USER)
    monkeypatch.chdir(tmp_path)
    net = build(Build(model="mine_model:good"), (1, 8, 8), 10, STATS, 0)
    assert net.hidden == ("1",)
    with pytest.raises(UsageError, match="before its head, found none"):
        build(Build(model="mine_model:headless"), (1, 8, 8), 10, STATS, 0)
    with pytest.raises(UsageError, match=r"must return a torch\.nn\.Module, got int"):
        build(Build(model="mine_model:no_module"), (1, 8, 8), 10, STATS, 0)
    with pytest.raises(UsageError, match="unknown model"):
        build(Build(model="nosuch"), (1, 8, 8), 10, STATS, 0)


def test_the_example_of_the_docs_works(tmp_path, monkeypatch):
    import re

    page = ROOT / "docs/extending.md"
    (code,) = re.findall(r"```python\n(# mine\.py.*?)```", page.read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 35
    (tmp_path / "mine_docs.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    net = build(Build(model="mine_docs:small"), (1, 8, 8), 10, STATS, 0)
    assert net(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert net.hidden == ("1", "3.inner", "4.inner", "5.inner")


def test_initial_frobenius_norm_is_the_known_one():
    W = nets.weight_matrices(fcn(width=400))["layer2"].detach()
    assert float(W.norm()) == pytest.approx(math.sqrt(400 / 3), rel=0.02)
