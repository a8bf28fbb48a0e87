"""Identity: pinned hashes, defaults that are off, and what must not count."""

import numpy as np
import pytest

from study.spec.config import Accuracy, Build, Load, Robustness, Train, Trial
from study.spec.identity import canonical, fingerprint, seed_for


def trial(**train):
    return Trial(seed=0, stages=(Load(), Build(), Train(**train)), measures=(Accuracy(),))


def test_pinned_hashes():
    """Change these only knowingly: finished results are found by them."""
    assert fingerprint(trial()) == "e15d8ce732044d67"
    assert fingerprint(trial(penalty="group_lasso", alpha=0.01, frobenius=1.0)) == "8b495d795ab3314e"


def test_defaults_do_not_count():
    assert canonical(Train(epochs=40, alpha=0.0)) == {"type": "Train"}
    assert fingerprint(trial(epochs=40)) == fingerprint(trial())
    assert fingerprint(trial(epochs=41)) != fingerprint(trial())


def test_numpy_scalars_and_lists_are_plain_numbers():
    assert fingerprint(trial(alpha=np.float64(0.25))) == fingerprint(trial(alpha=0.25))
    assert fingerprint(trial(epochs=np.int64(3))) == fingerprint(trial(epochs=3))
    one = canonical(Robustness(norm="linf", eps=(0.5,)))
    assert one == canonical(Robustness(norm="linf", eps=[np.float64(0.5)]))  # type: ignore[arg-type]


def test_a_path_is_no_part_of_the_identity():
    here = Trial(seed=0, stages=(Load(data="mnist", digest="d", root="/here"),), measures=())
    there = Trial(seed=0, stages=(Load(data="mnist", digest="d", root="/there"),), measures=())
    other = Trial(seed=0, stages=(Load(data="mnist", digest="e", root="/here"),), measures=())
    assert fingerprint(here) == fingerprint(there) != fingerprint(other)


def test_the_order_of_stages_and_the_seed_count():
    a = Trial(seed=0, stages=(Load(), Build()), measures=())
    assert fingerprint(a) != fingerprint(Trial(seed=0, stages=(Build(), Load()), measures=()))
    assert fingerprint(a) != fingerprint(Trial(seed=1, stages=(Load(), Build()), measures=()))


def test_seeds_by_purpose_are_independent_and_stable():
    assert seed_for(0, "weights") == seed_for(0, "weights")
    assert len({seed_for(s, p) for s in range(50) for p in ("weights", "split", "training")}) == 150
    assert all(0 <= seed_for(s, "x") < 2**63 for s in range(20))


def test_configurations_are_frozen():
    with pytest.raises(AttributeError):
        Train().alpha = 1.0  # type: ignore[misc]
