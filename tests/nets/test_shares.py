"""Pruning to a share: by hand on small nets, against naive twins, and what holds of every way."""

import itertools
from fractions import Fraction

import pytest
import torch
from torch import nn

from study.nets import net as nets
from study.nets.build import build
from study.nets.compression.factorize import factorize
from study.nets.compression.prune import keep_rows
from study.nets.compression.quantize import quantize
from study.nets.compression.shares import METHODS, one_residual, one_threshold, pruned
from study.nets.net import Net
from study.spec.config import Build
from study.theory.compressibility import eps_q, residuals, row_l1

X = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def chain(rank=0):
    net = build(Build(width=20, depth=3), (1, 8, 8), 10, ((0.3,), (0.4,)), 0)
    return factorize(net, rank, 0) if rank else net


def convolutional():
    """A stem, a plain and a grouped convolution with biases and BatchNorm that has seen images, a linear layer."""
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5), nn.ReLU(), nn.Linear(5, 3),
    )  # fmt: skip
    net = Net(body, (0.3,), (0.4,), ("2", "5", "8"))
    for _ in range(3):
        net(X)
    return net.eval()


class Block(nn.Module):
    """Attention over an image's 8 rows, its projection fused."""

    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Linear(8, 96), nn.Linear(32, 8)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return x + self.proj((q @ k.transpose(-1, -2)).softmax(-1) @ v)


def transformer():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(1, 2), Block(), nn.Flatten(), nn.Linear(64, 10))
    return Net(body, (0.3,), (0.4,), ("1.qkv", "1.proj"))


def by_norms(*norms):
    """A chain whose hidden layers have rows of these l_1 norms (all weights of a row are equal)."""
    layers, width = [nn.Flatten()], 4
    for layer in norms:
        linear = nn.Linear(width, len(layer))
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(layer)[:, None].expand(-1, width) / width)
        layers += [linear, nn.ReLU()]
        width = len(layer)
    body = nn.Sequential(*layers, nn.Linear(width, 2))
    return Net(body, (0.0,), (1.0,), [name for name, m in body.named_children() if isinstance(m, nn.Linear)][:-1])


def only(net, method, share):
    ((out, kept),) = pruned(net, method, [share])
    return out, kept


def alive(net):
    """Per hidden layer, which rows are not zero."""
    return [(nets.matrix(m) != 0).any(1).nonzero().flatten().tolist() for m in nets.layers(net).values()]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [chain, lambda: chain(rank=4), convolutional, transformer])
def test_every_way_on_every_kind_of_net(make, method):
    net, before = make(), {name: W.clone() for name, W in make().state_dict().items()}
    shares = [1.0, 0.8, 0.5, 0.2, 0.01]
    found = list(pruned(net, method, shares))
    assert all(torch.equal(W, before[name]) for name, W in net.state_dict().items()), "the argument is not changed"
    (whole, one), *rest = found
    assert one == 1.0
    assert all(torch.equal(W, before[name]) for name, W in whole.state_dict().items()), "bit for bit"
    kept = [k for _, k in found]
    assert kept == sorted(kept, reverse=True)
    cut_off = method == "low_rank" and any(isinstance(m, nets.LowRankLinear) for m in nets.layers(net).values())
    assert len(set(kept)) > (1 if cut_off else 3), "of four ranks the whole spectrum has the rest"
    stay = {name for name in before if not name.startswith(tuple(f"body.{layer}." for layer in net.hidden))}
    for out, _ in rest:
        assert all(torch.equal(out.state_dict()[name], before[name]) for name in stay), "head, stem and norms stay"
        assert out(X).isfinite().all()
    for (again, _), (out, _) in zip(pruned(net, method, shares), found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), out.parameters(), strict=True))


def test_rows_by_hand():
    net = by_norms([3.0, 1.0, 2.0, 4.0, 0.5], [1.0, 1.0, 2.0, 1.0])
    out, kept = only(net, "rows", 0.5)  # round(2.5) = 2 of five, 2 of four; of equal rows the first
    assert alive(out) == [[0, 3], [0, 2]]
    assert kept == 4 / 9
    assert out.body[1].bias[[1, 2, 4]].tolist() == [0, 0, 0]
    assert torch.equal(out.body[1].bias[[0, 3]], net.body[1].bias[[0, 3]])
    assert torch.equal(out.body[1].weight[[0, 3]], net.body[1].weight[[0, 3]])
    assert alive(only(net, "rows", 0.01)[0]) == [[3], [2]]


