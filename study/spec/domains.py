"""What a search may choose for a knob, and when it is asked. Declarative: study.sweep.search says it to Optuna."""

from collections.abc import Mapping
from dataclasses import dataclass

Value = float | int | str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A knob with listed values, asked only where one of `when` (earlier knobs: some of their values) holds, if any."""

    values: tuple[Value, ...]
    when: tuple[Mapping[str, tuple[Value, ...]], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """A knob between low and high, both included; whole numbers where the axis takes whole numbers."""

    low: float
    high: float
    when: tuple[Mapping[str, tuple[Value, ...]], ...] = ()


@dataclass(frozen=True, kw_only=True)
class LogUniform:
    """As Uniform, evenly in the logarithm; low above 0."""

    low: float
    high: float
    when: tuple[Mapping[str, tuple[Value, ...]], ...] = ()


Domain = Choice | Uniform | LogUniform


def asked(domain: Domain, chosen: Mapping[str, Value]) -> bool:
    """Whether a knob is asked, given what was chosen for the knobs before it."""
    ways = (all(chosen.get(name) in allowed for name, allowed in way.items()) for way in domain.when)
    return not domain.when or any(ways)


def holds(domain: Domain, value: Value) -> bool:
    """Whether a value lies in a domain."""
    if isinstance(domain, Choice):
        return value in domain.values
    return not isinstance(value, str) and domain.low <= value <= domain.high
