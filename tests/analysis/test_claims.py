"""Claims by id and by statistic: what they ask of a table, and what a study's arms are about."""

import math
import re
from dataclasses import replace
from datetime import date

import pytest

from analysis import report
from analysis.claims import (
    CLAIMS,
    WITHDRAWN,
    Control,
    Regime,
    Rows,
    Term,
    find,
    judge,
    paper_a,
    paper_b,
    paper_c,
    words,
)
from analysis.claims.evidence import STATISTICS
from analysis.figures import FIGURES
from analysis.tables import attack_of
from study.spec.errors import UsageError
from study.spec.knobs import KNOBS
from study.sweep.plan.catalogue import find_study, study_names
from tests.claim_cases import ACCURACY, BITS, MINE, claim, falls, study, table
from tests.helpers import launch


def judged(frame, asked, on=MINE):
    return judge.judge(frame, on, asked)


ITSELF = Control(words="the effect itself", arm="bits")


@pytest.mark.parametrize(
    ("asked", "frame", "value"),
    [
        (claim("difference", at={"bits": 1}), table(falls(0.1)), -0.4),
        (claim("order"), table(falls(0.1)), -1.0),
        (claim("growth", axis="", at={"bits": 4}), table(falls(0.1)), math.log(0.7)),
        (claim("ratio", at={"bits": 1}), table(falls(0.1)), 0.5 / 0.9),
        (
            claim("difference", Rows(arm="tuned", y=ACCURACY, at={"bits": 1}), at={"bits": 1}, control=ITSELF),
            table(lambda arm, axes: 0.5 + 0.3 * (arm == "tuned")),
            -0.3,
        ),
        (
            claim(
                "interaction", Rows(arm="bits", y=ACCURACY, at={"bits": 0}),
                Rows(arm="tuned", y=ACCURACY, at={"bits": 1}), Rows(arm="tuned", y=ACCURACY, at={"bits": 0}),
                at={"bits": 1}, control=ITSELF,
            ),
            table(lambda arm, axes: 0.9 - (0.4 if arm == "bits" else 0.1) * (axes["bits"] == 1)),
            -0.3,
        ),
    ],
)  # fmt: skip
def test_every_statistic_is_taken_of_the_rows_that_a_claim_names(asked, frame, value):
    """The sign that is expected gives "supported"; the other one "opposite", where a control shows the expected one."""
    found = judged(frame, asked)
    assert found.statistic.value == pytest.approx(value, abs=0.05)
    null = 1.0 if asked.statistic == "ratio" else 0.0
    sign = 1 if value > null else -1
    right = judged(frame, replace(asked, expected=sign))
    assert right.verdict == "supported"
    other = replace(right, claim=replace(asked, expected=-sign))
    assert judge.settled(other, right.p).verdict == "opposite"
    assert f"{found.statistic.value:.2f}" in words.sentence(found)
    assert "6 seeds" in words.sentence(found)


SEVEN = (0, 16, 8, 6, 4, 2, 1)


def test_a_peak_is_a_rise_and_then_a_fall():
    on = study(("bits", {"bits": SEVEN}), ("tuned", {"bits": SEVEN, "finetune": ("standard",)}))
    hump = table(lambda arm, axes: 0.6 - 0.1 * abs(SEVEN.index(axes["bits"]) - 3), on)
    found = judged(hump, claim("peak"), on)
    assert found.statistic.value == pytest.approx(0.3, abs=0.03)
    assert found.verdict == "supported"
    single = table(lambda arm, axes: 0.3 + 0.2 * (axes["bits"] == 6) + 0.1 * (axes["bits"] in (2, 16)), on)
    assert judged(single, claim("peak"), on).verdict == "not supported", "levels that jump about are no peak"
    turned = table(lambda arm, axes: 0.3 + 0.1 * abs(SEVEN.index(axes["bits"]) - 3), on)
    assert judged(turned, claim("peak"), on).statistic.value < 0


