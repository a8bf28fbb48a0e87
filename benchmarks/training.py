"""What a training step costs against the ways it is usually written: CPU seconds of interleaved pairs, one thread.

    python -m benchmarks.training            # nets a, b and c, five pairs each, about eight minutes
    python -m benchmarks.training --quick    # a and small b, three pairs, about a minute
    python -m benchmarks.training --shares   # the first two rows alone, about two minutes

The first two rows are shares of the other's seconds, at most the goal; spread is the quartiles of 11 and 7 pairs. Whole
steps as a sweep makes them (batches cut, checks, optimiser) on ResNet18, batches of 100 images: of a bare PyTorch loop
on torchvision's module and the same tensors with PyTorch's own AdamW, and under PGD-10 on a half of each batch of the
same loop that asks ART for the half. All other rows are factors, at least the goal, with their range.

Adversarial: one step on a batch of 100, PGD-10 on a random half of it, against ART's ProjectedGradientDescent inside
the loop, at its default batch size; `floor` is the same against nothing but the passes that PGD-10 and the step need.
Plain: one pass over 1000 MNIST-sized images against a DataLoader with per-image transforms on PIL images.
Nuclear norm: penalty and its gradient on the hidden layers of b, polar factors renewed every 10 steps (ten steps
amortised), against svdvals and backward at every step. Nets: a = FCN 784-400-10, b = FCN 3072-2000x4-10, c = ResNet18
on 32 x 32. Random pixels: the time does not depend on them.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import cyclopts
import numpy as np
import torch
from art.attacks.evasion import ProjectedGradientDescent
from art.estimators.classification import PyTorchClassifier
from cyclopts import Parameter
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.common import Figure, figure, show
from study.nets import net as nets
from study.nets.build import build
from study.nets.net import Net
from study.nets.penalties import linearised, nuclear_norm, polar
from study.nets.splits import Split
from study.spec.config import Build, Train
from study.trial import train
from study.trial.adversary import inputs

EPS, STEPS, BATCH = 8 / 255, 10, 100
ADVERSARY: dict[str, Any] = {"adversarial_ratio": 0.5, "train_eps": EPS, "train_steps": STEPS}
NETS = {
    "a": (Build(width=400, depth=1), (1, 28, 28), 2.8),
    "b": (Build(width=2000, depth=4), (3, 32, 32), 2.1),
    "c": (Build(model="resnet18"), (3, 32, 32), 1.7),
}


def seconds(work: Callable[[], Any]) -> float:
    """Processor seconds of one call."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def ratios(theirs: Callable[[], Any], ours: Callable[[], Any], pairs: int) -> list[float]:
    """Theirs over ours in interleaved pairs, after one call of each that does not count."""
    theirs()
    ours()
    return [seconds(theirs) / seconds(ours) for _ in range(pairs)]


def shares(ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int) -> list[float]:
    """Ours over theirs in interleaved pairs, either first in turn, after one call of each that does not count."""
    found = []
    for pair in range(-1, pairs):
        both = (ours, theirs) if pair % 2 else (theirs, ours)
        took = {call: seconds(call) for call in both}
        found.append(took[ours] / took[theirs])
    return found[1:]


def share(name: str, values: list[float], goal: float) -> Figure:
    """The median share with its quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Figure(name, middle, low, high, len(values), goal, "share")


def missed(figures: list[Figure]) -> list[str]:
    """The figures that do not meet their goals: shares above them, factors below."""
    return [
        f.figure
        for f in figures
        if f.goal is not None and (f.value > f.goal if f.unit == "share" else f.value < f.goal)
    ]


def new_net(config: Build, shape: tuple[int, int, int]) -> Net:
    """An untrained net for ten classes."""
    return build(config, shape, 10, ((0.5,) * shape[0], (0.25,) * shape[0]), 0)


def with_art(net: Net, x: Tensor, y: Tensor, steps: int) -> Callable[[], None]:
    """Steps with the toolbox inside the loop: half of the batch through its PGD, then the usual step."""
    optimizer = torch.optim.AdamW(net.parameters())
    classifier = PyTorchClassifier(
        net, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, optimizer, clip_values=(0.0, 1.0), device_type="cpu"
    )
    attack = ProjectedGradientDescent(
        classifier, np.inf, eps=EPS, eps_step=2.5 * EPS / STEPS, max_iter=STEPS, num_random_init=1, verbose=False
    )

    def theirs() -> None:
        for _ in range(steps):
            half = np.random.permutation(len(x))[: len(x) // 2]
            mixed = x.numpy().copy()
            mixed[half] = attack.generate(mixed[half], y=y.numpy()[half])
            net.train()
            loss = cross_entropy(net(torch.from_numpy(mixed)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return theirs


def adversarial(name: str, pairs: int) -> list[Figure]:
    """The PGD-10 step at rho = .5, and the floor."""
    config, shape, goal = NETS[name]
    random = torch.Generator().manual_seed(0)
    x, y = torch.rand(BATCH, *shape, generator=random), torch.randint(10, (BATCH,), generator=random)
    net = new_net(config, shape)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    settings = Train(**ADVERSARY)
    steps = {"a": 10, "b": 1, "c": 1}[name]

    def ours() -> None:
        net.train()
        for _ in range(steps):
            for point in inputs(net, x, y, settings, random):
                loss = cross_entropy(net(point), y)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

    def bare() -> None:
        for _ in range(steps):
            point = x[: BATCH // 2].clone().requires_grad_(True)
            for _ in range(STEPS):
                torch.autograd.grad(cross_entropy(net(point), y[: BATCH // 2]), point)
            cross_entropy(net(x), y).backward()
            optimizer.step()

    theirs = with_art(new_net(config, shape), x, y, steps)
    found, floor = ratios(theirs, ours, pairs), ratios(theirs, bare, pairs)
    return [
        figure(f"{name}: PGD-10 training step, over ART in the loop", found, "x", goal),
        figure("  floor", floor, "x"),
    ]


def whole_steps(name: str, pairs: tuple[int, int], batches: tuple[int, int]) -> list[Figure]:
    """What our training loop takes of a bare one's seconds, and of those of the toolbox in the loop."""
    config, shape, _ = NETS[name]
    out = []
    for goal, adversary, count, n in zip((1.05, 0.55), ({}, ADVERSARY), batches, pairs, strict=True):
        random = torch.Generator().manual_seed(0)
        x = torch.rand(count * BATCH, *shape, generator=random)
        y = torch.randint(10, (len(x),), generator=random)
        net, other = new_net(config, shape), new_net(config, shape)
        settings = Train(epochs=10**6, **adversary)
        progress, optimizer = train.start(net, settings), torch.optim.AdamW(other.parameters())
        split, parts = Split(pixels=x, y=y), list(zip(x.split(BATCH), y.split(BATCH), strict=True))
        toolbox = [with_art(other, images, labels, 1) for images, labels in parts]

        def ours(net=net, split=split, settings=settings, progress=progress, random=random) -> None:  # type: ignore[no-untyped-def]
            net.train()
            order = torch.randperm(len(split), generator=random)
            train._epoch(net, split, settings, progress, order, random)

        def bare(other=other, parts=parts, optimizer=optimizer) -> None:  # type: ignore[no-untyped-def]
            other.train()
            for images, labels in parts:
                optimizer.zero_grad()
                cross_entropy(other.body(images), labels).backward()
                optimizer.step()

        def with_toolbox(toolbox=toolbox) -> None:  # type: ignore[no-untyped-def]
            for step in toolbox:
                step()

        found = shares(ours, with_toolbox if adversary else bare, n)
        what = "PGD-10 step, of ART in the loop" if adversary else "training step, of a bare loop"
        out.append(share(f"{name}: {what}", found, goal))
    return out