def test_rows_are_those_of_prunability():
    for net, share in itertools.product((chain(), chain(rank=4), convolutional()), (0.5, 0.2, 0.1, 0.05)):
        out, twin = only(net, "rows", share)[0], keep_rows(net, share)
        assert all(torch.equal(a, b) for a, b in zip(out.parameters(), twin.parameters(), strict=True))


def test_one_threshold_by_hand():
    net = by_norms([3.0, 1.0, 2.0, 4.0, 0.5, 0.7], [0.1, 0.2], [2.0, 2.0, 0.1])
    out, kept = only(net, "global_rows", 6 / 11)  # 4, 3, 2 | .2 though others are larger | 2, 2
    assert alive(out) == [[0, 2, 3], [1], [0, 1]]
    assert kept == 6 / 11
    out, kept = only(net, "global_rows", 5 / 11)  # of three rows of norm 2 the first layer's goes before
    assert alive(out) == [[0, 2, 3], [1], [0]]
    assert alive(only(net, "global_rows", 0.01)[0]) == [[3], [1], [0]]
    assert only(net, "global_rows", 0.01)[1] == 3 / 11


def naive_eps(norms, share):
    """eps-pruning as the paper has it: for every eps that any k of any layer has, k per layer by enumeration."""

    def residual(layer, k):
        tail = sorted(map(Fraction, layer), reverse=True)[k:]
        return sum(tail) / sum(map(Fraction, layer)) if any(layer) else Fraction(0)

    def counts(eps):
        return [max(1, next(k for k, r in enumerate(found) if r <= eps)) for found in every]

    every = [[residual(v, k) for k in range(len(v) + 1)] for v in norms]
    levels = sorted({r for found in every for r in found})
    wanted = Fraction(share) * sum(map(len, norms))
    best = min(levels, key=lambda eps: (abs(sum(counts(eps)) - wanted), -sum(counts(eps))))
    return counts(best), best


@pytest.mark.parametrize("seed", range(8))
def test_eps_pruning_against_enumeration(seed):
    """Whole numbers, many of them equal, so that a sum is exact and ties are many; zero rows and a zero layer too."""
    g = torch.Generator().manual_seed(seed)
    norms = [torch.randint(0, 9, (m,), generator=g).double() for m in (1, 3, 8, 13)]
    norms += [torch.zeros(2, dtype=torch.float64), torch.ones(5, dtype=torch.float64)]
    for share in (0.125, 0.25, 0.5, 0.75, 0.875):
        counts = list(one_residual({str(i): v for i, v in enumerate(norms)}, share).values())
        wanted, eps = naive_eps([v.tolist() for v in norms], share)
        assert counts == wanted
        for v, k in zip(norms, counts, strict=True):
            assert eps_q(v, 1, k) <= float(eps) + 1e-12
            assert k == 1 or eps_q(v, 1, k - 1) > float(eps) - 1e-12, "no layer keeps more than it must"


def test_eps_pruning_spares_the_layer_that_is_flat():
    net = by_norms([9.0, 1.0, 1.0, 1.0], [3.0, 3.0, 3.0, 3.0])
    out, kept = only(net, "eps", 1 / 2)  # at eps 1/4: one row leaves (1 + 1 + 1) / 12, three rows leave 3 / 12
    assert alive(out) == [[0], [0, 1, 2]]
    assert kept == 4 / 8
    out, kept = only(net, "eps", 5 / 8)  # no eps gives five: at 1/6 there are six, which are more than four
    assert alive(out) == [[0, 1], [0, 1, 2, 3]]
    assert kept == 6 / 8


def test_residuals_are_those_of_the_definition():
    g = torch.Generator().manual_seed(0)
    for v in (torch.rand(30, generator=g), torch.randn(7, generator=g) * 1e-100, torch.zeros(3), torch.ones(1)):
        found = residuals(v)
        assert found.tolist() == pytest.approx([eps_q(v, 1, k) for k in range(len(v) + 1)], rel=1e-12, abs=1e-15)
        assert (found.diff() <= 0).all()


