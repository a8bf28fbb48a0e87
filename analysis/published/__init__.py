"""The tables that the papers print, as data: verbatim, one CSV file per paper, one line per printed number."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from study.spec.domains import Value
from study.spec.knobs import KNOBS
from study.spec.values import parse_number, parse_value

FILES = ("paper_a.csv",)
FIXED = ("table", "data", "model", "weights", "measure", "norm", "eps", "value", "note")

# What a reader of a table must know and its caption does not say.
OPEN: dict[str, str] = {
    "A.tab1": "The paper does not print whether these nets began at random weights, the budget of their adversarial "
    "training, the attack's iterations, or the number of seeds.",
    "A.tab2": "The paper prints neither norm nor budget beside this table (l∞ and 2/255 by its section C.3), nor the "
    "adversarial share of a batch, the attack's iterations, or the number of seeds.",
}
OPEN |= dict.fromkeys(("A.tab3", "A.tab4"), OPEN["A.tab2"])


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed number.

    `table` is its id as in a study's `reproduces`; `data` and `model` have our names; `weights` is none or pretrained,
    `at` the knobs that its row and column stand for, `measure`, `norm` and `eps` (pixel units) are those of our rows.
    What is not printed is absent ("", None). `printed` is the number as it stands in print, `value` the same in the
    measure's own unit (shares from 0 to 1; a loss gap in nats). `note` says what is wrong with it.
    """

    table: str
    data: str
    model: str
    weights: str
    at: Mapping[str, Value]
    measure: str
    norm: str | None
    eps: float | None
    printed: str
    value: float
    note: str


def cells(table: str = "") -> list[Cell]:
    """The printed numbers of a table by its id (A.tab2), of all tables without one; none for a table that is not here.

    Source: paper A, "On the Interaction of Compressibility and Adversarial Robustness" (ICLR 2026), Tables 1 to 4
    (appendix D.6 and D.7). Numbers stand as printed, errors of print too, which `note` names. Units are those of Cell.
    """
    lines = [line for name in FILES for line in _lines(name)]
    return [_cell(line) for line in lines if table in ("", line["table"])]


def _lines(name: str) -> list[dict[str, str]]:
    text = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _cell(line: Mapping[str, str]) -> Cell:
    named = {name: text for name, text in line.items() if name not in FIXED and text}
    return Cell(
        table=line["table"],
        data=line["data"],
        model=line["model"],
        weights=line["weights"],
        at={name: parse_value(name, KNOBS[name], text) for name, text in named.items()},
        measure=line["measure"],
        norm=line["norm"] or None,
        eps=parse_number(line["eps"]) if line["eps"] else None,
        printed=line["value"],
        value=float(line["value"]),
        note=line["note"],
    )
