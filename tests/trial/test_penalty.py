"""Penalties in the training loop: what they act on, that they add up, that off is off, and what they do to a net."""

import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from study.nets import net as nets
from study.nets import penalties
from study.nets.build import build
from study.nets.compression.factorize import factorize
from study.nets.compression.mask import mask_weights
from study.nets.data import load
from study.nets.net import Net
from study.nets.pairs import pairs
from study.spec.config import Build, Load, Train
from study.spec.errors import UsageError
from study.spec.identity import canonical, seed_for
from study.spec.knobs import KNOBS
from study.sweep.plan import tryout
from study.sweep.plan.request import Request, make_plan
from study.theory import alignment as theory
from study.theory.compressibility import eps_q, row_l1
from study.trial import penalty, stages
from study.trial import train as training
from study.trial.freeze import frozen
from study.trial.state import State
from tests.helpers import hidden_of

DATA = load(Load(train_size=250, test_size=60), 0)
ALL = {"l1": 0.001, "spread_control": 0.3, "alignment_penalty": 0.2}
EACH = [{name: value} for name, value in ALL.items()] + [{"l1": 0.001, "l1_on": "all"},
        {"penalty": "group_lasso_invariant", "alpha": 0.02}]  # fmt: skip


def fcn(width=16, depth=2, classes=10):
    return build(Build(width=width, depth=depth), DATA.shape, classes, (DATA.mean, DATA.std), 0)