def test_weights_by_hand():
    net = by_norms([4.0, 8.0], [2.0])
    with torch.no_grad():
        net.body[1].weight.copy_(torch.tensor([[1.0, -5.0, 2.0, 0.5], [3.0, -2.0, 4.0, 0.1]]))
    out, kept = only(net, "weights", 0.5)
    assert out.body[1].weight.tolist() == [[0, -5, 2, 0], [3, 0, 4, 0]], "of -2 and 2 the first"
    assert kept == 5 / 10
    assert torch.equal(out.body[1].bias, net.body[1].bias)


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_low_rank_is_the_truncated_decomposition_of_each_map(share):
    net = convolutional()
    out, kept = only(net, "low_rank", share)
    maps = [(net.body[2], out.body[2], 1), (net.body[5], out.body[5], 2), (net.body[8], out.body[8], 1)]
    ranks = []
    for before, after, groups in maps:
        for W, V in zip(nets.matrix(before).chunk(groups), nets.matrix(after).chunk(groups), strict=True):
            s, k = torch.linalg.svdvals(W), max(1, round(share * min(W.shape)))
            ranks.append((k, min(W.shape)))
            torch.testing.assert_close(torch.linalg.svdvals(V)[:k], s[:k], atol=1e-5, rtol=1e-4)
            assert torch.linalg.matrix_rank(V, rtol=1e-4) == k
            torch.testing.assert_close((W - V).norm() ** 2, (s[k:] ** 2).sum(), atol=1e-5, rtol=1e-3)  # Eckart-Young
    assert kept == sum(k for k, _ in ranks) / sum(r for _, r in ranks)


def test_of_factors_low_rank_cuts_off_what_lies_beyond_the_share_of_the_whole_spectrum():
    net = chain(rank=4)
    sides = [min(nets.matrix(m).shape) for m in nets.layers(net).values()]
    share = 2.4 / min(sides)
    wanted = [min(4, round(share * side)) for side in sides]
    out, kept = only(net, "low_rank", share)
    assert min(wanted) == 2
    assert kept == sum(wanted) / (4 * len(sides))
    found = [int(torch.linalg.matrix_rank(nets.matrix(m), rtol=1e-4)) for m in nets.layers(out).values()]
    assert found == wanted == [int(m.A.any(0).sum()) for m in nets.layers(out).values()]
    same, kept = only(net, "low_rank", 4 / min(sides))
    assert kept == 1.0
    torch.testing.assert_close(same(X), net(X))


def test_factors_of_a_grouped_convolution_are_cut_group_by_group():
    net = factorize(convolutional(), 3, 0)
    out, kept = only(net, "low_rank", 0.4)  # of sides 6, 4, 4 and 5: two each, of factors of rank 3
    assert kept == (2 + 2 + 2 + 2) / (3 + 3 + 3 + 3)
    for W, V in zip(nets.matrix(net.body[5]).chunk(2), nets.matrix(out.body[5]).chunk(2), strict=True):
        U, s, Vh = torch.linalg.svd(W, full_matrices=False)
        torch.testing.assert_close(V, (U[:, :2] * s[:2]) @ Vh[:2], atol=1e-5, rtol=1e-4)


def test_q_k_and_v_are_three_layers():
    net = transformer()
    with torch.no_grad():
        net.body[1].qkv.weight[:32] *= 100  # q: alone it would hold half of all kept rows
    out, _ = only(net, "rows", 0.25)
    rows = alive(out)[0]
    assert [sum(low <= r < low + 32 for r in rows) for low in (0, 32, 64)] == [8, 8, 8]


def test_the_shift_of_a_batch_norm_stays_behind_a_filter_that_is_zero():
    """As torch.nn.utils.prune has it: the filter's own channel is then the same constant at every place."""
    net = convolutional()
    out, _ = only(net, "rows", 0.5)
    gone = (nets.matrix(out.body[2]) == 0).all(1)
    made = out.body[:4]((X - 0.3) / 0.4)
    norm = net.body[3]
    constant = norm.bias - norm.weight * norm.running_mean / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(made[:, gone], constant[gone][None, :, None, None].expand_as(made[:, gone]))
    assert out.body[2].bias[gone].tolist() == [0.0] * 3


def test_what_cannot_be_pruned_is_refused():
    with pytest.raises(ValueError, match="method must be one of weights, rows"):
        next(pruned(chain(), "columns", [0.5]))
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="a share kept must lie in"):
            next(pruned(chain(), "rows", [share]))
    with pytest.raises(ValueError, match="a quantized net cannot be pruned"):
        next(pruned(quantize(chain(), 8, [X]), "rows", [0.5]))


def test_as_many_rows_as_layers_are_kept_at_least():
    nu = {name: row_l1(W) for name, W in nets.weight_matrices(chain()).items()}
    assert one_threshold(nu, 1e-9) == dict.fromkeys(nu, 1)
    assert one_residual(nu, 1e-9) == dict.fromkeys(nu, 1)
