"""Risk and fidelity (paper B): their order, answers known on paper, and bounds that hold on average over masks."""

import math
from dataclasses import replace

import pytest
import torch

from study.nets import blocks, masks
from study.nets.build import build
from study.spec.config import Build, Load, Prune, Quantize, Remove, Risk, Teacher, Train, Trial
from study.theory.pruning import zeta_bound
from study.trial.measures.risk import moved, risk
from study.trial.run import run
from study.trial.stages import STAGES
from study.trial.state import State
from tests.helpers import linear_net

RISK = Risk(eps=(0.25, 1.0), points=20, images=40, iterations=10)


FIRST = (Load(train_size=300, test_size=60), Build(width=30, depth=1), Train(epochs=3))


def state_of(*after):
    state = State(seed=0)
    for at, stage in enumerate((*FIRST, *after)):
        state.stage = at
        for _ in STAGES[type(stage)](state, stage):
            pass
    return state


def numbers(state, config=RISK):
    return {(r["measure"], r.get("eps")): r["value"] for r in risk(state, config)}


def test_of_a_linear_map_the_worst_is_its_spectral_norm_and_a_random_point_moves_less():
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(10, 64, generator=generator) / 8
    x = torch.full((5, 1, 8, 8), 0.5)  # no side of the box within .5
    found = moved(linear_net(W, (1, 8, 8)), x, 0.4, 100, 200, generator)
    largest = 0.4 * float(torch.linalg.matrix_norm(W, ord=2))
    assert found.worst.tolist() == pytest.approx([largest] * 5, rel=0.01)
    assert bool((found.mean < found.max).all())
    assert bool((found.max <= found.worst).all())
    # E ||W d||^2 over the ball is ||W||_F^2 eps^2 / (D + 2)
    assert float(found.mean.mean()) == pytest.approx(0.4 * float(W.norm()) / math.sqrt(66), rel=0.1)


def test_a_net_that_was_not_compressed_has_risk_and_no_fidelity():
    found = numbers(state_of())
    for eps in (0.25, 1.0):
        assert 0 < found["risk_mean", eps] < found["risk_max", eps] < found["risk_worst", eps]
        assert found["risk_worst", eps] < found["risk_bound_tight", eps] <= found["risk_bound", eps] * (1 + 1e-9)
        ratio = found["risk_bound", eps] / found["risk_worst", eps]
        assert found["risk_tightness", eps] == pytest.approx(ratio)
    assert found["risk_worst", 0.25] < found["risk_worst", 1.0]
    assert not any(name.startswith("fidelity") for name, _ in found)


@pytest.mark.parametrize("mask", ["bernoulli", "smooth", "magnitude", "taylor"])
def test_on_average_over_masks_no_bound_is_passed(mask):
    draws = range(3) if mask in ("bernoulli", "smooth") else (0,)
    for keep in (0.3, 0.8):
        found = [numbers(state_of(Teacher(), Prune(keep_prob=keep, mask=mask, draw=d, on="all"))) for d in draws]

        def mean(name, eps=None, found=found):
            return sum(f[name, eps] for f in found) / len(found)

        for eps in (0.25, 1.0):
            assert mean("risk_worst", eps) <= mean("risk_bound_tight", eps)
            assert mean("risk_bound_tight", eps) <= mean("risk_bound", eps) * (1 + 1e-6)
        assert 0 < mean("fidelity") <= mean("fidelity_bound")


def test_the_bounds_know_the_masks_probabilities():
    """Of a Bernoulli mask on both layers gamma falls as sqrt(p) twice; magnitude leaves the printed form as it was."""
    whole = numbers(state_of())
    random = numbers(state_of(Teacher(), Prune(keep_prob=0.25, mask="bernoulli", on="all")))
    assert random["risk_bound", 1.0] == pytest.approx(0.25 * whole["risk_bound", 1.0], rel=1e-5)
    largest = numbers(state_of(Teacher(), Prune(keep_prob=0.25, on="all")))
    assert largest["risk_bound", 1.0] == pytest.approx(whole["risk_bound", 1.0], rel=1e-5)
    assert largest["risk_bound_tight", 1.0] < whole["risk_bound_tight", 1.0]
    hidden = numbers(state_of(Teacher(), Prune(keep_prob=0.25, mask="bernoulli")))
    assert hidden["risk_bound", 1.0] == pytest.approx(0.5 * whole["risk_bound", 1.0], rel=1e-5)


