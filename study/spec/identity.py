"""A trial's identity: the hash of what differs from the defaults, and the seeds drawn from its own."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, get_args

from study.spec.config import Load, Measure, Stage, Train, Trial

AS_THEY_ARE = {str, int, float, bool, type(None)}  # what JSON knows already: no subclass, NumPy has some


def plain(value: Any) -> Any:
    """`value` as JSON knows it: tuples as lists, NumPy scalars as Python numbers, whole floats kept as floats."""
    if type(value) in AS_THEY_ARE:
        return value
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


@functools.cache
def _telling(kind: type) -> tuple[tuple[str, Any], ...]:
    """The fields of a configuration that are part of an identity, with their plain defaults (MISSING: none)."""
    return tuple((f.name, plain(f.default)) for f in dataclasses.fields(kind) if f.metadata.get("identity", True))


def canonical(config: Any) -> dict[str, Any]:
    """A configuration as a JSON-able dict with its type and only the fields that differ from their defaults."""
    kind: Any = type(config)
    out: dict[str, Any] = {"type": kind.__name__}
    for name, default in _telling(kind):
        if (value := plain(getattr(config, name))) != default:  # nothing equals MISSING
            out[name] = value
    return out


def canonical_trial(trial: Trial) -> dict[str, Any]:
    """The whole trial as a JSON-able dict: what the fingerprint is taken of."""
    return {
        "seed": plain(trial.seed),
        "stages": [canonical(s) for s in trial.stages],
        "measures": [canonical(m) for m in trial.measures],
    }


def trial_of(found: Mapping[str, Any], root: Callable[[str], str] = lambda data: "") -> Trial:
    """The trial of a canonical form (canonical_trial's inverse); `root` gives the folder of data by name. KeyError,
    TypeError for what this version does not know."""
    kinds = {kind.__name__: kind for kind in (*get_args(Stage), *get_args(Measure))}

    def config(given: Mapping[str, Any]) -> Any:
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if k != "type"}
        found = kinds[given["type"]](**fields)
        return dataclasses.replace(found, root=root(found.data)) if isinstance(found, Load) else found

    return Trial(
        seed=found["seed"],
        stages=tuple(map(config, found["stages"])),
        measures=tuple(map(config, found["measures"])),
    )


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: Any) -> str:
    """sha256 of a JSON-able value in canonical form, hexadecimal."""
    return hashlib.sha256(_ENCODER.encode(value).encode()).hexdigest()


def fingerprint(trial: Trial) -> str:
    """The trial's identity: 16 hexadecimal digits of the hash of its non-default configuration."""
    return digest_of(canonical_trial(trial))[:16]


def base_key(trial: Trial) -> str:
    """The identity of a trial's stages up to its first training: trials that share it share their trained base. Empty
    where there is none, or one of no epochs."""
    for at, stage in enumerate(trial.stages):
        if isinstance(stage, Train):
            begun = [canonical(s) for s in trial.stages[: at + 1]]
            return digest_of([trial.seed, begun])[:16] if stage.epochs else ""
    return ""


def seed_for(seed: int, purpose: str) -> int:
    """An independent seed in [0, 2^63) for each purpose of a trial's seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "big") >> 1
