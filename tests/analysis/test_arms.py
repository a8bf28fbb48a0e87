"""What a study's arms are about, and what they only hold."""

from dataclasses import replace

import pytest

from analysis import arms
from analysis.tables import slices
from tests.claim_cases import BITS, study

HELD = {"frobenius": (0.0, 1.0), "adversarial_ratio": (0.0,)}


@pytest.mark.parametrize(
    ("named", "held", "moved"),
    [
        ([("a", {"alpha": (0, 0.1), **HELD}), ("b", {"rank": (0, 8), **HELD})], [*HELD], ["alpha", "rank"]),
        ([("a", {"alpha": (0, 0.1), "penalty": ("x", "y")}), ("b", {"rank": (0, 8)})], ["penalty"], ["alpha", "rank"]),
        ([("u", HELD), ("s", {"bits": (4,), "finetune": ("standard",), **HELD}),
          ("t", {"bits": (4,), "finetune": ("adversarial",), **HELD})], [*HELD], ["bits", "finetune"]),
        ([("u", {"ascended_norm": ("linf",)}), ("v", {"ascended_norm": ("l2",)})], [], ["ascended_norm"]),
        ([("a", {"alpha": (0, 0.1), "frobenius": (1.0,)}), ("b", {"rank": (0, 8), "frobenius": (0.0, 1.0)})],
         ["frobenius"], ["alpha", "rank"]),
        ([("only", {"adversarial_ratio": (0.0, 0.5)})], [], ["adversarial_ratio"]),
        ([("only", {"bits": BITS, "frobenius": (0.0, 1.0)})], ["frobenius"], ["bits"]),
        ([("only", {"bits": (4,)})], [], []),
        ([], [], []),
    ],
)  # fmt: skip
def test_what_the_arms_hold_and_what_they_move(named, held, moved):
    asked = study(*named)
    assert arms.held(asked) == held
    assert arms.moved(asked) == moved


def test_an_arm_may_say_what_it_is_about():
    asked = study(("a", {"bits": (0, 4), "frobenius": (0.0, 1.0)}))
    assert len(slices(asked)) == 2
    asked = replace(asked, arms=(replace(asked.arms[0], about=("bits", "frobenius")),))
    assert len(slices(asked)) == 1
    assert arms.along(asked, asked.arms[0]) == ["bits", "frobenius"]
