"""When feature maps are measured, of which images, and under which attack."""

import dataclasses

import pytest

from search_spaces.feature_map_study import STUDY
from study.spec.config import FeatureMaps
from study.spec.errors import UsageError
from study.spec.expand import expand, knob_values, with_overrides
from study.spec.families import FAMILIES
from study.spec.identity import canonical_trial
from study.spec.rehearsal import small
from study.spec.studies import Arm, Preset

SHARED = {"data": "digits", "data_digest": "d", "data_dir": "", "model": "fcn", "model_digest": "", "sources": {}}


def asked(preset=None, **overrides):
    """The trials of a preset after --set, each with its feature maps or None."""
    plain = Preset(arms=(Arm(name="a", family="regularization", axes={"alpha": (0.0,)}),), seeds=(0,))
    preset, settings = with_overrides(preset or plain, overrides, "digits")
    points = expand(preset, settings, (0,))
    trials = [FAMILIES[p.family]({**knob_values(p), **SHARED, "seed": 0}) for p in points]
    return [(t, next((m for m in t.measures if isinstance(m, FeatureMaps)), None)) for t in trials]


def test_they_are_off_by_default_and_their_knobs_are_then_idle():
    ((plain, none),) = asked()
    ((idle, _),) = asked(feature_class="3", feature_layers="5")
    assert none is None
    assert canonical_trial(idle) == canonical_trial(plain)


def test_the_attack_is_pgd_where_the_study_s_own_is_else_autopgd_on_the_loss():
    ((_, gap),) = asked(feature_maps="1", gap_iterations="9", eps_linf="0.1", judged_linf="0.1", feature_class="3")
    assert gap == FeatureMaps(norm="linf", eps=0.1, attack="apgd", iterations=9, label=3, layers=3)
    ((_, pgd),) = asked(feature_maps="1", attack="pgd", attack_iterations="7", feature_layers="4", feature_class="all")
    assert pgd == FeatureMaps(norm="linf", eps=16 / 255, attack="pgd", iterations=7, label=-1, layers=4)


def test_a_class_that_the_data_lack_is_refused_before_anything_runs():
    with pytest.raises(UsageError, match="feature_class=10: digits has classes 0 to 9 here; -1 takes all"):
        asked(feature_maps="1", feature_class="10")
    with pytest.raises(UsageError, match="feature_class=2: digits has classes 0 to 1 here"):
        asked(feature_maps="1", feature_class="2", binary="1")


def test_a_rehearsal_looks_at_whatever_its_few_images_are_of():
    ((trial, _),) = asked(feature_maps="1", feature_class="8")
    (maps,) = (m for m in small(trial).measures if isinstance(m, FeatureMaps))
    assert (maps.label, maps.images, maps.iterations) == (-1, 2, 1)


def test_the_study_has_the_three_pairs_of_the_paper():
    for preset in STUDY.presets.values():
        found = asked(dataclasses.replace(preset, data="digits"))
        assert len(found) == 6
        assert {maps.label for _, maps in found} == {8}
    (_, paper), *_ = asked(STUDY.presets["paper"])
    assert paper == FeatureMaps(norm="linf", eps=0.1, attack="pgd", iterations=20, label=8, layers=3)
