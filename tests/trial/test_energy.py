"""Energy from counters: a folder made up as the kernel's, wrap-around included."""

import pytest
import torch
from torch import nn

from study.trial.measures.energy import inference_joules, meter, rapl

CPU = torch.device("cpu")


def zone(folder, name, called, energy, top=1000):
    """A zone's folder with its counter at `energy` microjoules."""
    made = folder / name
    made.mkdir()
    for file, text in (("name", called), ("energy_uj", energy), ("max_energy_range_uj", top)):
        (made / file).write_text(f"{text}\n")
    return made / "energy_uj"


def test_packages_are_added_up_and_what_lies_within_them_is_not(tmp_path):
    files = [zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", 100) for i in (0, 1)]
    inner = zone(tmp_path, "intel-rapl:0:0", "core", 0)
    board = zone(tmp_path, "intel-rapl:2", "psys", 0)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    (tmp_path / "intel-rapl").mkdir()
    joules = rapl(tmp_path)
    assert joules() == 0
    for file, value in ((files[0], 130), (files[1], 105), (inner, 999), (board, 999)):
        file.write_text(str(value))
    assert joules() == pytest.approx(35e-6)
    assert joules() == pytest.approx(35e-6), "nothing was spent since"


def test_a_counter_that_wraps_around_goes_on(tmp_path):
    file = zone(tmp_path, "intel-rapl:0", "package-0", 990)
    joules = rapl(tmp_path)
    for value, total in ((995, 5), (7, 17), (6, 1016)):  # 995 to 1000 and 7; then a whole turn less one
        file.write_text(str(value))
        assert joules() == pytest.approx(total * 1e-6)


def test_a_machine_without_counters_reports_none(tmp_path):
    assert rapl(tmp_path / "nosuch") is None
    assert rapl(tmp_path) is None
    zone(tmp_path, "intel-rapl:0", "psys", 0)
    assert rapl(tmp_path) is None
    assert meter(torch.device("meta")) is None


def test_counters_that_cannot_be_read_are_none(tmp_path):
    file = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    file.unlink()
    file.mkdir()  # to root every file is readable; a folder is not
    assert meter(CPU, tmp_path) is None


class Burning(nn.Module):
    """A net whose pass over n images takes n millijoules, as the counter beside it says."""

    def __init__(self, file):
        super().__init__()
        self.file = file

    def forward(self, x):
        self.file.write_text(str((int(self.file.read_text()) + 1000 * len(x)) % 10_000))
        return x


def test_joules_of_a_pass_are_the_mean_over_passes(tmp_path, monkeypatch):
    file = zone(tmp_path, "intel-rapl:0", "package-0", 0, top=10_000)
    found = meter(CPU, tmp_path)
    spent, n = inference_joules(Burning(file), torch.zeros(3, 1, 2, 2), 3, found, seconds=0.0)
    assert (spent, n) == (pytest.approx(3e-3), 3)
    clock = iter(range(100))
    monkeypatch.setattr("study.trial.measures.energy.perf_counter", lambda: next(clock))
    _, n = inference_joules(Burning(file), torch.zeros(1, 1, 2, 2), 1, found, seconds=5.0)
    assert n == 5, "a counter that moves once in a while needs time"
