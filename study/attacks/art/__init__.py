"""The ART room: the toolbox's attacks under the names and the signature of the native ones."""

import warnings
from collections.abc import Callable

with warnings.catch_warnings():  # what the toolbox says of its own imports is no one's business here
    warnings.simplefilter("ignore")
    import art.attacks.evasion
    import art.estimators.classification  # noqa: F401

from study.attacks.art.climbs import as_documented as as_documented
from study.attacks.art.climbs import auto_pgd, fgsm, pgd
from study.attacks.art.others import autoattack, cw, square
from study.attacks.art.others import universal as universal
from study.attacks.ball import Result

ATTACKS: dict[str, Callable[..., Result]] = {
    "fgsm": fgsm,
    "pgd": pgd,
    "apgd": auto_pgd,
    "autoattack": autoattack,
    "cw": cw,
    "square": square,
}
