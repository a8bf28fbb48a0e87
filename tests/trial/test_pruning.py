"""Pruning curves as a measure: rows with their own column, the attack on the pruned net, the same again."""

from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest
import torch

from analysis.claims.model import Term
from analysis.claims.pairs import term
from analysis.tables import per_trial
from study.nets import net as nets
from study.nets.build import build
from study.nets.compression.shares import METHODS
from study.nets.data import load
from study.spec.attack_names import current
from study.spec.config import Build, Load, Prunability, PruningCurve, Robustness
from study.spec.errors import UsageError
from study.spec.expand import settings_for
from study.spec.families import FAMILIES
from study.spec.identity import canonical_trial, fingerprint, trial_of
from study.spec.knobs import AXES
from study.spec.measuring import PRUNINGS
from study.spec.names import metric_name
from study.spec.studies import Preset
from study.store import results, schema
from study.store import table as tables
from study.trial import run as trials
from study.trial.measures.pruning import pruning_curve
from study.trial.measures.robustness import robustness
from study.trial.stages import snapshot
from study.trial.state import State
from tests.helpers import tiny_trial

CURVE = PruningCurve(methods=("rows", "eps"), kept=(1.0, 0.5), eps_linf=8 / 255, eps_l2=0.3, iterations=3,
                     backend="native", revision=3)  # fmt: skip
TRIAL = replace(tiny_trial(), measures=(Prunability(), CURVE))


def rows_of(trial, resume=None, stop=False):
    for outcome in trials.run(trial, resume=resume):
        if stop and outcome.phase == "train":
            return snapshot(outcome.state)
    return [r for r in outcome.rows if r["deterministic"]]


@pytest.fixture(scope="module")
def rows():
    return rows_of(TRIAL)


def curve_rows(rows):
    return [r for r in rows if r.get("pruning")]


def test_every_point_has_its_rows_and_coordinates(rows):
    found = curve_rows(rows)
    at = {(r["measure"], r["pruning"], r["kept"], r.get("norm")) for r in found}
    names = (("pruned_kept", None), ("pruned_accuracy", None), ("relative_pruned_accuracy", None),
             ("pruned_robust_accuracy", "linf"), ("pruned_robust_accuracy", "l2"))  # fmt: skip
    assert at == {(name, way, share, norm) for name, norm in names for way in ("rows", "eps") for share in (1.0, 0.5)}
    assert len(found) == len(at)
    for r in found:
        robust = r["measure"] == "pruned_robust_accuracy"
        assert r.get("attack") == (current("native", "apgd") if robust else None)
        assert r.get("eps") == ({"linf": 8 / 255, "l2": 0.3}[r["norm"]] if robust else None)
        assert r.get("split") == (None if r["measure"] == "pruned_kept" else "test")
        assert r.get("n") == (None if r["measure"] == "pruned_kept" else 60)
        assert 0 <= r["value"] <= 1 or r["measure"] == "relative_pruned_accuracy"
    assert {metric_name(r) for r in found if r.get("norm") != "l2" and r["kept"] == 0.5 and r["pruning"] == "eps"} == {
        "pruned_kept/eps_kept_0.5", "pruned_accuracy/eps_kept_0.5", "pruned_robust_accuracy/linf_8_255_eps_kept_0.5",
        "relative_pruned_accuracy/eps_kept_0.5",
    }  # fmt: skip


def test_relative_accuracy_is_over_that_of_the_net_as_trained(rows):
    def values(measure):
        return {(r["pruning"], r["kept"]): r["value"] for r in curve_rows(rows) if r["measure"] == measure}

    found, accuracy = values("relative_pruned_accuracy"), values("pruned_accuracy")
    assert found == {at: value / accuracy["rows", 1.0] for at, value in accuracy.items()}
    assert len(set(found.values())) > 1


def test_the_same_again_and_after_an_interruption(rows):
    assert rows_of(TRIAL) == rows
    assert rows_of(TRIAL, resume=rows_of(TRIAL, stop=True))[-len(curve_rows(rows)) :] == curve_rows(rows)


def test_a_curve_begins_with_the_net_as_trained():
    """At share 1 the attack has the stream of Robustness: the same number, whatever the way of pruning."""
    own = [Robustness(norm=n, eps=(e,), iterations=3, backend="native", checks=False)
           for n, e in (("linf", 8 / 255), ("l2", 0.3))]  # fmt: skip
    curve = replace(CURVE, methods=tuple(METHODS), kept=(1.0,))
    found = rows_of(replace(TRIAL, measures=(*own, curve)))
    for norm in ("linf", "l2"):
        (whole,) = (r["value"] for r in found if r["measure"] == "robust_accuracy" and r["norm"] == norm)
        pruned = [r["value"] for r in found if r["measure"] == "pruned_robust_accuracy" and r["norm"] == norm]
        assert pruned == [whole] * len(METHODS)
        assert 0 < whole < 1


