"""The tables that the papers print, as data: verbatim, one CSV file per paper, one line per printed number."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from study.spec.domains import Value
from study.spec.knobs import KNOBS
from study.spec.values import parse_number

FILES = ("paper_a.csv", "paper_c.csv")
FIXED = ("table", "data", "model", "weights", "measure", "attack", "norm", "eps", "unit", "value",
         "deviation", "note")  # fmt: skip
UNITS = {"": 1.0, "percent": 0.01}  # in the unit of our measure

# What a reader of a table must know and its caption does not say.
OPEN: dict[str, str] = {
    "A.tab1": "The paper attacks with ART's AutoPGD. It does not print its iterations, the budget of the adversarial "
    "training, whether these nets began at random weights, or the number of seeds.",
    "A.tab2": "The paper attacks with ART's AutoPGD. It prints neither norm nor budget beside this table (l∞ and 2/255 "
    "by its section C.3), nor the attack's iterations, the adversarial share of a batch, or the number of seeds.",
    "C.tab2": "The paper attacks with PGD of 20 steps, at the budget that the nets were trained with. Its code has the "
    "budget in inputs scaled to [-1, 1], which in pixels is half of what is printed. Three seeds.",
    "C.tab5": "The paper attacks with AutoAttack's APGD-CE, then APGD-DLR. It prints budgets for Fashion-MNIST and "
    "CIFAR-10 alone, and says neither which ViT it is nor from which weights the nets begin.",
}
OPEN |= dict.fromkeys(("A.tab3", "A.tab4"), OPEN["A.tab2"])
OPEN |= dict.fromkeys(("C.tab3", "C.tab4", "C.tab7", "C.tab8", "C.tab9"), OPEN["C.tab2"])
OPEN |= dict.fromkeys(("C.tab6", "C.tab10", "C.tab11"), OPEN["C.tab5"])


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed number.

    `table` is its id as in a study's `reproduces`; `data` and `model` have our names; `weights` is none or pretrained,
    `at` the knobs that its row and column stand for; `measure`, `norm` and `eps` are those of our rows, `attack` is a
    value of the knob. What is not printed is absent ("", None). `printed` and `deviation` (over seeds) are the numbers
    as they stand in print, `value` is the former in the measure's own unit (shares from 0 to 1; a loss gap in nats),
    `unit` what one in print is worth there. `note` says what is wrong.
    """

    table: str
    data: str
    model: str
    weights: str
    at: Mapping[str, Value]
    measure: str
    attack: str
    norm: str | None
    eps: float | None
    printed: str
    deviation: str
    unit: float
    value: float
    note: str


def cells(table: str = "") -> list[Cell]:
    """The printed numbers of a table by its id (A.tab2), of all tables without one; none for a table that is not here.

    Source: paper A, "On the Interaction of Compressibility and Adversarial Robustness" (ICLR 2026), Tables 1 to 4
    (appendix D.6 and D.7); paper C, "Adversarial Fine-tuning of Compressed Neural Networks for Joint Improvement of
    Robustness and Efficiency", Tables 2 to 11, whose robust nets are trained on adversarial images alone (its Equation
    2: adversarial_ratio 1). Paper B prints no table. Numbers stand as printed, errors of print too, which `note` names.
    Units are those of Cell.
    """
    lines = [line for name in FILES for line in _lines(name)]
    return [_cell(line) for line in lines if table in ("", line["table"])]


def _lines(name: str) -> list[dict[str, str]]:
    text = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _cell(line: Mapping[str, str]) -> Cell:
    named = {name: text for name, text in line.items() if name not in FIXED and text}
    text = {name: line.get(name, "") for name in FIXED}
    unit = UNITS[text.pop("unit")]
    return Cell(
        **{name: text[name] for name in ("table", "data", "model", "weights", "measure", "attack", "note")},
        at={name: KNOBS[name].kind(value) for name, value in named.items()},
        norm=text["norm"] or None,
        eps=parse_number(text["eps"]) if text["eps"] else None,
        printed=text["value"],
        deviation=text["deviation"],
        unit=unit,
        value=unit * float(text["value"]),
    )