def test_equivalence_is_judged_by_its_margin():
    """Its control, one level further on, must be found to be equivalent too."""
    asked = claim("equivalence", at={"bits": 8}, threshold=0.1)
    flat = {"bits": 0.02, "tuned": 0.0}
    assert judged(table(lambda arm, axes: falls(flat[arm])(arm, axes)), asked).verdict == "supported"
    far = {"bits": 0.3, "tuned": 0.0}
    assert judged(table(lambda arm, axes: falls(far[arm])(arm, axes)), asked).verdict == "opposite"
    assert judged(table(falls(0.5)), asked).reasons == ("the control was not detected",)
    with pytest.raises(ValueError, match="needs a threshold"):
        judged(table(falls(0.02)), replace(asked, threshold=None))


def test_noninferiority_lets_a_better_number_pass_and_none_that_is_worse_by_the_margin():
    asked = claim("noninferiority", at={"bits": 8}, threshold=0.1)

    def verdict(step):
        return judged(table(lambda arm, axes: falls({"bits": step, "tuned": 0.0}[arm])(arm, axes)), asked).verdict

    assert (verdict(-0.3), verdict(0.02), verdict(0.3)) == ("supported", "supported", "opposite")
    equal = replace(asked, statistic="equivalence")
    better = table(lambda arm, axes: falls({"bits": -0.3, "tuned": 0.0}[arm])(arm, axes))
    assert judged(better, equal).verdict == "opposite", "an equivalence does not let it pass"


def test_an_effect_below_the_threshold_is_no_support():
    frame = table(falls(0.02), noise=0.001)
    asked = claim("difference", at={"bits": 8}, expected=-1)
    assert judged(frame, asked).verdict == "supported"
    assert judged(frame, replace(asked, threshold=0.01)).verdict == "supported"
    assert judged(frame, replace(asked, threshold=0.05)).verdict == "not supported"


def test_without_a_control_that_is_detected_no_verdict_is_said():
    """Neither that there is an effect nor that there is none."""
    flat, there = lambda arm, axes: 0.9 - 0.4 * (arm == "tuned" and axes["bits"] == 1), falls(0.1)
    asked = claim("difference", at={"bits": 8}, expected=-1)
    assert judged(table(flat), asked).verdict == "not supported"
    for value in (flat, there):
        alone = judged(table(value), replace(asked, control=None))
        assert alone.verdict == "regime not reached"
        assert "no control" in words.sentence(alone)
        assert "planted" not in words.sentence(alone)
    missed = judged(table(lambda arm, axes: 0.9 if arm == "tuned" else there(arm, axes)), asked)
    assert (missed.verdict, missed.reasons) == ("regime not reached", ("the control was not detected",))


def test_a_control_passes_the_same_filters():
    """A level at which the control's nets no longer work is no evidence that an effect would be seen."""
    control = replace(claim("order").control, axis="bits")
    asked = replace(claim("order", expected=-1), control=control, regime=Regime())

    def value(arm, axes):
        return 0.95 - 0.9 * (axes["bits"] in (4, 2, 1)) if arm == "tuned" else 0.98 - 0.02 * BITS.index(axes["bits"])

    found = judged(table(value, noise=0.001), asked)
    assert (found.control.levels, found.control_detected) == (2, False)
    assert judged(table(value, noise=0.001), replace(asked, regime=Regime(clean=False))).control_detected


def test_four_seeds_are_too_few():
    found = judged(table(falls(0.1), seeds=4), claim("order"))
    assert (found.verdict, found.reasons) == ("regime not reached", ("4 seeds are too few for an interval "
                                                                     "(5 are needed)",))  # fmt: skip


def test_the_baseline_is_the_claims_or_the_studys_or_off():
    """Three baselines of one fall by .1 a level: the difference at 2 bits counts from each."""
    frame, asked = table(falls(0.1)), claim("difference", at={"bits": 2})
    assert judged(frame, asked).statistic.value == pytest.approx(-0.3, abs=0.02)
    assert judged(frame, asked, replace(MINE, baseline={"bits": 8})).statistic.value == pytest.approx(-0.2, abs=0.02)
    nearest = replace(asked, baseline=4)
    assert judged(frame, nearest, replace(MINE, baseline={"bits": 8})).statistic.value == pytest.approx(-0.1, abs=0.02)
    regime = replace(asked, baseline=16, regime=Regime())
    assert judged(frame, regime).reasons[0] == "the arm has no baseline"


