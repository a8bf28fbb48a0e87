"""Tables of earlier versions, read as this one would have written them. Pure: rows and configuration in, rows out.

The digest of a file is checked on what stands in it, before; nothing here is ever written back.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from study.spec.attack_names import attack_name

PGD, SQUARE = attack_name("native", "pgd"), attack_name("native", "square")
# Whose attack a measure of 0.1.0 was: a name, or None for the trial's configured one.
BY: dict[str, str | None] = {
    "robust_accuracy": None,
    "relative_robust_accuracy": None,
    "zero_eps_agrees": None,
    "loss_gap_art": None,
    "loss_gap": PGD,
    "loss_monotone": PGD,
    "local_sensitivity_max": PGD,
    "local_sensitivity_mean": PGD,
    "robust_accuracy_square": SQUARE,
    "audit_flag": SQUARE,
}
RENAMED = {"robust_accuracy_square": "robust_accuracy", "loss_gap_art": "loss_gap"}


def name_attacks(rows: Sequence[Mapping[str, Any]], configuration: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a table without the column `attack`, with it: from the trial's canonical configuration in its footer.

    Two old names hid the attack and become that of the measure. A row whose attack the configuration does not tell
    stays as it is. A budget that was asked for twice gave the same rows twice: they stand once.
    """
    configured = _configured(configuration)
    named = [_named(r, configured.get(r.get("norm"))) for r in rows]
    return list({json.dumps(r, sort_keys=True): r for r in named}.values())


def _named(r: Mapping[str, Any], configured: str | None) -> dict[str, Any]:
    measure = r["measure"]
    attack = BY[measure] or configured if measure in BY else None
    if attack is None:
        return dict(r)
    twice = measure == "robust_accuracy_square" and configured == SQUARE  # Square asked beside Square: two numbers
    return {**r, "measure": measure if twice else RENAMED.get(measure, measure), "attack": attack}


def _configured(configuration: Mapping[str, Any]) -> dict[str | None, str]:
    """The configured attack per norm, where there is one alone. A canonical form leaves out what is at its default,
    of the back end that is art."""
    found: dict[str | None, set[str]] = {}
    for m in configuration.get("measures", ()):
        if m["type"] == "Robustness":
            name = attack_name(m.get("backend", "art"), m.get("attack", "apgd"))
            found.setdefault(m["norm"], set()).add(name)
    return {norm: next(iter(names)) for norm, names in found.items() if len(names) == 1}
