"""What benchmarks.training calls a share, and which goals it calls missed. No clock is looked at here."""

from benchmarks import training
from benchmarks.common import figure


def test_a_share_is_the_median_with_quartiles():
    found = training.share("c", [5.0, 1.0, 2.0, 4.0, 3.0], 1.05)
    assert (found.low, found.value, found.high, found.n, found.unit) == (2.0, 3.0, 4.0, 5, "share")


def test_shares_must_not_be_above_their_goals_nor_factors_below():
    figures = [
        training.share("cheap", [0.5, 0.6], 0.55),
        training.share("dear", [0.5, 0.7], 0.55),
        figure("quick", [2.0, 3.0], "x", 2.5),
        figure("slow", [2.0, 2.0], "x", 2.5),
        figure("floor", [0.1], "x"),
    ]
    assert training.missed(figures) == ["dear", "slow"]


def test_pairs_are_interleaved_and_the_first_is_not_counted(monkeypatch):
    calls = []
    monkeypatch.setattr(training, "seconds", lambda work: float(work()))
    ours, theirs = (lambda: calls.append("ours") or 1), (lambda: calls.append("theirs") or 4)
    assert training.shares(ours, theirs, 3) == [0.25] * 3
    assert calls == ["ours", "theirs", "theirs", "ours"] * 2
