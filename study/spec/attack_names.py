"""The names of attacks in rows, and their revisions."""

from collections.abc import Mapping
from typing import Any

# Raise an attack's number when its algorithm changes: its rows then carry another name and its trials another identity,
# so that old and new numbers are neither averaged nor taken for repeats of each other.
REVISIONS: dict[str, int] = {
    "apgd": 1,
    "apgd_dlr": 1,
    "pgd": 1,
    "fgsm": 1,
    "autoattack": 1,
    "autoattack_pair": 1,
    "cw": 1,
    "square": 1,
}


def attack_name(backend: str, attack: str, revision: int = 1) -> str:
    """An attack as rows name it: native/apgd, art/pgd; from revision 2 on native/apgd@2."""
    return f"{backend}/{attack}" + (f"@{revision}" if revision > 1 else "")


def revisions(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The revisions of the native attacks behind a trial's numbers, as Robustness keeps them; 1 for what is not asked.

    `settings` has attack_backend, attack and audit_queries. PGD stands beside every attack (gap, checks).
    """
    return {
        "revision": REVISIONS[settings["attack"]] if settings["attack_backend"] == "native" else 1,
        "pgd_revision": REVISIONS["pgd"],
        "square_revision": REVISIONS["square"] if settings["audit_queries"] else 1,
    }


def configured(settings: Mapping[str, Any], raised: Mapping[str, int]) -> str:
    """The name of a study's own attack from its settings and its revisions (those above 1 will do)."""
    backend, attack = settings.get("attack_backend", "native"), settings.get("attack", "apgd")
    return attack_name(backend, attack, raised.get("revision", 1))
