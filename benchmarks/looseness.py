"""How loose the theory's bounds are on trained nets: the table of docs/theory.md.

    python -m benchmarks.looseness         # about a minute

Digits 0-4 against 5-9, a fully connected net 64-200-200-200-200-2 without biases, trained four ways. A ratio is a bound
over the largest value that was found below it: 1 is tight, and the truth may lie anywhere between. Layers are compared
with their exact norms, the encoder's Lipschitz bounds with the largest Jacobian on test images and on the attack's
points, and Corollary 3.3 with the gap that a gradient attack opens on the test split.
"""

import dataclasses
import math
import statistics
from typing import Annotated

import cyclopts
import torch
from cyclopts import Parameter
from torch import Tensor
from torch.nn.functional import cross_entropy

from study.attacks.apgd import apgd
from study.nets import net as nets
from study.nets.build import build
from study.nets.compression.factorize import factorize
from study.nets.data import load
from study.nets.net import Net
from study.nets.splits import Dataset, Split
from study.spec.config import Build, Load, Train
from study.theory.bounds import net_bounds
from study.theory.lipschitz import adv_risk_bound, lipschitz_lower
from study.trial import train as training

BUDGETS = {"linf": 16 / 255, "l2": 0.5}
WAYS = {
    "plain": (0, Train(epochs=30)),
    "group lasso 0.01": (0, Train(epochs=30, penalty="group_lasso", alpha=0.01)),
    "nuclear norm 0.01": (0, Train(epochs=30, penalty="nuclear_norm", alpha=0.01)),
    "rank 4": (4, Train(epochs=30)),
}


def two_classes(data: Dataset) -> Dataset:
    """Digits below five against the others: Corollary 3.3 speaks of one logit."""

    def halve(split: Split) -> Split:
        return dataclasses.replace(split, y=(split.y >= 5).long())

    return dataclasses.replace(
        data, train=halve(data.train), validation=halve(data.validation), test=halve(data.test), classes=2
    )


def trained(data: Dataset, rank: int, config: Train, seed: int) -> Net:
    """A net trained on `data` by the study's own loop."""
    net = build(Build(width=200, depth=4), data.shape, 2, (data.mean, data.std), seed)
    net = factorize(net, rank, seed) if rank else net
    for _ in training.epochs(net, data, config, seed, training.start(net, config)):
        pass
    return net.eval()


def ratios(net: Net, data: Dataset, seed: int) -> dict[str, float]:
    """Each bound over what was found below it, by the name of its row."""
    Ws = [W.detach().double() for W in nets.weight_matrices(net).values()]
    found = net_bounds(Ws)
    layers = found.layers
    out = {
        "Theorem 3.1a, l_inf norm of a layer": statistics.median(v.linf_upper / v.linf_norm for v in layers),
        "Theorem 3.1a, tight bracket": statistics.median(v.linf_upper_tight / v.linf_norm for v in layers),
        "Theorem 3.1b, l_2 norm of a layer": statistics.median(v.l2_upper / v.l2_norm for v in layers),
        "Theorem B.4a, from below (at most 1)": statistics.median(v.linf_lower / v.linf_norm for v in layers),
        "Theorem B.4b, from below (at most 1)": statistics.median(v.l2_lower / v.l2_norm for v in layers),
        "alignment terms, l_inf": statistics.median(t.value for t in found.linf_alignment),
        "alignment terms, l_2": statistics.median(t.value for t in found.l2_alignment),
    }
    head = nets.matrix(net.body.get_submodule("head")).detach().double()
    for norm, p, bound, product in (
        ("linf", math.inf, found.linf_lipschitz.value, found.linf_product),
        ("l2", 2, found.l2_lipschitz.value, found.l2_product),
    ):
        name = norm.replace("linf", "l_inf").replace("l2", "l_2")
        points, gap = attacked(net, data, norm, seed)
        below = lipschitz_lower(Ws, points, p)
        allowed = adv_risk_bound(0.0, BUDGETS[norm] / data.std[0], bound, head[1] - head[0], p)
        out |= {
            f"Theorem 3.2, {name}": bound / below,
            f"product of norms, {name}": product / below,
            f"Corollary 3.3, {name} gap": allowed / gap,
        }
    return out


def attacked(net: Net, data: Dataset, norm: str, seed: int) -> tuple[Tensor, float]:
    """Normalised test images with the attack's worst points (N, pixels), and the mean gap in cross-entropy."""
    x, y = data.test.x, data.test.y
    random = torch.Generator().manual_seed(seed)
    worst = apgd(net, x, y, BUDGETS[norm], norm, iterations=50, goal="loss", generator=random)
    with torch.no_grad():
        clean = float(cross_entropy(net(x), y))
    points = (torch.cat([x, worst.worst]).flatten(1).double() - data.mean[0]) / data.std[0]
    return points, float(worst.loss.double().mean()) - clean


def shown(ratio: float) -> str:
    """A ratio as the table has it: plain below a thousand, else a power of ten."""
    return f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}" if ratio < 1000 else f"10^{math.log10(ratio):.1f}"


def main(*, seed: Annotated[int, Parameter(help="Seed of split, weights and attack.")] = 0) -> None:
    """Train four nets and print the ratios of bounds to what lies below them."""
    torch.set_num_threads(1)
    data = two_classes(load(Load(), seed))
    columns = {}
    for name, (rank, config) in WAYS.items():
        net = trained(data, rank, config, seed)
        columns[name] = {"test accuracy": training.evaluate(net, data.test)[0]} | ratios(net, data, seed)
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for line in next(iter(columns.values())):
        print(f"| {line} | " + " | ".join(shown(column[line]) for column in columns.values()) + " |")


if __name__ == "__main__":
    cyclopts.run(main)
