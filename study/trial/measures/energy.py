"""Energy of forward passes, where the machine counts it: RAPL of Intel and AMD processors, NVML of NVIDIA GPUs.

RAPL counts whole processor packages, NVML the whole GPU: whatever else runs there is in the number.
"""

import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

POWERCAP = Path("/sys/class/powercap")  # of AMD too the zones are called intel-rapl
SECONDS = 1.0  # at least, of passes: RAPL counts on every millisecond, NVML every tenth of a second or so
Joules = Callable[[], float]  # spent since some moment; never less than at the last call


def meter(device: torch.device, folder: Path = POWERCAP) -> Joules | None:
    """What counts the energy of a device; None where nothing does, or where we may not read it."""
    if device.type == "cuda":
        return _nvml(device)
    return rapl(folder) if device.type == "cpu" else None


def rapl(folder: Path = POWERCAP) -> Joules | None:
    """The joules of all processor packages since this call, from the counters of microjoules in `folder`.

    A counter that has reached its max_energy_range_uj begins at 0 again: one such turn between two calls is seen, a
    second is not (at 200 W the usual range lasts 20 minutes). Zones within a package (core, uncore, dram) and of the
    whole board (psys) are left out.
    """
    zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if re.fullmatch(r"intel-rapl:\d+", zone.name)]
    try:
        packages = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
        ranges = {zone: _number(zone / "max_energy_range_uj") for zone in packages}
        last = {zone: _number(zone / "energy_uj") for zone in packages}
    except (OSError, ValueError):  # since 2020 kernels let root alone read them
        return None
    if not packages:
        return None
    spent = 0

    def joules() -> float:
        nonlocal spent
        for zone, before in last.items():
            last[zone] = _number(zone / "energy_uj")
            spent += last[zone] - before + (ranges[zone] if last[zone] < before else 0)
        return spent / 1e6

    return joules


def _number(file: Path) -> int:
    return int(file.read_text())


def _nvml(device: torch.device) -> Joules | None:
    """The joules of a GPU as NVML counts them (Volta and later), by the package pynvml where that is installed."""
    if importlib.util.find_spec("pynvml") is None:
        return None
    nvml = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:  # no such counter, or no such GPU to us
        return None

    def joules() -> float:
        torch.cuda.synchronize(device)
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000

    return joules


@torch.no_grad()
def inference_joules(
    net: nn.Module, images: Tensor, repeats: int, joules: Joules, seconds: float | None = None
) -> tuple[float, int]:
    """Mean joules of a forward pass in eval mode of the batch `images` (N, C, H, W), and over how many passes: at least
    `repeats` and at least `seconds` (None: SECONDS), after one that does not count."""
    net.eval()
    least = SECONDS if seconds is None else seconds
    with parametrize.cached():
        net(images)
        begun, before, passes = perf_counter(), joules(), 0
        while passes < repeats or perf_counter() - begun < least:
            net(images)
            passes += 1
            if images.is_cuda:  # what is only queued has not taken its time
                torch.cuda.synchronize(images.device)
        return (joules() - before) / passes, passes
