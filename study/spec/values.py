"""A knob's kind, range and default, and the values that it takes: checked, parsed, written."""

import math
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from fractions import Fraction
from typing import Any

from study.spec.datasets import is_user_function
from study.spec.domains import Value
from study.spec.errors import UsageError, closest
from study.spec.models import FILE


@dataclass(frozen=True)
class Knob:
    """One named number (or word) of an experiment: its kind, valid range or choices, default, whether it takes several.

    Any knob that takes one value can be an axis of a study: one trial per value. A default means "off" where there is
    one. With `functions` a package:function of one's own is a value too, with `files` a file:PATH, with `shares`
    numbers in (0, 1] with / between. `families` read it; where all of `only_with` are off it does nothing. `column`: it
    stands in every table, not in those of studies alone that move it. `compressed` says which end of a knob that
    compresses is the most compressed one: high, low, or "" for a knob that does not compress by degrees.
    """

    kind: type
    default: Any
    _: KW_ONLY
    help: str
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    several: bool = False
    words: Mapping[str, Value | None] = field(default_factory=dict)
    choices: tuple[Value, ...] = ()
    compressed: str = ""
    column: bool = False
    functions: bool = False
    files: bool = False
    shares: bool = False
    families: tuple[str, ...] = ()
    only_with: tuple[str, ...] = ()

    def range_text(self) -> str:
        """The valid values in words."""
        named = f"one of {', '.join(map(shown, self.choices))}" if self.choices else ""
        if self.shares:
            return f"numbers above 0 to 1 with / between, as 0.9/0.5/1{''.join(f', or {w}' for w in self.words)}"
        if self.functions:
            return f"{named}, or package:function" if named else "package:function"
        if named:
            return f"{named}{', or file:PATH' * self.files}"
        noun = {int: "whole numbers", float: "numbers"}[self.kind]
        least = f" {'above' if self.open_low else 'from'} {self.low:g}" if self.low > -math.inf else ""
        most = f" {'below' if self.open_high else 'to'} {self.high:.10g}" if self.high < math.inf else ""
        words = "".join(f", or {w}" for w in self.words)
        return (
            f"{noun}{least}{most} (8/255 is a number){words}" if self.kind is float else f"{noun}{least}{most}{words}"
        )


def shown(value: Value) -> str:
    """An axis value as people read it: 0.01, 16, linf; `same` for a part of fine-tuning that is as in the training."""
    return value if isinstance(value, str) else "same" if value is None else f"{value:g}"


def parse_number(text: str) -> float:
    """A finite number, written plainly or as a fraction (8/255); ValueError otherwise."""
    number = float(Fraction(text.replace(" ", ""))) if "/" in text else float(text)
    if not math.isfinite(number):
        raise ValueError(f"not finite: {text}")
    return number


def shares(text: str) -> tuple[float, ...]:
    """Numbers in (0, 1] with / between them; none of them where one is not."""
    try:
        found = tuple(map(float, text.split("/")))
    except ValueError:
        return ()
    return found if all(0 < share <= 1 for share in found) else ()


def parse_value(name: str, knob: Knob, text: str) -> Any:
    """One value of an axis or setting, checked against its range; UsageError naming what would be accepted."""
    refused = UsageError(f"--set {name}: {text!r} is not accepted; give {knob.range_text()}")
    if text in knob.words:
        return knob.words[text]
    if knob.kind is str:
        if text not in knob.choices and refusal(knob, text):
            near = closest(text, map(str, knob.choices))
            raise UsageError(f"{refused}{near}" if near != "." else str(refused))
        return "/".join(f"{share:.15g}" for share in shares(text)) if knob.shares else text
    try:
        number = parse_number(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise refused from None
    value = int(number) if knob.kind is int and number == int(number) else number
    if refusal(knob, value):
        raise refused
    return value


RANGE = re.compile(r"([^:]+?)(?:\.\.|:)([^:]+):\s*(\d+)\s*(log)?")
MOST_VALUES = 1000


def spread(name: str, knob: Knob, text: str) -> list[str]:
    """The values of a range of numbers, FIRST..LAST:COUNT (or FIRST:LAST:COUNT), both ends among them; with `log` after
    the count evenly in the logarithm, to six digits. Any other text as it is. UsageError for a range that is none.

    Evenly spaced values are exact: 2/255..8/255:4 has 4/255. Of a knob of whole numbers each is rounded.
    """
    if knob.kind is str or not (".." in text or ":" in text):
        return [text]
    found = RANGE.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        first, last = map(_exact, found.group(1, 2))
        count, log = int(found[3]), bool(found[4])
        if not 2 <= count <= MOST_VALUES or first == last or (log and min(first, last) <= 0):
            raise ValueError
        shares = [Fraction(i, count - 1) for i in range(count)]
        if log:
            middle = [float(f"{float(first) * (float(last) / float(first)) ** float(s):.6g}") for s in shares[1:-1]]
            numbers = [float(first), *middle, float(last)]
        else:
            numbers = [float(first + (last - first) * share) for share in shares]
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UsageError(
            f"--set {name}: {text!r} is no range; write FIRST..LAST:COUNT, as 0..0.1:5, or FIRST..LAST:COUNTlog, "
            f"as 1e-4..1e-1:7log (from 2 to {MOST_VALUES} values, ends that differ, above 0 for log)"
        ) from None
    return [str(round(n)) if knob.kind is int else repr(n) for n in numbers]


def _exact(text: str) -> Fraction:
    """A number as it is written; of 1e-999999999 no million digits."""
    return Fraction(text.replace(" ", "")) if "/" in text else Fraction(repr(parse_number(text)))


def refusal(knob: Knob, value: Any) -> str:
    """What would be accepted in place of one value of a knob, in words; nothing where the value is accepted."""
    if value is None and knob.default is None:
        return ""
    if value in knob.words.values() or value in knob.choices or (knob.functions and is_user_function(value)):
        return ""
    if knob.shares and isinstance(value, str) and shares(value):
        return ""
    if knob.files and isinstance(value, str) and value.startswith(FILE) and value != FILE:
        return ""
    if knob.kind is str or knob.choices or not isinstance(value, (int, float)) or isinstance(value, bool):
        return knob.range_text()
    whole = knob.kind is float or isinstance(value, int)
    inside = knob.low <= value <= knob.high  # NaN is not
    inside &= not (knob.open_low and value == knob.low) and not (knob.open_high and value == knob.high)
    return "" if whole and inside and math.isfinite(value) else knob.range_text()