def test_the_bounds_are_of_each_layers_own_probability():
    """Theorem 2 by hand: eps times ||W||_F sqrt(p) of every layer; with one p in a layer its tight form is the same."""
    shares = (0.81, 0.25)
    state = state_of(Teacher(), Prune(layers=shares, mask="bernoulli", on="all"))
    assert [float(P.unique()) for P in state.keep.values()] == pytest.approx(shares)
    first, head = (float(torch.linalg.norm(W.double())) for W in masks.weights(state.teacher).values())
    gamma, found = 0.9 * first * 0.5 * head / float(state.net.std.min()), numbers(state)
    for eps in (0.25, 1.0):
        assert found["risk_bound", eps] == pytest.approx(eps * gamma, rel=1e-5)
        assert found["risk_bound_tight", eps] == pytest.approx(eps * gamma, rel=1e-5)
    kept = {r["layer"]: r["value"] for r in state.history if r["measure"] == "kept_share"}
    assert kept == {name: float(m.mean()) for name, m in state.net.masks.items()}


@pytest.mark.parametrize(
    "after",
    [
        (Prune(keep_prob=0.5), Train(epochs=1)),
        (Quantize(bits=4),),
        (Remove(ratio=0.5),),
        (Remove(ratio=0.5), Prune(keep_prob=0.5, mask="bernoulli")),
    ],
)
def test_where_the_bounds_do_not_hold_they_are_left_out(after):
    found = numbers(state_of(Teacher(), *after))
    assert ("fidelity", None) in found
    assert ("risk_worst", 1.0) in found
    assert not any("bound" in name or "tightness" in name for name, _ in found)


def test_another_draw_is_another_mask_and_the_first_is_as_it_always_was():
    def mask(**how):
        return state_of(Prune(keep_prob=0.5, mask="bernoulli", **how)).net.masks["layer1.weight"]

    assert torch.equal(mask(), mask(draw=0))
    assert not torch.equal(mask(), mask(draw=1))
    assert not torch.equal(mask(draw=1), mask(draw=2))


def test_what_a_trade_off_says_and_what_is_kept_stand_in_rows():
    state = state_of(Teacher(), Prune(lam=0.1, rule="printed", floor=0.1, on="all"))
    said = {r["layer"]: r["value"] for r in state.history if r["measure"] == "said_keep_prob"}
    kept = {r["layer"]: r["value"] for r in state.history if r["measure"] == "kept_share"}
    assert said == pytest.approx({"layer1.weight": 0.0, "head.weight": 0.0}, abs=1e-6)
    assert kept == pytest.approx({"layer1.weight": 0.1, "head.weight": 0.1}, abs=1e-3)


def test_a_trial_with_a_risk_is_a_trial():
    first = (Load(train_size=200, test_size=40), Build(width=12, depth=1), Train(epochs=1))
    *_, end = run(Trial(seed=0, stages=(*first, Teacher(), Prune(keep_prob=0.5)), measures=(RISK,)))
    rows = end.rows
    assert {r["measure"] for r in rows} >= {"risk_mean", "fidelity", "fidelity_bound_printed"}


def test_the_printed_fidelity_bound_fails_for_chosen_masks_and_the_other_does_not():
    """Erratum 15: half-kept Sylvester matrices, positive entries of the first and negative ones of the second."""
    H = torch.ones(1, 1)
    for _ in range(5):
        H = torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)])
    H, x = H.double(), torch.ones(32, dtype=torch.float64) / 32**0.5
    Ps = [(H > 0).double(), (H < 0).double()]
    actual = float((H @ torch.relu(H @ x) - (H * Ps[1]) @ torch.relu((H * Ps[0]) @ x)).norm())
    assert zeta_bound([H, H], Ps, 1.0, "paper") < actual <= zeta_bound([H, H], Ps, 1.0)


def block(*after, train=True):
    state = State(seed=0)
    first = (Load(train_size=300, test_size=60), Build(model="attention_block", width=32, patch_size=2))
    for at, stage in enumerate((*first, *((Train(epochs=2),) if train else ()), *after)):
        state.stage = at
        for _ in STAGES[type(stage)](state, stage):
            pass
    return state


def test_one_attention_block_has_the_risk_and_the_bounds_of_theorem_1():
    whole = numbers(block())
    assert ("risk_bound", 1.0) not in whole
    for eps in (0.25, 1.0):
        assert whole["risk_worst", eps] < whole["risk_block_bound", eps] == whole["risk_block_bound_printed", eps]
    assert whole["risk_block_bound", 1.0] == pytest.approx(4 * whole["risk_block_bound", 0.25])
    masked = numbers(block(Teacher(), Prune(keep_prob=0.5, mask="bernoulli")))
    assert masked["risk_block_bound_printed", 1.0] < masked["risk_block_bound", 1.0] < whole["risk_block_bound", 1.0]
    assert ("fidelity", None) in masked
    different = Prune(layers=(0.5, 0.5, 0.5, 0.5, 0.4), mask="bernoulli")
    for other in (Prune(keep_prob=0.5), Prune(keep_prob=0.5, mask="bernoulli", on="all"), different):
        assert not any("bound" in name for name, _ in numbers(block(Teacher(), other)))