def test_levels_whose_accuracy_has_gone_are_not_compared():
    asked = claim("difference", at={"bits": 1}, regime=Regime())
    found = judged(table(lambda arm, axes: 0.95 - 0.9 * (axes["bits"] == 1)), asked)
    assert found.unjudged == (1,)
    assert found.verdict == "regime not reached"
    assert "a side of the comparison has no trial" in words.sentence(found)


def test_a_claim_is_found_by_its_id_or_stands_for_itself():
    own = claim("order")
    assert find(["A-i-neuron", own, "A-i-neuron", own]) == [CLAIMS["A-i-neuron"], own]
    with pytest.raises(UsageError, match=r"claim 'A-i-neurons' is not known; did you mean A-i-neuron\?"):
        find(["A-i-neurons"])
    with pytest.raises(UsageError, match="'A-prunability' is withdrawn: that compressible nets"):
        find(WITHDRAWN)
    with pytest.raises(UsageError, match="two different claims have the id 'A-i-neuron'"):
        find(["A-i-neuron", replace(own, id="A-i-neuron")])
    with pytest.raises(UsageError, match="or a Claim, got 7"):
        find([7])


def test_every_claim_that_we_keep_can_be_asked_and_is_asked_by_a_study():
    assert len(CLAIMS) == len(paper_a.CLAIMS) + len(paper_b.CLAIMS) + len(paper_c.CLAIMS), "an id stands twice"
    for one in CLAIMS.values():
        assert one.statistic in STATISTICS
        assert one.threshold, "the smallest effect worth speaking of"
        assert date.fromisoformat(one.dated)
        assert one.control_rows is not None
        assert one.expected in (1, -1)
        assert one.rows.axis in ("", *KNOBS)
        assert STATISTICS[one.statistic].kind != "correlation" or one.rows.x
    studies = [find_study(name) for name in study_names()]
    assert {i for study in studies for i in study.claims} == set(CLAIMS)
    assert {i for study in studies for i in study.figures} == set(FIGURES)
    assert {i for claims, _ in report.BEFORE.values() for i in claims} <= set(CLAIMS)
    assert {i for _, figures in report.BEFORE.values() for i in figures} <= set(FIGURES)


OTHER = Rows(arm="zz", y=ACCURACY)
TYPO = Term(measure="clean_acuracy", split="test")
KEPT = Term(measure="pruned_accuracy", kept=0.2, norm="l2", attack="native/pgd", judged=True)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (claim("order", arm="zz"), "the study has no arm zz"),
        (claim("difference", OTHER), "the study has no arm zz"),
        (replace(claim("order"), rows=Rows(arm="bits", y=TYPO, axis="bits")),
         "no finished trial of arm bits has clean_acuracy (split test)"),
        (replace(claim("spearman"), rows=Rows(arm="bits", y=ACCURACY, x=KEPT, axis="bits")),
         "no finished trial of arm bits has pruned_accuracy (attack native/pgd, norm l2, eps 0.5, kept 0.2)"),
        (claim("order", arm="later"), "arm later has no finished trial at its own axes"),
    ],
)  # fmt: skip
def test_a_claim_that_cannot_be_asked_is_listed_with_the_reason(asked, reason):
    on = study(("bits", {"bits": BITS}), ("later", {"rank": (4, 8)}), settings={"judged_l2": 0.5})
    (found,) = judge.judge_all(table(falls(0.1)), on, [asked])
    assert (found.verdict, found.reasons, found.taken) == ("regime not reached", (reason,), False)
    assert words.sentence(found) == f"It is so. Regime not reached because {reason}."
    assert words.number(found).startswith("no ")
    assert math.isnan(found.statistic.value)


def test_a_claim_whose_two_numbers_no_trial_has_both_of_says_so():
    frame = table(falls(0.1))
    first = frame["bits"] == 0
    frame.loc[first, "measure"] = "depth"
    asked = replace(
        claim("spearman"), rows=Rows(arm="bits", y=ACCURACY, x=Term(measure="depth", split="test"), axis="bits")
    )
    assert judged(frame, asked).reasons == ("no finished trial of arm bits has both numbers that are compared",)


def test_no_claim_is_listed_before_a_trial_is_finished():
    frame = table(falls(0.1))
    assert judge.judge_all(frame.iloc[:0], MINE, [claim("order")]) == []
    assert judge.judge_all(frame.assign(status="failed"), MINE, [claim("order")]) == []
    (diverged,) = judge.judge_all(frame.assign(status="diverged"), MINE, [claim("order")])
    assert diverged.verdict == "regime not reached"