def conv(width=16):
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    block = nn.Sequential(nn.Conv2d(8, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
    body = nn.Sequential(stem, block, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10))
    return Net(body, DATA.mean, DATA.std, hidden_of(body))


def train(net, config, seed=1):
    progress = training.start(net, config)
    for _ in training.epochs(net, DATA, config, seed, progress):
        pass
    return progress


def alone(net, config, freeze=()):
    """The penalties of a configuration by themselves, and the names of the parameters that they move."""
    held = frozen(net, freeze)
    value = penalty.add(torch.zeros(()), net, held, held.layers(net), config, penalty.Held(left=1))
    net.zero_grad()
    with held.held(net):
        if value.requires_grad:
            value.backward()
    return float(value.detach()), {n for n, p in net.named_parameters() if p.grad is not None and bool(p.grad.any())}


def same(one, other):
    return all(torch.equal(p, q) for p, q in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("base", [{}, {"penalty": "group_lasso", "alpha": 0.01, "frobenius": 1.0}])
def test_strength_zero_trains_bit_for_bit_like_no_penalty(base):
    plain, zero, on = fcn(), fcn(), fcn()
    config = Train(epochs=2, **base)
    curves = train(plain, config).curves
    off = dict.fromkeys(ALL, 0.0) | {"l1_on": "all", "penalty_refresh": 10}
    assert train(zero, dataclasses.replace(config, **off)).curves == curves
    assert same(plain, zero)
    train(on, dataclasses.replace(config, **ALL))
    assert not same(plain, on)


def test_an_invariant_lasso_of_strength_zero_is_none():
    plain, zero = fcn(), fcn()
    train(plain, Train(epochs=2))
    train(zero, Train(epochs=2, penalty="group_lasso_invariant"))
    assert same(plain, zero)


def test_what_is_off_is_no_part_of_an_identity():
    assert canonical(Train(l1=0.0, l1_on="hidden", spread_control=0.0, alignment_penalty=0.0)) == {"type": "Train"}


def main_term(later, earlier):
    """By autograd through a singular value decomposition, as the formula stands."""
    U1, s1, _ = torch.linalg.svd(earlier, full_matrices=False)
    _, s2, V2 = torch.linalg.svd(later, full_matrices=False)
    k1, k2 = (max(1, round(0.1 * len(s))) for s in (s1, s2))
    M = (s2[:k2].sqrt()[:, None] * V2[:k2]) @ (U1[:, :k1] * s1[:k1].sqrt())
    return torch.linalg.matrix_norm(M, ord=2) / (s1[0] * s2[0]).sqrt()


@pytest.mark.parametrize("own", [{"penalty": "group_lasso_invariant", "alpha": 0.02}, {}])
def test_a_naive_twin_that_adds_them_up_trains_the_same_net(own):
    config = Train(epochs=2, **ALL, **own)
    net, twin = fcn(width=40), fcn(width=40)
    train(net, config)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=0.01)
    for epoch in range(2):
        torch.manual_seed(seed_for(1, f"epoch {epoch}"))
        for index in torch.randperm(250).split(100):
            loss = cross_entropy(twin(DATA.train.x[index]), DATA.train.y[index])
            W1, W2 = (layer.weight for layer in nets.layers(twin).values())
            for W in (W1, W2):
                norms = W.square().sum(dim=1).sqrt()
                loss = loss + ALL["l1"] * W.abs().sum()
                top = norms.topk(2).values
                loss = loss + ALL["spread_control"] * ((top - top.mean()) ** 2).mean()
                loss = loss + own.get("alpha", 0.0) * norms.sum() / norms.square().sum().sqrt()
            loss = loss + ALL["alignment_penalty"] * main_term(W2, W1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(p, q, atol=2e-5)


def test_penalties_add_up():
    net = fcn()
    whole = alone(net, Train(penalty="nuclear_norm", alpha=0.01, **ALL))[0]
    parts = [alone(net, Train(**one))[0] for one in ({"penalty": "nuclear_norm", "alpha": 0.01}, *EACH[:3])]
    assert whole == pytest.approx(sum(parts))
    assert all(part > 0 for part in parts)


@pytest.mark.parametrize("how", EACH)
def test_heads_are_never_penalised_also_where_a_hidden_layer_is_as_wide(how):
    net = fcn(width=10)
    moved = alone(net, Train(**how))[1]
    assert ("body.head.weight" in moved) == (how.get("l1_on") == "all")
    assert {"body.layer1.weight", "body.layer2.weight"} <= moved


def test_l1_on_all_counts_biases_norms_stem_and_head_and_on_hidden_the_hidden_weights_alone():
    net = conv()
    value, moved = alone(net, Train(l1=0.5))
    assert moved == {"body.1.0.weight"}
    assert value == pytest.approx(0.5 * float(net.body[1][0].weight.abs().sum().detach()))
    with torch.no_grad():
        net.body[0][1].bias.fill_(0.25)
    value, moved = alone(net, Train(l1=0.5, l1_on="all"))
    assert moved == {n for n, p in net.named_parameters() if bool(p.any())} >= {"body.0.1.bias", "body.4.bias"}
    assert value == pytest.approx(0.5 * sum(float(p.abs().sum().detach()) for p in net.parameters()))


@pytest.mark.parametrize("how", EACH)
def test_frozen_layers_are_not_penalised(how):
    net = fcn(depth=4)
    free, moved = alone(net, Train(**how), ("layer1",))
    assert "body.layer1.weight" not in moved
    with torch.no_grad():
        net.body.layer1.weight.mul_(7).add_(1)
    assert alone(net, Train(**how), ("layer1",)) == (free, moved)
    head_alone = alone(net, Train(**how), ("encoder",))
    assert head_alone[1] == ({"body.head.weight"} if how.get("l1_on") == "all" else set())


def test_a_frozen_layer_in_the_middle_is_no_bridge():
    net = fcn(width=16, depth=3)
    assert pairs(net) == [("layer1", "layer2"), ("layer2", "layer3")]
    assert pairs(net, ("layer1", "layer3")) == []
    with pytest.raises(ValueError, match="alignment_penalty needs two trained hidden layers in a row"):
        training.start(net, Train(alignment_penalty=0.1, freeze=("layer2",)))


@pytest.mark.parametrize("how", [how for how in EACH if "l1_on" not in how])
def test_factors_are_penalised_by_their_product(how):
    low = factorize(fcn(), 5, 0)
    dense = fcn()
    with torch.no_grad():
        for name, layer in nets.layers(dense).items():
            layer.weight.copy_(nets.matrix(low.body.get_submodule(name)))
    assert alone(low, Train(**how))[0] == pytest.approx(alone(dense, Train(**how))[0], rel=1e-5)
    assert {f"body.layer{i}.{part}" for i in (1, 2) for part in "AB"} <= alone(low, Train(**how))[1]


@pytest.mark.parametrize("how", EACH)
def test_masks_keep_their_zeros(how):
    net = mask_weights(fcn(), 0.3, "magnitude", 0)
    zero = {name: layer.weight.detach() == 0 for name, layer in nets.layers(net).items()}
    train(net, Train(epochs=2, **how))
    assert all(torch.equal(layer.weight.detach() == 0, zero[n]) for n, layer in nets.layers(net).items())


def test_every_replay_of_free_training_is_penalised(monkeypatch):
    seen = []
    monkeypatch.setattr(penalty, "l1_norm", lambda tensors: seen.append(1) or penalties.l1_norm(tensors))
    free = {"adversarial_ratio": 0.5, "train_eps": 0.05, "train_attack": "free", "train_steps": 4}
    train(fcn(), Train(epochs=1, l1=0.001, **free))
    assert len(seen) == 3 * 4  # batches and replays


def test_the_gradient_of_alignment_is_renewed_by_steps_and_in_each_of_the_last_thirty_batches(monkeypatch):
    made = []
    found = penalty.alignment_slope
    monkeypatch.setattr(penalty, "alignment_slope", lambda *given: made.append(1) or found(*given))
    config = Train(epochs=4, batch_size=5, alignment_penalty=0.1, penalty_refresh=10)  # 50 batches an epoch
    train(fcn(), config)
    assert len(made) == 3 * 5 + 2 + 30
    made.clear()
    train(fcn(), dataclasses.replace(config, penalty_refresh=0, epochs=1))
    assert len(made) == 50


@pytest.mark.parametrize("pause", [1, 3])
def test_going_on_from_a_snapshot_equals_never_stopping(pause):
    config = Train(epochs=4, batch_size=10, penalty="group_lasso_invariant", alpha=0.02, penalty_refresh=7, **ALL)

    def state():
        return State(seed=0, data=DATA, net=fcn())

    whole, broken = state(), state()
    for _ in stages.STAGES[Train](whole, config):
        pass
    for _ in stages.STAGES[Train](broken, config):
        if broken.progress.epoch == pause:
            break
    resumed = state()
    resumed.resume = copy.deepcopy(stages.snapshot(broken))
    for _ in stages.STAGES[Train](resumed, config):
        pass
    assert resumed.progress.curves == whole.progress.curves
    assert same(resumed.net, whole.net)


# --- what they do to a net


def trained(make, **config):
    net = make()
    train(net, Train(epochs=15, learning_rate=0.01, batch_size=50, **config))
    return list(nets.weight_matrices(net).values()), net


def test_l1_lowers_the_sum_of_the_weights_and_sparsifies():
    (plain, _), (sparse, _) = trained(fcn), trained(fcn, l1=0.002)
    sums = [float(penalties.l1_norm(W.detach() for W in matrices)) for matrices in (plain, sparse)]
    assert sums[1] < 0.7 * sums[0]
    small = [sum(int((W.abs() < 1e-3).sum()) for W in matrices) for matrices in (plain, sparse)]
    assert small[1] > 3 * small[0]


def test_l1_on_all_reaches_the_head():
    size = [
        float(trained(fcn, l1=0.002, l1_on=on)[1].body.head.weight.abs().sum().detach()) for on in ("hidden", "all")
    ]
    assert size[1] < 0.8 * size[0]


def test_spread_control_lowers_the_variance_of_the_largest_rows():
    (plain, _), (level, _) = trained(lambda: fcn(width=60)), trained(lambda: fcn(width=60), spread_control=3.0)
    variances = [float(penalties.spread_control(W.detach() for W in matrices)) for matrices in (plain, level)]
    assert variances[1] < 0.2 * variances[0]


def test_the_alignment_penalty_lowers_the_alignment_that_theory_measures():
    def measured(matrices):
        first, second = (W.detach().double() for W in matrices)
        return theory.alignment(second, first, 2, 2, 2.0, "greedy").value

    (plain, _), (apart, net) = trained(lambda: fcn(width=20)), trained(lambda: fcn(width=20), alignment_penalty=1.0,
                                                                       penalty_refresh=10)  # fmt: skip
    assert measured(apart) < measured(plain) - 0.1
    assert training.evaluate(net, DATA.test)[0] > 0.7


@pytest.mark.parametrize("make", [conv, lambda: conv(width=32), fcn])
def test_the_invariant_group_lasso_makes_rows_compressible_without_shrinking_the_net(make):
    def rows(matrices):
        return sum(eps_q(row_l1(W.detach()), 1, max(1, len(W) // 8)) for W in matrices) / len(matrices)

    (plain, _), (few, net) = trained(make), trained(make, penalty="group_lasso_invariant", alpha=0.3)
    assert rows(few) < rows(plain) - 0.1
    size = [sum(float(W.detach().norm()) for W in matrices) for matrices in (plain, few)]
    assert size[1] > 0.5 * size[0]
    assert training.evaluate(net, DATA.test)[0] > 0.7


# --- refusals and families


def planned(preset="smoke", study="compressibility_sweep", model="", **overrides):
    return make_plan(Request(study=study, preset=preset, model=model, overrides=overrides), need_data=False)


def test_a_net_whose_layers_do_not_chain_is_refused_for_alignment_at_planning_and_at_the_start():
    with pytest.raises(UsageError, match="alignment_penalty: one hidden layer has none to be aligned with"):
        planned(alignment_penalty="0.1", depth="1")
    with pytest.raises(ValueError, match=r"alignment_penalty needs .* leave it at 0"):
        training.start(conv(), Train(alignment_penalty=0.1))
    plan = planned(model="tests.trial.test_penalty:single", alignment_penalty="0.1")
    trial = next(job.trial for job in plan.jobs.values())
    with pytest.raises(UsageError, match=r"--model tests.trial.test_penalty:single: alignment_penalty needs"):
        tryout.check_data_and_model(trial)
    training.start(conv(), Train(spread_control=0.1, l1=0.1))


def single(shape, classes):
    """A net with one convolution between stem and head."""
    return conv().body


def test_of_a_transformer_v_is_what_passes_on():
    net = build(Build(model="vit", width=32, depth=2), (1, 32, 32), 10, (DATA.mean, DATA.std), 0)
    found = [tuple(name.removeprefix("blocks.") for name in pair) for pair in pairs(net)]
    assert ("0.attn.qkv.v", "0.attn.proj") in found
    assert ("0.mlp.fc1", "0.mlp.fc2") in found
    assert not any(name.endswith((".q", ".k")) for pair in found for name in pair)


@pytest.mark.parametrize(
    ("study", "preset"), [("compressibility_sweep", "smoke"), ("compression_level_sweep", "laptop")]
)
def test_families_hand_the_knobs_to_their_training_and_not_to_fine_tuning(study, preset):
    plan = planned(preset, study, "fcn", l1="0.01", l1_on="all", spread_control="0.2", alignment_penalty="0.3")
    stages_ = [[s for s in job.trial.stages if isinstance(s, Train)] for job in plan.jobs.values()]
    assert len(stages_) > 3
    for first, *later in stages_:
        assert (first.l1, first.l1_on, first.spread_control, first.alignment_penalty) == (0.01, "all", 0.2, 0.3)
        assert first.penalty_refresh == 10
        for again in later:
            assert (again.l1, again.spread_control, again.alignment_penalty, again.alpha) == (0, 0, 0, 0)


def test_alignment_is_labelled_as_from_the_notes():
    assert "not in the paper" in KNOBS["alignment_penalty"].help
