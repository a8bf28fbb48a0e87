"""Which attacks take iterations and restarts: what an attack would pass over is refused, not ignored."""

from collections.abc import Collection, Mapping
from typing import Any

from study.spec.errors import UsageError

STEPS = 20  # what attack_iterations stands at: there an attack of OWN keeps its own number
OWN = {"cw": "10 steps in l_inf and 100 in l_2 (10 through ART)", "square": "1000 queries"}
IGNORED = {
    "fgsm": {"attack_iterations": "is one step", "attack_restarts": "begins at the image"},
    "cw": {"attack_restarts": "begins at the image"},
}


def check(settings: Mapping[str, Any], said: Collection[str], where: str) -> None:
    """UsageError for settings that were `said` (of those in force, `settings`) and that the attack would ignore."""
    attack = settings["attack"]
    for name, why in IGNORED.get(attack, {}).items():
        if name in said:
            raise UsageError(f"{where}{name}: attack={attack} {why} and takes no {name}; leave it out")
    if attack in OWN and "attack_iterations" in said and settings["attack_iterations"] == STEPS:
        raise UsageError(
            f"{where}attack_iterations: at {STEPS} attack={attack} has its own number, {OWN[attack]}; leave it out, or "
            f"give another number"
        )


def counts(attack: str, iterations: int, restarts: int) -> dict[str, int]:
    """The iterations and restarts that an attack is given; Square's iterations are queries."""
    own = attack in OWN and iterations == STEPS
    given = {} if own or attack == "fgsm" else {"queries" if attack == "square" else "iterations": iterations}
    return given if "attack_restarts" in IGNORED.get(attack, {}) else given | {"restarts": restarts}
