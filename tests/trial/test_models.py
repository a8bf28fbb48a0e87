"""The models of the table through a whole trial at a rank: trained, attacked, measured, costed."""

import pytest
import torch
from torch import nn

from study.nets import sources
from study.spec.config import Accuracy, Build, Cost, Factorize, Load, Robustness, Structure, Train, Trial
from study.trial import stages
from study.trial.run import run

MEASURES = (Accuracy(), Robustness(norm="linf", eps=(8 / 255,), iterations=2, gap_eps=(8 / 255,), gap_iterations=2,
                                   backend="native", checks=False), Structure(), Cost(repeats=1))  # fmt: skip


@pytest.mark.parametrize(
    "model",
    [
        Build(model="cnn", width_multiplier=0.125),
        Build(model="vit", width=32, depth=1, patch_size=8),
        pytest.param(Build(model="resnet18", width_multiplier=0.0625), marks=pytest.mark.slow),
        pytest.param(Build(model="vgg16", width_multiplier=0.0625), marks=pytest.mark.slow),
        pytest.param(Build(model="wrn50_2", width_multiplier=0.03125), marks=pytest.mark.slow),
    ],
)
def test_a_model_at_a_rank_is_trained_attacked_measured_and_costs_less(model):
    macs = {}
    for rank in (0, 2):
        low = (Factorize(rank=rank),) if rank else ()
        stages = (Load(train_size=40, test_size=20), model, *low, Train(epochs=1, batch_size=20, frobenius=1.0))
        *_, outcome = run(Trial(seed=0, stages=stages, measures=MEASURES))
        assert outcome.status == "ok"
        found = {r["measure"]: r["value"] for r in outcome.rows if r.get("layer") in (None, "mean")}
        assert 0 <= found["robust_accuracy"] <= found["clean_accuracy"] <= 1
        macs[rank] = found["macs"]
        layers = {r["layer"] for r in outcome.rows if r["measure"] == "frobenius_norm"} - {"product"}
        assert outcome.state.net is not None
        assert layers == set(outcome.state.net.hidden), "every hidden layer has its rows, under its own name"
    assert macs[2] < macs[0]


class Viewed(nn.Module):
    """Flattened by `view`, as many nets are."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.head = nn.Linear(8 * 64, 10)

    def forward(self, x):
        x = self.conv(self.stem(x).relu())
        return self.head(x.view(x.size(0), -1))


@pytest.mark.parametrize("model", ["cnn8", "mine:net"])
def test_channels_come_last_on_a_gpu_but_in_nets_of_ones_own(model, monkeypatch):
    """What convolutions give is then no longer one block, which `view` refuses."""
    monkeypatch.setattr(stages, "_has_tensor_cores", lambda device: True)
    monkeypatch.setattr(sources, "user_function", lambda name, option: lambda shape, classes: Viewed())
    own = ":" in model
    built = Build(model=model) if own else Build(model=model, width_multiplier=0.25)
    given = (Load(train_size=40, test_size=20), built, Train(epochs=1))
    *_, outcome = run(Trial(seed=0, stages=given, measures=(Accuracy(),)))
    assert outcome.status == "ok"
    weights = [p for p in outcome.state.net.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    assert weights
    assert all(p.is_contiguous(memory_format=torch.channels_last) != own for p in weights)