class Pictures(Dataset[Any]):
    """PIL images behind the usual transforms, one at a time."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.images = [Image.fromarray((image[0] * 255).byte().numpy()) for image in x]
        self.y = y.tolist()
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.25,))])

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> Any:
        return self.transform(self.images[i]), self.y[i]


def plain(pairs: int) -> Figure:
    """A pass over 1000 images of an MNIST-sized FCN."""
    config, shape, _ = NETS["a"]
    random = torch.Generator().manual_seed(0)
    x, y = torch.rand(1000, *shape, generator=random), torch.randint(10, (1000,), generator=random)
    net, other = new_net(config, shape), new_net(config, shape)
    settings = Train(epochs=10**6)
    progress = train.start(net, settings)
    loader = DataLoader(Pictures(x, y), batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.AdamW(other.parameters())

    def theirs() -> None:
        for images, labels in loader:
            optimizer.zero_grad()
            cross_entropy(other.body(images), labels).backward()
            optimizer.step()

    def ours() -> None:
        train._epoch(net, Split(pixels=x, y=y), settings, progress, torch.randperm(1000, generator=random), random)

    return figure("a: training pass, over DataLoader and transforms", ratios(theirs, ours, pairs), "x", 3.5)


def spectral(pairs: int, width: int) -> list[Figure]:
    """The nuclear norm of b's hidden layers and its gradient, refreshed every 10 steps."""
    net = new_net(Build(width=width, depth=4), (3, 32, 32))
    every = 10

    def theirs() -> None:
        nuclear_norm(nets.weight_matrices(net).values()).backward()

    def ours() -> None:
        matrices = list(nets.weight_matrices(net).values())
        polars = [polar(W, exact=False) for W in matrices]
        for _ in range(every):
            linearised(nets.weight_matrices(net).values(), polars).backward()

    def settling() -> None:
        matrices = list(nets.weight_matrices(net).values())
        linearised(nets.weight_matrices(net).values(), [polar(W) for W in matrices]).backward()

    return [
        figure(
            f"b ({width} wide): nuclear-norm step, over svdvals and backward",
            [every * r for r in ratios(theirs, ours, pairs)], "x", 12.0,
        ),
        figure("  the last 30 steps, exact in each", ratios(theirs, settling, pairs), "x"),
    ]  # fmt: skip


def main(
    *,
    quick: Annotated[bool, Parameter(negative="", help="Small nets, three pairs.")] = False,
    shares_alone: Annotated[bool, Parameter(name="--shares", negative="", help="The first two rows alone.")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object per figure.")] = False,
) -> None:
    """Measure what training steps cost against the usual ways."""
    torch.set_num_threads(1)
    pairs = 3 if quick else 5
    figures = whole_steps("c", (3, 3) if quick else (11, 7), (1, 1) if quick else (3, 1))
    if not shares_alone:
        figures += [f for name in (("a",) if quick else NETS) for f in adversarial(name, pairs)]
        figures += [plain(pairs), *spectral(2 if quick else pairs, 500 if quick else 2000)]
    show(figures, json_)
    print(f"goals missed: {', '.join(missed(figures)) or 'none'}", file=sys.stderr)


if __name__ == "__main__":
    cyclopts.run(main)
