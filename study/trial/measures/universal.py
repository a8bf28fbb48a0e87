"""One perturbation for all images: made on training images, judged on test images, beside random ones of equal norm."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from study.attacks import memory
from study.attacks.apgd import apgd
from study.attacks.losses import right
from study.attacks.universal import random_perturbations, universal_fgsm, universal_pgd
from study.nets.fold import folded
from study.nets.steady import steady
from study.spec.attack_names import RANDOM, UNIVERSAL
from study.spec.config import Universal
from study.spec.identity import seed_for
from study.spec.rows import Row, row
from study.trial.state import State

Make = Callable[..., Tensor]  # (net, x, y, eps, norm, *, generator) -> delta (1, C, H, W)


def universal(state: State, config: Universal) -> list[Row]:
    """fooling_rate, fooling_excess, universal_accuracy and universal_share per eps and maker, all on the test images.

    The fooling rate is the share of predictions that clip(x + delta, 0, 1) changes, whether they were right or not
    (Moosavi-Dezfooli et al. 2017); the excess is what it has above the same rate under random perturbations, averaged
    over `draws` of them (attack "random"), each of norm eps. The share is (images right at x, wrong at x + delta and
    wrong at a point of their own that AutoPGD finds) over (right at x, wrong at that point): a net that is merely more
    vulnerable gains nothing there. It has no row where AutoPGD fools no image. No label of a test image makes a delta.
    A net of chance is attacked as its mean over `eot` draws; ValueError without them, and for a net whose logits depend
    on the batch.
    """
    assert state.net is not None
    data = state.on()
    x, y = (part.to(state.device) for part in data.test[:])
    net = steady(
        folded(state.net.eval(), x[:8]), x, config.eot, seed_for(state.seed, f"draws of universal {config.norm}")
    )
    order = torch.randperm(len(data.train), generator=_stream(state, "images"))[: config.images or None]
    made_on = [part.to(state.device) for part in data.train[order]]
    before = memory.logits(net, x)
    rows: list[Row] = []
    for eps in dict.fromkeys(config.eps):
        where = {"norm": config.norm, "eps": eps, "split": "test", "n": len(y)}
        own = apgd(net, x, y, eps, config.norm, iterations=config.iterations,
                   generator=_stream(state, f"own {config.norm} {eps!r}"))  # fmt: skip
        fallen = right(before, y) & ~own.robust
        floor = [
            _numbers(net, x, y, before, fallen, random_perturbations(x[:1], eps, config.norm, generator))
            for generator in [_stream(state, f"random {config.norm} {eps!r}")]
            for _ in range(config.draws)
        ]
        found = {RANDOM: {name: sum(f[name] for f in floor) / len(floor) for name in floor[0]}}
        for maker in config.makers:
            make, count = _maker(maker, config)
            generator = _stream(state, f"{maker} {config.norm} {eps!r}")
            delta = make(net, made_on[0][:count], made_on[1][:count], eps, config.norm, generator=generator)
            found[UNIVERSAL[maker]] = _numbers(net, x, y, before, fallen, delta)
        for attack, numbers in found.items():
            rows += [row(name, value, attack=attack, **where) for name, value in numbers.items()]
            if attack != RANDOM:
                excess = numbers["fooling_rate"] - found[RANDOM]["fooling_rate"]
                rows.append(row("fooling_excess", excess, attack=attack, **where))
    return rows


def _maker(name: str, config: Universal) -> tuple[Make, int]:
    """How a delta is made, and of how many images at most; the toolbox is imported if asked for."""
    if name == "art":
        from study.attacks import art

        def toolbox(*args: Any, generator: torch.Generator) -> Tensor:
            return art.universal(*args, attacker="fgsm", epochs=config.toolbox_passes, generator=generator)

        return toolbox, config.toolbox_images

    def fgsm(*args: Any, generator: torch.Generator) -> Tensor:
        return universal_fgsm(*args, epochs=config.passes, generator=generator)

    def pgd(*args: Any, generator: torch.Generator) -> Tensor:
        return universal_pgd(*args, iterations=8 * config.passes, generator=generator)

    return ({"fgsm": fgsm, "pgd": pgd}[name], config.images or 2**62)


def _stream(state: State, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(state.seed, f"universal {purpose}"))


def _numbers(net: nn.Module, x: Tensor, y: Tensor, before: Tensor, fallen: Tensor, delta: Tensor) -> dict[str, float]:
    """What a delta (1, C, H, W) does to images whose clean logits are `before` (N, K)."""
    after = torch.cat([memory.logits(net, (part + delta).clamp(0.0, 1.0)) for part in x.split(memory.images(net, x))])
    still = right(after, y)
    share = {"universal_share": float((~still[fallen]).double().mean())} if bool(fallen.any()) else {}
    changed = before.argmax(1) != after.argmax(1)
    return {
        "fooling_rate": float(changed.double().mean()),
        "universal_accuracy": float(still.double().mean()),
    } | share