def test_the_block_is_what_its_formula_says():
    """Against attention written out, head by head."""
    net = block(train=False).net
    body, x = net.body, (torch.rand(3, 1, 8, 8) - net.mean) / net.std
    patches = x.view(3, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(3, 16, 4)
    X = patches @ body.embed.weight.T + body.position
    heads = []
    for Q, K, V in zip(*(layer.weight.split(16) for layer in (body.q, body.k, body.v)), strict=True):
        A = torch.softmax((X @ Q.T) @ (X @ K.T).transpose(1, 2) / 16**0.5, dim=2)
        heads.append(A @ (X @ V.T))
    X = X + torch.cat(heads, dim=2) @ body.out.weight.T
    X = X + torch.relu(X @ body.ffn.weight.T)
    torch.testing.assert_close(body(x), X.mean(dim=1) @ body.head.weight.T, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("how", "words"), [({"width": 20}, "multiple of 16"), ({"patch_size": 3}, "must divide")])
def test_a_block_that_cannot_be_is_refused(how, words):
    config = Build(model="attention_block", **({"width": 32, "patch_size": 2} | how))
    with pytest.raises(ValueError, match=words):
        build(config, (1, 8, 8), 10, ((0.5,), (0.5,)), 0)


FEW = Risk(eps=(0.5,), points=3, images=6, iterations=3)


def vit(*after):
    state = State(seed=0)
    first = (Load(train_size=100, test_size=20), Build(model="vit", width=32, depth=2, patch_size=8), Train(epochs=1))
    for at, stage in enumerate((*first, *after)):
        state.stage = at
        for _ in STAGES[type(stage)](state, stage):
            pass
    return state


def by_layer(state):
    return {(r["measure"], r.get("layer")): r["value"] for r in risk(state, FEW)}


def test_a_vits_first_block_and_the_product_over_its_blocks_stand_beside_their_bounds():
    whole, masked = by_layer(vit()), by_layer(vit(Teacher(), Prune(keep_prob=0.5, mask="bernoulli")))
    for found in (whole, masked):
        for layer, bound in (("blocks.0", "blocks.0"), (None, "product")):
            assert 0 < found["risk_mean", layer] <= found["risk_max", layer] <= found["risk_worst", layer]
            assert found["risk_worst", layer] < found["risk_blocks_bound", bound]
    for form in ("", "_printed"):
        for layer in ("blocks.0", "product"):
            assert masked[f"risk_blocks_bound{form}", layer] < whole[f"risk_blocks_bound{form}", layer]
    with_rows_gone = by_layer(vit(Teacher(), Remove(ratio=0.5), Prune(keep_prob=0.5, mask="bernoulli")))
    assert not any("bound" in name for name, _ in with_rows_gone)
    twice = {(r["measure"], r.get("layer")): r["value"] for r in risk(vit(), replace(FEW, eps=(1.0,)))}
    assert twice["risk_blocks_bound", "product"] == pytest.approx(2 * whole["risk_blocks_bound", "product"])


def test_a_vits_product_is_that_of_its_blocks_and_of_what_lies_around_them():
    """As printed, with every norm written out: 32 features, one head, p = .25 in all layers of both blocks."""
    state = vit(Teacher(), Prune(keep_prob=0.25, mask="bernoulli"))
    body, ln = state.teacher.body, 32 / 31
    first = [float(torch.linalg.norm(W.weight.double())) for b in body.blocks for W in (
        b.attn.qkv.q, b.attn.qkv.k, b.attn.qkv.v, b.attn.proj, b.mlp.fc1, b.mlp.fc2)]  # fmt: skip
    each = [
        ln**2 * (1 + 0.25**2 * out * v * (4 / 32**0.5 * q * k + 1)) * (1 + 0.25 * one * two)
        for q, k, v, out, one, two in (first[:6], first[6:])
    ]
    around = blocks.begin(state.teacher, (1, 8, 8)) * 0.5 / float(state.net.std.min())
    head = float(torch.linalg.matrix_norm(body.head.weight.double(), ord=2))
    found = by_layer(state)
    assert found["risk_blocks_bound_printed", "blocks.0"] == pytest.approx(around * each[0], rel=1e-5)
    assert found["risk_blocks_bound_printed", "product"] == pytest.approx(
        around * each[0] * each[1] * ln * head, rel=1e-5
    )


@pytest.mark.parametrize(
    "after",
    [(Prune(keep_prob=0.5),), (Prune(keep_prob=0.5, mask="bernoulli", on="all"),), (Remove(ratio=0.5),)],
)
def test_a_vit_under_other_masks_has_its_risk_and_no_bound(after):
    found = by_layer(vit(Teacher(), *after))
    assert ("risk_worst", None) in found
    assert not any("bound" in name or layer for name, layer in found)