def normed(norm, judged=False):
    return Rows(arm="bits", axis="bits", y=Term(measure="operator_norm", norm=norm, judged=judged))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (claim("order", arm="bit"), "claim mine: no preset has an arm 'bit'; did you mean bits? Arms: bits, tuned"),
        (claim("difference", OTHER), "claim mine: no preset has an arm 'zz'. Arms: bits, tuned"),
        (claim("order", axis="bit"), "no preset's arm 'bits' moves the axis 'bit'; did you mean bits? It moves: bits"),
        (claim("order", arm="tuned", axis="finetune"), "arm 'tuned' moves the axis 'finetune'. It moves: bits"),
        (replace(claim("order"), rows=normed("l1")), "claim mine: norm must be one of linf, l2, got 'l1'"),
        (replace(claim("order"), rows=normed(None, judged=True)), "norm must be one of linf, l2, got None"),
        (claim("difference", normed("L2")), "got 'L2'"),
        (claim("order", regime=Regime(robust="l_2")), "got 'l_2'"),
    ],
)
def test_a_claim_that_no_preset_can_be_asked_about_is_refused(asked, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        report.check([asked], (), MINE.arms)


def test_the_claims_and_figures_of_our_studies_are_accepted():
    assert report.check([claim("order")], ["plain"], MINE.arms) is None
    assert report.check([claim("order", arm="zz")], ()) is None, "without arms none is looked for"
    for name in study_names():
        asked = find_study(name)
        report.check(asked.claims, asked.figures, [arm for p in asked.presets.values() for arm in p.arms])


def test_an_unknown_statistic_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="statistic must be one of spearman, pearson, difference"):
        judged(table(falls(0.1)), claim("kendall"))


def test_the_studys_own_attack_has_its_back_end_in_its_name():
    settings = {"attack_backend": "art", "attack": "pgd"}
    asked = study(settings=settings)
    assert attack_of(asked, "configured") == "art/pgd"
    assert attack_of(asked, "native/square") == "native/square"
    assert attack_of(asked, "") is None
    assert attack_of(study(), "configured") == "native/apgd"


WRONG = """
from dataclasses import replace

from analysis.claims import CLAIMS
from search_spaces.compressibility_sweep import STUDY as ours

claim = CLAIMS["A-i-neuron"]
STUDY = replace(ours, name="wrong", claims=(replace(claim, rows=replace(claim.rows, arm="neurons")),))
"""


def test_a_wrong_claim_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    done = launch("wrong:STUDY", "--preset", "smoke", "--in-process", "--output", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "no preset has an arm 'neurons'; did you mean neuron?" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (claim("equivalence", at={"bits": 1}), "equivalence needs a threshold above 0"),
        (claim("spearman"), "its rows name no x"),
        (claim("order", control=Control(words="w", planted=0.1)), "planted for a peak alone, got order"),
        (claim("ratio", at={"bits": 1}, threshold=0.9), "a factor above 1"),
        (claim("difference", at={"bits": 1}, threshold=-0.1), "must not be negative"),
        (claim("order", threshold=1.5), "at most 1"),
        (claim("order", expected=0), "1 or -1, got 0"),
    ],
)
def test_a_claim_whose_numbers_tell_nothing_is_refused(asked, message):
    with pytest.raises(UsageError, match=message):
        report.check([asked], ())


def test_a_lost_trial_of_the_claim_or_of_its_control_is_said():
    frame, asked = table(falls(0.1), seeds=5), claim("order", expected=-1)
    lost = (frame["bits"] == 8) & (frame["seed"] == 0)
    own = judged(frame[~(lost & (frame["finetune"] == "none"))], asked)
    assert own.reasons == ("4 whole seeds are left, 5 are needed (seed 0 lacks bits 8)",)
    wide = replace(asked, control=Control(words="w", arm="tuned", axis="bits"))
    control = judged(frame[~(lost & (frame["finetune"] != "none"))], wide)
    assert (control.verdict, control.control_detected) == ("regime not reached", False)
    assert control.reasons == ("the control was not detected: 4 whole seeds are left, 5 are needed",)