def planted():
    """A net of three units: the mean of the image, small, whose weight in the head decides every image for class 1, and
    a checkerboard and its negative, of large norm, which alone tell the classes by a sign that any attack turns."""
    state = State(seed=0, data=load(Load(test_size=60, binary=True), 0))
    net = build(Build(width=3, depth=1), (1, 8, 8), 2, ((0.0,), (1.0,)), 0)
    board = torch.tensor([(-1.0) ** (i // 8 + i) for i in range(64)])
    with torch.no_grad():
        net.body.layer1.weight.copy_(torch.stack([torch.ones(64) * 0.1, board, -board]))
        net.body.head.weight.copy_(torch.tensor([[0.0, 1.0, 0.0], [1e3, 0.0, 1.0]]))
    state.net = net
    return state


def test_the_attack_is_on_the_pruned_net():
    state = planted()
    curve = replace(CURVE, methods=("rows",), kept=(1.0, 2 / 3), eps_linf=0.2, eps_l2=2.0)
    found = {(r["measure"], r["kept"], r.get("norm")): r["value"] for r in pruning_curve(state, curve)}
    ones = float((state.data.test.y == 1).double().mean())
    assert found["pruned_accuracy", 1.0, None] == found["pruned_robust_accuracy", 1.0, "linf"] == ones
    assert found["pruned_accuracy", 2 / 3, None] > 0.3
    assert found["pruned_robust_accuracy", 2 / 3, "linf"] == found["pruned_robust_accuracy", 2 / 3, "l2"] == 0.0
    (whole,) = (
        r["value"]
        for r in robustness(state, Robustness(norm="linf", eps=(0.2,), iterations=3, backend="native", checks=False))
        if r["measure"] == "robust_accuracy"
    )
    assert whole == ones, "the trial's own net is as it was"


def test_prunability_and_selectors_read_their_own_rows_alone(rows):
    frame = pd.DataFrame([dict.fromkeys(results.COLUMNS) | {"trial": "t", "status": "ok"} | r for r in rows])
    (own,) = (
        r["value"] for r in rows if r["measure"] == "pruned_accuracy" and r["kept"] == 0.5 and not r.get("pruning")
    )
    assert per_trial(frame, "pruned_accuracy", kept=0.5, split="test").tolist() == [own]
    study = type("Study", (), {"settings": {}, "revisions": {}})
    asked = Term(measure="pruned_accuracy", kept=0.5, split="test")
    assert term(frame, study, asked).tolist() == [own]
    (curve,) = (
        r["value"] for r in rows if r["measure"] == "pruned_kept" and r["kept"] == 0.5 and r["pruning"] == "eps"
    )
    assert term(frame, study, Term(measure="pruned_kept", kept=0.5, pruning="eps")).tolist() == [curve]


def test_the_column_survives_the_table_and_is_null_in_older_ones(rows, monkeypatch):
    named = [{"study": "s", "family": "f", "trial": "t", "seed": 0, "status": "ok"} | r for r in rows]
    back = results.decode(results.encode(named, {})).rows
    assert [r["pruning"] for r in back] == [r.get("pruning") for r in rows]
    plain = [{k: v for k, v in r.items() if k != "pruning"} for r in named if not r.get("pruning")]
    columns = [c for c in results.COLUMNS if c != "pruning"]
    with monkeypatch.context() as patch:
        patch.setattr(tables, "COLUMNS", columns)
        patch.setattr(schema, "SCHEMA", pa.schema([f for f in schema.SCHEMA if f.name in columns]))
        older = results.encode(plain, {})
    assert {r["pruning"] for r in results.decode(older).rows} == {None}


def point(family, **given):
    preset = Preset(arms=(), seeds=(0,), settings={})
    base = {name: knob.default for name, knob in AXES.items()} | settings_for(preset)
    more = {"data": "digits", "data_digest": "", "data_dir": "", "model": "fcn", "model_digest": "", "sources": {}}
    return base | more | {"seed": 0} | given


@pytest.mark.parametrize("family", ["regularization", "low_rank", "compressed"])
def test_the_knob_adds_a_measure_and_is_off_by_default(family):
    off, on = (FAMILIES[family](point(family, pruning=ways)) for ways in ((), ("rows", "eps")))
    assert not any(isinstance(m, PruningCurve) for m in off.measures)
    (curve,) = (m for m in on.measures if isinstance(m, PruningCurve))
    assert (curve.methods, curve.kept[0], curve.kept[-1]) == (("rows", "eps"), 1.0, 0.1)
    assert [m for m in on.measures if m is not curve] == list(off.measures)
    assert fingerprint(trial_of(canonical_trial(on))) == fingerprint(on)


def test_ways_have_one_list_and_quantized_nets_none():
    assert tuple(METHODS) == PRUNINGS
    with pytest.raises(UsageError, match="pruning does not go with bits"):
        FAMILIES["compressed"](point("compressed", pruning=("rows",), bits=4))


def test_a_low_rank_net_has_curves_too():
    state = State(seed=0, data=load(Load(test_size=60), 0))
    *_, outcome = trials.run(replace(tiny_trial(rank=4, measures=False)))
    state.net = outcome.state.net
    found = pruning_curve(state, replace(CURVE, methods=PRUNINGS, kept=(0.5,)))
    assert {r["pruning"]: r["value"] for r in found if r["measure"] == "pruned_kept"} == pytest.approx(
        dict.fromkeys(PRUNINGS, 0.5) | {"low_rank": 1.0},
        abs=0.1,  # four of 16 ranks: nothing lies beyond the half
    )
    assert all(nets.matrix(m).any() for m in nets.layers(state.net).values())
