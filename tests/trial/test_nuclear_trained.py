"""The nuclear norm by polar factors renewed every ten steps trains the nets that a singular value decomposition in
every step trains: no statistic moves by more than the seeds do.

Slow: every figure is printed (`pytest -m slow -s tests/trial/test_nuclear_trained.py`).
"""

import statistics

import pytest

from study.spec.config import Accuracy, Build, Load, Robustness, Structure, Train, Trial
from study.trial.run import run

pytestmark = pytest.mark.slow
SEEDS = range(5)
FIGURES = {
    ("clean_accuracy", "split", "test"): "clean accuracy",
    ("robust_accuracy", "norm", "l2"): "robust accuracy, l_2 .5",
    ("compress_eps_sigma", "layer", "mean"): "compress_eps_sigma",
    ("spread_sigma", "layer", "mean"): "spread_sigma",
    ("operator_norm_l2", "layer", "product"): "product of l_2 norms",
}


def figures(seed: int, alpha: float, refresh: int) -> dict[str, float]:
    trial = Trial(
        seed=seed,
        stages=(
            Load(),
            Build(width=200, depth=2),
            Train(epochs=20, penalty="nuclear_norm", alpha=alpha, frobenius=1.0, penalty_refresh=refresh),
        ),
        measures=(
            Accuracy(),
            Robustness(norm="l2", eps=(0.5,), iterations=10, gap_iterations=5, backend="native"),
            Structure(),
        ),
    )
    *_, outcome = run(trial)
    out = {}
    for r in outcome.rows:
        name = "operator_norm_l2" if r["measure"] == "operator_norm" and r.get("norm") == "l2" else r["measure"]
        for (measure, coordinate, value), label in FIGURES.items():
            if name == measure and r.get(coordinate) == value:
                out[label] = r["value"]
    assert set(out) == set(FIGURES.values())
    return out


@pytest.mark.parametrize("alpha", [0.003, 0.01])
def test_rare_polar_factors_train_the_same_nets(alpha):
    plain = [figures(seed, alpha, 0) for seed in SEEDS]
    rare = [figures(seed, alpha, 10) for seed in SEEDS]
    for name in plain[0]:
        values = [p[name] for p in plain]
        noise = statistics.stdev(values)
        moved = statistics.mean(r[name] - p[name] for r, p in zip(rare, plain, strict=True))
        print(f"\nalpha {alpha:g}, {name}: plain {statistics.mean(values):.4f}, seeds' deviation {noise:.4f}, "
              f"moved {moved:+.4f} (n = {len(values)} pairs)", end="")  # fmt: skip
        assert abs(moved) <= max(noise, 1 / 360), name
