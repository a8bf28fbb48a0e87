"""Paper C's claims about fine-tuning: compressed nets within five points of robust ones, in a part of the time."""

from typing import Any

from analysis.claims.model import Claim, Control, Regime, Rows, Term
from analysis.claims.paper_c.terms import (
    CLEAN,
    DATED,
    FIVE_POINTS,
    REFERENCE,
    ROBUST,
    STANDARD,
    TEN_POINTS,
    nets,
)

KINDS = {
    "none": "An uncompressed standard net",
    "pruned": "A pruned standard net",
    "quantized": "A quantized standard net",
    "factorized": "A factorized standard net",
}
TABLES = {
    "none": "C, section 5 and Table 2",
    "pruned": "C, section 6 and Tables 3, 4",
    "quantized": "C, section 6 and Tables 3, 4",
    "factorized": "C, section 6 and Table 7",
}
REFERENCE_ROWS = nets("none", ROBUST)
TRAINED_TO_BE = Control(
    words="uncompressed nets trained on clean images alone, against those trained adversarially", arm="none",
    at={"adversarial_ratio": STANDARD},
)  # fmt: skip
FINETUNE, TRAINING = Term(measure="finetune_seconds"), Term(measure="training_seconds")
HALF_OF = 2.0  # a factor: the paper's own is 8
A_TENTH_LESS = 1.1


def _within(kind: str) -> Claim:
    return Claim(
        id=f"C-within-{kind}", source=TABLES[kind], statistic="noninferiority", threshold=FIVE_POINTS, dated=DATED,
        quote=f"{KINDS[kind]} that is fine-tuned adversarially comes within 5 points of the robust accuracy of a net "
        "trained adversarially, or passes it.",
        rows=nets(f"{kind}_adversarial", STANDARD), against=(REFERENCE_ROWS,), regime=REFERENCE,
        control=Control(
            words="the robust net with weights and activations on 65536 levels, which must be found as robust",
            arm="control_same", at={"adversarial_ratio": ROBUST},
        ),
    )  # fmt: skip


def _raises(kind: str) -> Claim:
    return Claim(
        id=f"C-raises-{kind}", source=TABLES[kind], statistic="difference", threshold=FIVE_POINTS, dated=DATED,
        quote=f"{KINDS[kind]} is more robust after adversarial fine-tuning than before.",
        rows=nets(f"{kind}_adversarial", STANDARD), against=(nets(kind, STANDARD),), regime=Regime(clean=False),
        control=Control(
            words="uncompressed nets trained adversarially, against these", arm="none", at={"adversarial_ratio": ROBUST}
        ),
    )  # fmt: skip


def _destroys(kind: str) -> Claim:
    what = {"none": "a robust net", "factorized": "a factorized robust net"}.get(kind, f"a {kind} robust net")
    return Claim(
        id=f"C-destroys-{kind}", source=TABLES[kind], statistic="difference", threshold=TEN_POINTS, dated=DATED,
        quote=f"Fine-tuning {what} on clean images takes the robust accuracy that adversarial fine-tuning keeps.",
        expected=-1, rows=nets(f"{kind}_standard", ROBUST), against=(nets(f"{kind}_adversarial", ROBUST),),
        regime=REFERENCE, control=TRAINED_TO_BE,
    )  # fmt: skip


def _time(name: str, quote: str, rows: Rows, against: Rows, threshold: float, control: Control, **more: Any) -> Claim:
    return Claim(
        **{"id": name, "source": "C, section 6, computational gains"} | more, statistic="ratio", threshold=threshold,
        dated=DATED, quote=quote, expected=-1, rows=rows, against=(against,), regime=Regime(clean=False),
        control=control,
    )  # fmt: skip


QUICKER = Control(
    words="training on clean images, which costs a part of adversarial training whatever the net", arm="none",
    y=TRAINING, at={"adversarial_ratio": STANDARD},
)  # fmt: skip
CLEANLY = Control(
    words="fine-tuning on clean images, which costs a part of adversarial fine-tuning", arm="none_standard",
    y=FINETUNE, at={"adversarial_ratio": STANDARD},
)  # fmt: skip

CLAIMS: tuple[Claim, ...] = (
    *map(_within, KINDS),
    *map(_raises, KINDS),
    *map(_destroys, KINDS),
    Claim(
        id="C-needs", source="C, section 6, pruning versus quantization", statistic="interaction",
        threshold=FIVE_POINTS, dated=DATED,
        quote="Standard fine-tuning gives back more clean accuracy to pruned nets than to quantized ones.",
        rows=nets("pruned_standard", STANDARD, CLEAN),
        against=tuple(nets(arm, STANDARD, CLEAN) for arm in ("pruned", "quantized_standard", "quantized")),
        regime=Regime(clean=False),
        control=Control(
            words="uncompressed nets in place of the fine-tuned pruned ones: all given back", arm="none",
            at={"adversarial_ratio": STANDARD},
        ),
    ),
    _time(
        "C-time", "Adversarial fine-tuning of a standard net takes a small part of the time of adversarial training.",
        nets("none_adversarial", STANDARD, FINETUNE), nets("none", ROBUST, TRAINING), HALF_OF, QUICKER,
    ),
    _time(
        "C-time-pruned", "Adversarial fine-tuning takes less time where the net was pruned before.",
        nets("pruned_adversarial", STANDARD, FINETUNE), nets("none_adversarial", STANDARD, FINETUNE), A_TENTH_LESS,
        CLEANLY,
    ),
    _time(
        "C-time-total", "Standard training, pruning and adversarial fine-tuning together take less time than "
        "adversarial training.",
        nets("pruned_adversarial", STANDARD, TRAINING), nets("none", ROBUST, TRAINING), A_TENTH_LESS, QUICKER,
        source="C, section 6, computational gains; that the standard training counts is ours",
    ),
)  # fmt: skip
