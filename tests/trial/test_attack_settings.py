"""Iterations and restarts reach the attack they are given to."""

import pytest

from study.spec.attack_names import REVISIONS
from study.spec.attack_settings import IGNORED, OWN, counts
from study.spec.config import Robustness
from study.spec.knobs import SETTINGS
from study.trial.measures.robustness import attack_of
from tests.attack_cases import linear, stream


def passes(attack, backend, norm="linf", n=6, **given):
    """The most forward and backward passes of a sample that stays robust."""
    net, x, y, _ = linear(classes=3, n=n)
    found = attack_of(Robustness(norm=norm, eps=(1e-6,), backend=backend, attack=attack, **given))(
        net, x, y, 1e-6, norm, generator=stream()
    )
    assert bool(found.robust.all())
    return int(found.forward.max()), int(found.backward.max())


@pytest.mark.parametrize("backend", ["native", "art"])
@pytest.mark.parametrize("attack", REVISIONS)
def test_more_iterations_are_more_passes(attack, backend):
    few, many = (passes(attack, backend, "l2", iterations=i) for i in (3, 12))
    if "attack_iterations" in IGNORED.get(attack, {}):
        assert few == many
    else:
        assert few[0] + 9 <= many[0]


@pytest.mark.parametrize("backend", ["native", "art"])
@pytest.mark.parametrize("attack", REVISIONS)
def test_more_restarts_are_more_passes(attack, backend):
    one, three = (passes(attack, backend, "l2", iterations=3, restarts=r) for r in (1, 3))
    assert (one == three) == ("attack_restarts" in IGNORED.get(attack, {}))


def test_the_passes_on_paper():
    assert passes("square", "native", iterations=50, restarts=2) == (1 + 100, 0)
    assert passes("square", "native") == (1 + 1000, 0)
    assert passes("cw", "native", iterations=7) == (1 + 8, 7)
    assert passes("cw", "native") == (1 + 11, 10)
    few, many = (passes("cw", "art", n=1, iterations=i) for i in (2, 10))
    assert few[1] < many[1]


def test_the_table_names_what_there_is():
    assert {*IGNORED, *OWN} <= set(REVISIONS)
    assert counts("cw", SETTINGS["attack_iterations"].default, 1) == {}
    assert counts("fgsm", 3, 3) == {}
    assert counts("autoattack", 20, 3) == {"iterations": 20, "restarts": 3}
