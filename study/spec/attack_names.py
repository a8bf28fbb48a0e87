"""The names of attacks in rows, and their revisions."""

from collections.abc import Mapping
from typing import Any

# Raise an attack's number when its algorithm changes: its rows then carry another name and its trials another identity,
# so that old and new numbers are neither averaged nor taken for repeats of each other.
REVISIONS: dict[str, int] = {
    "apgd": 3,
    "apgd_dlr": 3,
    "pgd": 2,
    "fgsm": 2,
    "autoattack": 3,
    "autoattack_pair": 3,
    "cw": 2,
    "square": 1,
}
TOOLBOX = 2  # the same for what our room does to the toolbox's attacks, all of them

# What a trial keeps of them (fields of Robustness), and what stands there where nothing is kept: the numbers of the
# configured attack, PGD, Square, and the AutoPGD behind the loss gap, which was PGD's at first (0).
KEPT = {"revision": 1, "pgd_revision": 1, "gap_revision": 0, "square_revision": 1}

# What makes one perturbation for all images, by a short name, and the random perturbations that are the floor of any.
UNIVERSAL = {"fgsm": "native/universal_fgsm", "pgd": "native/universal_pgd", "art": "art/universal"}
RANDOM = "random"


def attack_name(backend: str, attack: str, revision: int = 1) -> str:
    """An attack as rows name it: native/apgd, art/pgd; from revision 2 on native/apgd@2."""
    return f"{backend}/{attack}" + (f"@{revision}" if revision > 1 else "")


def current(backend: str, attack: str) -> str:
    """The name of what this version computes."""
    return attack_name(backend, attack, REVISIONS[attack] if backend == "native" else TOOLBOX)


def revisions(settings: Mapping[str, Any], held: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The revisions of the attacks behind a trial's numbers, as Robustness keeps them (KEPT), each at most as `held`.

    `settings` has attack_backend, attack and audit_queries. PGD and AutoPGD stand beside every attack (checks, gap).
    """
    native = settings["attack_backend"] == "native"
    here = {
        "revision": REVISIONS[settings["attack"]] if native else TOOLBOX,
        "pgd_revision": REVISIONS["pgd"],
        "gap_revision": REVISIONS["apgd"],
        "square_revision": REVISIONS["square"] if settings["audit_queries"] else 1,
    }
    return {name: min(number, (held or {}).get(name, number)) for name, number in here.items()}


def configured(settings: Mapping[str, Any], raised: Mapping[str, int]) -> str:
    """The name of a study's own attack from its settings and its revisions (those above 1 will do)."""
    backend, attack = settings.get("attack_backend", "native"), settings.get("attack", "apgd")
    return attack_name(backend, attack, raised.get("revision", 1))


def gap(raised: Mapping[str, int]) -> str:
    """The name of the attack behind a study's loss gap, likewise."""
    revision = raised.get("gap_revision", KEPT["gap_revision"])
    return (
        attack_name("native", "apgd", revision)
        if revision
        else attack_name("native", "pgd", raised.get("pgd_revision", 1))
    )


def named(settings: Mapping[str, Any], raised: Mapping[str, int]) -> dict[str, str]:
    """What makes a study's numbers, by the name of its revision: {"revision": "native/apgd@2", ...}."""
    return {
        "revision": configured(settings, raised),
        "pgd_revision": attack_name("native", "pgd", raised.get("pgd_revision", 1)),
        "gap_revision": f"{gap(raised)} for the loss gap",
        "square_revision": attack_name("native", "square", raised.get("square_revision", 1)),
    }


def differing(settings: Mapping[str, Any], there: Mapping[str, int]) -> str:
    """Which attacks were of another revision than this version computes: `native/apgd, here native/apgd@2; ...`; empty
    where none was."""
    here = revisions(settings)
    before, now = named(settings, {**KEPT, **there}), named(settings, here)
    changed = [name for name, number in here.items() if {**KEPT, **there}[name] != number]
    return "; ".join(dict.fromkeys(f"{before[name]}, here {now[name]}" for name in changed))
