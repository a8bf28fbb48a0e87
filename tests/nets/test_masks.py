"""Masks as distributions (paper B): exact shares by rank, stated means at random, scores that the loss agrees with."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from study.nets import masks
from study.nets.build import build
from study.nets.compression import shipped
from study.nets.compression.factorize import factorize
from study.nets.compression.mask import RULES, draw, mask_weights, probabilities, ranked
from study.nets.compression.scores import taylor
from study.nets.compression.tradeoff import shares
from study.nets.data import load
from study.nets.net import Net
from study.spec.config import Build, Load
from study.spec.identity import seed_for
from study.theory import tradeoff
from study.trial.measures.cost import parameters, stored_bytes

DATA = load(Load(train_size=300, test_size=60), 0)
BATCHES = [DATA.train[slice(i, i + 50)] for i in (0, 50, 100)]


def new_net(rank=0, width=20, depth=3):
    net = build(Build(width=width, depth=depth), DATA.shape, 10, (DATA.mean, DATA.std), 0)
    return factorize(net, rank, 0) if rank else net


def tied():
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 9))
    body[5].weight = body[3].weight
    return Net(nn.Sequential(*body, nn.ReLU(), nn.Linear(9, 10)), (0.3,), (0.4,), ("1", "3", "5"))


def given(net, kind, on="hidden"):
    return {"scores": taylor(net, BATCHES, on)} if kind == "taylor" else {}


@pytest.mark.parametrize("on", ["hidden", "all"])
@pytest.mark.parametrize("budget", ["layer", "global"])
@pytest.mark.parametrize("kind", RULES)
def test_the_mean_probability_is_the_share_that_was_asked_for(kind, budget, on):
    net = new_net()
    for keep in (0.2, 0.63, 0.9):
        found = probabilities(net, keep, kind, budget=budget, on=on, **given(net, kind, on))
        weights = masks.maskable(net, on)
        assert [*found] == [*weights]
        assert ("layer3.weight" in found, "head.weight" in found) == (True, on == "all")
        for group in [[*found]] if budget == "global" else [[name] for name in found]:
            P = torch.cat([found[name].flatten() for name in group]).double()
            assert 0 <= float(P.min()) <= float(P.max()) <= 1
            wanted = round(keep * P.numel()) / P.numel() if kind in ("magnitude", "taylor") else keep
            assert float(P.mean()) == pytest.approx(wanted, abs=1e-6)


def test_a_global_budget_has_one_threshold_and_takes_exactly_the_smallest_weights():
    net = new_net()
    found = probabilities(net, 0.3, "magnitude", budget="global")
    size = torch.cat([W.abs().flatten() for W in masks.hidden_weights(net).values()]).detach()
    kept = torch.cat([P.flatten() for P in found.values()]) == 1
    assert float(size[kept].min()) >= float(size[~kept].max())
    assert len({float(P.mean()) for P in found.values()}) == 3, "another share for every layer"
    with torch.no_grad():
        net.body.layer2.weight.mul_(1e-6)
    assert [int(P.sum()) for P in probabilities(net, 0.1, "magnitude", budget="global").values()][1] == 1


def test_of_equal_scores_the_first_are_kept():
    scores = torch.tensor([[1.0, 2.0], [1.0, 1.0]])
    assert torch.equal(ranked(scores, 0.5), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))


def test_smooth_probabilities_are_those_of_the_paper():
    net = new_net(width=12, depth=2)
    found = probabilities(net, 0.7, "smooth")
    for name, W in masks.hidden_weights(net).items():
        a = -torch.log1p(-found[name].double()) / W.detach().abs().double()  # p = 1 - exp(-a |w|)
        assert float(a.max() / a.min()) == pytest.approx(1, abs=1e-4)
    together = probabilities(net, 0.7, "smooth", budget="global")
    one = [
        -torch.log1p(-together[n].double()) / W.detach().abs().double() for n, W in masks.hidden_weights(net).items()
    ]
    assert float(one[0].median()) == pytest.approx(float(one[1].median()), rel=1e-4)
    with torch.no_grad():
        net.body.layer1.weight[:6] = 0.0
    with pytest.raises(ValueError, match=r"no smooth mask keeps 0\.7 of weights of which 0\.5 are zero"):
        probabilities(net, 0.7, "smooth")
    assert float(probabilities(net, 0.4, "smooth")["layer1.weight"][:6].max()) == 0


@pytest.mark.parametrize("kind", ["bernoulli", "smooth"])
def test_draws_have_the_stated_probabilities_within_binomial_error(kind):
    net = new_net(width=100)
    P = probabilities(net, 0.3, kind)
    one, again, other = (draw(net, P, seed).masks for seed in (1, 1, 2))
    counts = {name: torch.zeros_like(p) for name, p in P.items()}
    for i in range(40):  # neighbouring small seeds make streams that are not quite independent; trials hash theirs
        for name, mask in draw(net, P, seed_for(i, "mask")).masks.items():
            counts[name] += mask
    for name, p in P.items():
        assert torch.equal(one[name], again[name])
        assert not torch.equal(one[name], other[name])
        for low, high in ((0.0, 0.3), (0.3, 1.0)):
            some = (p > low) & (p <= high)
            if int(some.sum()):
                error = float((p * (1 - p))[some].sum() / 40) ** 0.5 / int(some.sum())
                assert abs(float((counts[name][some] / 40 - p[some]).mean())) < 5 * error + 1e-12


@pytest.mark.parametrize("kind", RULES)
def test_every_layer_keeps_its_own_share(kind):
    net, wanted = new_net(), (0.25, 1.0, 0.5)
    found = draw(net, probabilities(net, wanted, kind, **given(net, kind)), 1).masks  # 0 drew the weights
    for share, kept in zip(wanted, found.values(), strict=True):
        n, total = kept.numel(), float(kept.double().sum())
        error = 0.0 if kind in ("magnitude", "taylor") else 4 * (n * share * (1 - share)) ** 0.5
        assert abs(total - share * n) <= error
    with pytest.raises(ValueError, match=r"2 shares to keep, of 3 weight tensors: layer1\.weight, layer2\.weight, lay"):
        probabilities(net, (0.5, 0.5), "bernoulli")


def test_taylor_scores_are_what_the_loss_changes_by():
    """Against finite differences of the loss, weight by weight."""
    net = new_net(width=6, depth=2).double().eval()
    x, y = DATA.train[:40]
    x = x.double()
    found = taylor(net, [(x, y)], "all")

    def loss(other):
        with torch.no_grad():
            return float(cross_entropy(other(x), y))

    for name, W in masks.weights(net).items():
        for i in (0, 7, W.numel() - 1):
            w = float(W.detach().flatten()[i])
            ends = []
            for sign in (1, -1):
                other = copy.deepcopy(net)
                with torch.no_grad():
                    masks.weights(other)[name].view(-1)[i] = w * (1 + sign * 1e-5)
                ends.append(loss(other))
            assert float(found[name].flatten()[i]) == pytest.approx(abs(ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-9)


def test_taylor_scores_are_means_over_batches_and_leave_the_net_alone():
    net = new_net().train()
    net.body.layer2.weight.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    found, parts = taylor(net, BATCHES), [taylor(net, [batch]) for batch in BATCHES]
    for name in found:
        torch.testing.assert_close(found[name], sum(p[name] for p in parts) / 3)
        assert float(found[name].sum()) > 0
    assert net.training
    assert not net.body.layer2.weight.requires_grad
    assert all(torch.equal(W, before[name]) for name, W in net.state_dict().items())
    with pytest.raises(ValueError, match="at least one batch"):
        taylor(net, [])


def test_taylor_scores_are_those_of_evaluation_and_move_no_statistics():
    """A net with batch normalisation, in training but for one layer: against gradients of a copy in evaluation mode."""
    net = build(Build(model="cnn", width_multiplier=0.25), DATA.shape, 10, (DATA.mean, DATA.std), 0)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for m in norms:
        m.running_mean.fill_(0.1)
        m.running_var.fill_(2.0)
    twin = copy.deepcopy(net).eval()
    net.train()
    norms[1].eval()
    modes, before = [m.training for m in net.modules()], copy.deepcopy(net.state_dict())
    found = taylor(net, BATCHES, "all")
    expected = {name: torch.zeros_like(W) for name, W in masks.weights(twin).items()}
    for x, y in BATCHES:
        twin.zero_grad()
        cross_entropy(twin(x), y).backward()
        for name, W in masks.weights(twin).items():
            expected[name] += (W * W.grad).abs().detach() / len(BATCHES)
    for name, score in found.items():
        torch.testing.assert_close(score, expected[name], rtol=1e-4, atol=1e-8)
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_weight_that_the_loss_does_not_feel_goes_first():
    net = new_net(depth=1)
    with torch.no_grad():
        net.body.layer1.weight[3] = 9.0
        net.body.head.weight[:, 3] = 0.0  # the largest rows, and nobody reads them
    assert float(probabilities(net, 0.5, "magnitude")["layer1.weight"][3].min()) == 1
    found = probabilities(net, 0.5, "taylor", scores=taylor(net, BATCHES))
    assert float(found["layer1.weight"][3].max()) == 0


def test_layers_that_share_a_tensor_have_one_mask():
    net = tied()
    for kind in RULES:
        out = draw(net, probabilities(net, 0.4, kind, budget="global", **given(net, kind)), 0)
        assert torch.equal(out.masks["3.weight"], out.masks["5.weight"])
        assert out.body[3].weight is out.body[5].weight
    assert mask_weights(net, 0.5, "magnitude", 0).masks["3.weight"].sum() == 40
    with pytest.raises(ValueError, match=r"3\.weight and 5\.weight are one tensor"):
        probabilities(net, (0.5, 0.5, 0.4), "magnitude")


def test_a_masked_head_is_counted_stored_and_read_again():
    net = new_net(width=8, depth=1)
    out = draw(net, probabilities(net, 0.5, "magnitude", on="all"), 0)
    assert parameters(out) == 256 + 40
    assert stored_bytes(out) == (512 // 8 + 256 * 4) + (80 // 8 + 40 * 4)
    other = new_net(width=8, depth=1)
    shipped.fill(other, *shipped.pack(out))
    assert torch.equal(other(DATA.test.x), out(DATA.test.x))
    assert torch.equal(other.masks["head.weight"], out.masks["head.weight"])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"kind": "l0"}, "kind must be one of magnitude, taylor, bernoulli, smooth"),
        ({"kind": "taylor"}, "taylor ranks by scores"),
        ({"kind": "magnitude", "scores": {}}, "taylor ranks by scores"),
        ({"kind": "magnitude", "budget": "row"}, "budget must be one of layer, global"),
        ({"kind": "magnitude", "on": "head"}, "on must be one of hidden, all"),
        ({"kind": "magnitude", "keep": (0.5, 0.5, 0.4), "budget": "global"}, "one share for all"),
        ({"kind": "magnitude", "keep": 1.2}, "keep must be in"),
    ],
)
def test_bad_masks_are_refused(how, words):
    with pytest.raises(ValueError, match=words):
        probabilities(new_net(), how.pop("keep", 0.5), how.pop("kind"), **how)


def test_the_front_prunes_the_layers_of_least_b_first_and_more_as_lam_grows():
    net = new_net(width=40)
    assert shares(net, 0.0, 0.05).keep == pytest.approx((1.0, 1.0, 1.0))
    assert shares(net, 1.0, 0.05).keep == pytest.approx((0.05, 0.05, 0.05))
    kept = [sum(shares(net, lam, 0.05).keep) for lam in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert kept == sorted(kept, reverse=True)
    found = shares(net, 0.6, 0.05).keep
    b = tradeoff.constants([W.detach() for W in masks.hidden_weights(net).values()], 1.0).b
    assert [s for _, s in sorted(zip(b, found, strict=True))] == sorted(found)
    assert len(shares(new_net(rank=4), 0.5, 0.05).keep) == 6
    assert len(shares(net, 0.5, 0.05, on="all").keep) == 4
    assert len({*shares(net, 0.6, 0.05, uniform=True).keep}) == 1


def test_the_printed_algorithm_keeps_more_the_more_robustness_counts_and_the_exact_minimum_less():
    net = new_net(width=40)
    lams = (0.0, 0.5, 0.9, 0.99, 0.9999)
    printed = [shares(net, lam, 0.05, rule="printed", x_norm=8.0) for lam in lams]
    exact = [sum(shares(net, lam, 0.05, rule="exact", x_norm=8.0).keep) for lam in lams]
    assert printed[0].said == (0.0, 0.0, 0.0), "everything goes where fidelity alone counts"
    assert printed[0].keep == (0.05, 0.05, 0.05)
    sums = [sum(found.keep) for found in printed]
    assert sums == sorted(sums)
    assert exact == sorted(exact, reverse=True)
    assert exact[0] == 3.0


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.45, 0.8434), (0.55, 0.0)])
def test_the_printed_algorithm_begins_at_a_half(low, high, uniform):
    """Four layers of one singular value 1, so that A = b = 1 and C = E||x||: p stays where p sqrt(1 - p) = r with
    r = (1 - lam) C / lam. From above the lower root q the algorithm ends at the upper one, from below at 0. With q the
    upper one solves p^2 - (1 - q) p - q (1 - q) = 0, which is .8434 for q = .45."""
    net = new_net(width=4)
    with torch.no_grad():
        for W in masks.weights(net).values():
            W.zero_()[0, 0] = 1.0
    r = low * (1 - low) ** 0.5
    found = shares(net, 0.5, 0.05, rule="printed", uniform=uniform, on="all", x_norm=r)
    assert found.said == pytest.approx((high,) * 4, abs=1e-3)


@pytest.mark.parametrize("net", [build(Build(model="cnn"), DATA.shape, 10, (DATA.mean, DATA.std), 0), tied()])
def test_a_trade_off_needs_a_chain_without_bias(net):
    with pytest.raises(ValueError, match="without bias"):
        shares(net, 0.5, 0.05)
    with pytest.raises(ValueError, match="rule must be one of"):
        shares(new_net(), 0.5, 0.05, rule="descent")
