"""Budgets of attacks: in units of pixels in [0, 1], and never so large that any image reaches any other."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from study.spec.errors import UsageError

# The knobs that are budgets, and their norms; the radius of adversarial training is in `train_norm`.
NORM = {
    "eps_linf": "linf",
    "judged_linf": "linf",
    "universal_eps_linf": "linf",
    "eps_l2": "l2",
    "judged_l2": "l2",
    "universal_eps_l2": "l2",
    "risk_eps": "l2",
}
HALF = 0.5
TO_WRITE = {"linf": "8/255", "l2": "0.5"}


def most(norm: str, shape: tuple[int, ...]) -> float:
    """The limit of budgets: l_inf 1/2, itself refused; l_2 the diagonal of the image's cube, sqrt(channels * height *
    width), which is let pass; infinite for l_2 where the shape is not known (empty)."""
    if norm == "linf":
        return HALF
    return math.sqrt(math.prod(shape)) if shape else math.inf


def refusal(name: str, values: Iterable[float], norm: str, shape: tuple[int, ...], typed: bool = True) -> str:
    """Why budgets are too large, and what to write instead; nothing where they are not.

    At l_inf 1/2 every image can be made grey, at the diagonal in l_2 every image can be made any other: a net's robust
    accuracy is then 0, or chance, whatever the net.
    """
    given, limit = list(values), most(norm, shape)
    wrong = [v for v in given if v > limit or (norm == "linf" and v == limit)]
    if not wrong:
        return ""
    levels = norm == "linf" and all(v == round(v) and v <= 255 * HALF for v in wrong)
    meant = [f"{v:g}/255" if v in wrong else _text(v) for v in given] if levels else [TO_WRITE[norm]]
    write = f"--set {name}={','.join(meant)}" if typed else f"{name} {', '.join(meant)}"
    pixels = " x ".join(map(str, shape))
    reached = {
        "linf": "not below 0.5, where every image can be made grey",
        "l2": f"above {limit:.4g}, the diagonal of {pixels} pixels, where any image reaches any other",
    }[norm]
    numbers = f"{', '.join(f'{v:.6g}' for v in wrong)} {'is' if len(wrong) == 1 else 'are'}"
    return f"{numbers} {reached}; pixels lie in [0, 1], so give for example {write}"


def _text(value: float) -> str:
    levels = value * 255
    return f"{round(levels)}/255" if abs(levels - round(levels)) < 1e-9 else f"{value:g}"


def check(values: Mapping[str, Any], shape: tuple[int, ...], where: str = "") -> None:
    """UsageError for a budget among knob values that is too large; `where` names a preset, else it was typed.

    What is not among the values is not looked at, and the radius of adversarial training only beside its norm.
    """
    norms = NORM | ({"train_eps": values["train_norm"]} if "train_norm" in values else {})
    for name, norm in norms.items():
        if name in values:
            given = values[name] if isinstance(values[name], tuple) else (values[name],)
            if why := refusal(name, given, norm, shape, typed=not where):
                raise UsageError(f"{where}: {name} {why}" if where else f"--set {name}: {why}")
