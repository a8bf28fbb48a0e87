"""What 8 bits save in a forward pass: integer kernels, the simulation and float32, in processor seconds of one thread.

    python -m benchmarks.latency            # cnn8 at 28 x 28, a quarter of ResNet18 at 32 x 32; a minute or two
    python -m benchmarks.latency --quick    # cnn8 alone, few rounds

Untrained nets on random pixels, quantized per tensor: the time depends on neither. A round times each of the three,
one pass of 64 images or ten of one, in an order that turns; on an idle machine one thread's processor time is wall
time. Ratios are taken within a round; low and high are quartiles over the rounds. Memory is what
study.trial.measures.memory counts.
"""

import statistics
import sys
import time
from typing import Annotated

import cyclopts
import torch
from cyclopts import Parameter
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmarks.common import Figure, show
from study.nets.build import build
from study.nets.compression.integer import integer
from study.nets.compression.quantize import quantize
from study.spec.config import Build
from study.trial.measures.memory import inference_bytes

NETS: dict[str, tuple[Build, tuple[int, int, int]]] = {
    "cnn8": (Build(model="cnn8"), (1, 28, 28)),
    "resnet18 / 4": (Build(model="resnet18", width_multiplier=0.25), (3, 32, 32)),
}
BATCHES = (1, 64)


def made(config: Build, shape: tuple[int, int, int]) -> dict[str, nn.Module]:
    """The net in float32, simulated at 8 bits and on integer kernels, whose predictions must agree: RuntimeError."""
    net = build(config, shape, 10, ((0.5,) * shape[0], (0.25,) * shape[0]), 0).eval()
    images = torch.rand(64, *shape, generator=torch.Generator().manual_seed(0))
    simulated = quantize(net, 8, [images]).eval()
    twin = integer(simulated)
    if twin is None:
        raise RuntimeError("this torch has no integer kernels")
    with torch.no_grad():
        apart, rounding = (twin(images) - simulated(images)).abs(), (net(images) - simulated(images)).abs()
    if not apart.mean() < rounding.mean():
        raise RuntimeError("the integer kernels of this processor give another net")
    return {"float32": net, "simulated": simulated, "integer": twin}


@torch.no_grad()
def seconds(net: nn.Module, images: Tensor) -> float:
    """Processor seconds of a pass, after one that does not count."""
    passes = 10 if len(images) == 1 else 1
    net(images)
    begun = time.process_time()
    for _ in range(passes):
        net(images)
    return (time.process_time() - begun) / passes


def rounds(nets: dict[str, nn.Module], images: Tensor, count: int) -> dict[str, list[float]]:
    """Seconds of a pass of each net in `count` rounds."""
    times: dict[str, list[float]] = {name: [] for name in nets}
    names = list(nets)
    with parametrize.cached():
        for i in range(count):
            for name in names[i % len(names) :] + names[: i % len(names)]:
                times[name].append(seconds(nets[name], images))
    return times


def spread(name: str, values: list[float], unit: str) -> Figure:
    """The median with its quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Figure(name, middle, low, high, len(values), None, unit)


def figures(name: str, count: int) -> list[Figure]:
    """Milliseconds, ratios and kilobytes of one net at each size of batch."""
    config, shape = NETS[name]
    nets, out = made(config, shape), []
    for batch in BATCHES:
        images = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(1))
        times = rounds(nets, images, count)
        at = f"{name}, batch {batch}"
        out += [spread(f"{at}: {kind}", [1000 * s for s in found], "ms") for kind, found in times.items()]
        for one, other in (("float32", "integer"), ("simulated", "integer"), ("simulated", "float32")):
            ratios = [a / b for a, b in zip(times[one], times[other], strict=True)]
            out.append(spread(f"  {one} over {other}", ratios, "x"))
    image = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1))
    for kind, net in nets.items():
        held = inference_bytes(net, image) / 1024
        out.append(Figure(f"{name}, batch 1: memory, {kind}", held, held, held, 1, None, "KiB"))
    return out


def main(
    *,
    quick: Annotated[bool, Parameter(negative="", help="cnn8 alone, few rounds.")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object per figure.")] = False,
) -> None:
    """Measure what 8 bits save in a forward pass."""
    torch.set_num_threads(1)
    found = [f for name in list(NETS)[: 1 if quick else None] for f in figures(name, 9 if quick else 31)]
    show(found, json_)
    print(f"capability of the processor, as torch has it: {torch.backends.cpu.get_cpu_capability()}", file=sys.stderr)


if __name__ == "__main__":
    cyclopts.run(main)
