"""A net that was given, rung by rung: how far each way of compression goes before accuracy or robustness breaks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.arms import baseline
from analysis.figures import drawing
from analysis.figures.labels import said
from analysis.intervals import over_images
from analysis.tables import arm_trials, attack_of, per_trial
from study.spec.attack_names import current
from study.spec.datasets import HANDED
from study.spec.domains import Value
from study.spec.knobs import KNOBS, by_strength
from study.store.manifest import ArmRecord, Manifest

# Rules that stood before any net was looked at, in points of accuracy lost: what costs nothing, what may be paid.
FREE, PAID_CLEAN, PAID_ROBUST = 0.01, 0.02, 0.05
DOUBTFUL = 0.05  # of the images have no gradient at all: an attack by gradients says nothing of them


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One net of the ladder: its level in words, test accuracies on n images, what it costs, and why its robust
    accuracy is not to be believed (nothing where it is). `second` is the robust accuracy under the attacks beside the
    study's own, by their names, each on its own number of images; `zero` the share of the images without a gradient."""

    axis: str
    value: Value
    words: str
    trial: str
    clean: float
    robust: float
    n: int
    second: dict[str, tuple[float, int]]
    stored_bytes: float
    macs: float
    doubt: str
    zero: float = 0.0


def is_given(study: Manifest) -> bool:
    """Whether a folder is of one net that was given, trained by nobody here, and compressed along single axes."""
    return study.settings.get("epochs") == 0 and not study.search and len(study.seeds) == 1


def ladder(frame: pd.DataFrame, study: Manifest) -> tuple[Rung | None, dict[str, list[Rung]]]:
    """The net as it is, and the rungs of each arm by strength; None where the former is not finished."""
    base = next((rung for arm in study.arms for rung in _rungs(frame, study, arm, "")), None)
    out: dict[str, list[Rung]] = {}
    for arm in study.arms:
        axis = _axis(study, arm)
        if axis and (rungs := _rungs(frame, study, arm, axis)):
            out[axis] = rungs
    return base, out


def _axis(study: Manifest, arm: ArmRecord) -> str:
    """What compresses the nets of an arm; nothing for the net as it is, fine-tuned or not."""
    moved = (a for a, values in arm.axes.items() if KNOBS[a].compressed and set(values) != {baseline(study, a)})
    return next(moved, "")


def _rungs(frame: pd.DataFrame, study: Manifest, arm: ArmRecord, axis: str) -> list[Rung]:
    """The finished nets of an arm along an axis; without one that of the arm that has none."""
    if bool(axis) != bool(_axis(study, arm)):
        return []
    table = arm_trials(frame, arm, study.axes_off)
    table = table[table["status"] == "ok"]
    eps = float(study.settings["judged_linf"])
    at = {"norm": "linf", "eps": eps, "split": "test"}
    own = attack_of(study, "configured")
    numbers = {
        "clean": per_trial(frame, "clean_accuracy", split="test"),
        "robust": per_trial(frame, "robust_accuracy", attack=own, **at),
        "bytes": per_trial(frame, "stored_bytes"),
        "macs": per_trial(frame, "macs"),
        "zero": per_trial(frame, "zero_gradient_share", norm="linf", split="test"),
        "flag": per_trial(frame, "audit_flag", attack=current("native", "square"), **at),
    }
    rows = frame[(frame["measure"] == "robust_accuracy") & (frame["norm"] == "linf") & (frame["split"] == "test")]
    rows = rows[(rows["eps"] - eps).abs() < 1e-9]
    out = []
    for value in by_strength(axis, table[axis]) if axis else [""]:
        for name in table.index[table[axis] == value] if axis else table.index[:1]:
            mine = rows[rows["trial"] == name]
            if name not in numbers["clean"] or mine[mine["attack"] == own].empty:
                continue
            others = {str(r.attack): (float(r.value), int(r.n)) for r in mine[mine["attack"] != own].itertuples()}
            out.append(
                Rung(
                    axis=axis, value=value, words=said(axis, value) if axis else "as it is", trial=str(name),
                    clean=float(numbers["clean"][name]), robust=float(numbers["robust"][name]),
                    n=int(mine[mine["attack"] == own]["n"].iloc[0]), second=others,
                    stored_bytes=float(numbers["bytes"].get(name, math.nan)),
                    macs=float(numbers["macs"].get(name, math.nan)),
                    doubt=_doubt(float(numbers["zero"].get(name, 0.0)), float(numbers["flag"].get(name, 0.0))),
                    zero=float(numbers["zero"].get(name, 0.0)),
                )
            )  # fmt: skip
    return out


def _doubt(zero: float, flag: float) -> str:
    if flag:
        return "Square, which needs no gradients, fools images that the gradient attack had left"
    return f"{100 * zero:.0f} % of the images have no gradient" if zero > DOUBTFUL else ""


def sentences(frame: pd.DataFrame, study: Manifest, address: str = "") -> list[str]:
    """The verdict in plain words: the net itself, how far each way goes, whose numbers are not to be believed, by what
    rule, and the commands that write the levels named to files (of a folder at `address`). Nothing for a folder of
    another kind, or before the net itself is finished."""
    if not is_given(study):
        return []
    base, arms = ladder(frame, study)
    if base is None:
        return []
    eps = drawing.budget(float(study.settings["judged_linf"]), "linf")
    how = "With its BatchNorms' statistics taken anew" if study.settings.get("recalibrate") else "As it is"
    out = [
        f"{how}: clean accuracy {_share(base.clean)}, robust accuracy {_share(base.robust)} at l_inf {eps} "
        f"({base.n} test images: other images would move either by {100 * _reach(base.clean, base.n):.0f} and "
        f"{100 * _reach(base.robust, base.n):.0f} points){_second(base)}."
    ]
    out += [_arm(base, rungs) for rungs in arms.values()]
    if doubtful := [r for r in (base, *(r for rungs in arms.values() for r in rungs)) if r.doubt]:
        out += [f"Do not trust the robust accuracy of {r.words}: {r.doubt}." for r in doubtful[:6]]
    out.append(
        f"Free is a level that loses at most {100 * FREE:g} point of either accuracy; the level named next loses at "
        f"most {100 * PAID_CLEAN:g} of clean and {100 * PAID_ROBUST:g} of robust accuracy, as do all weaker ones. All "
        "levels see the same images."
    )
    ends = [paid for rungs in arms.values() if (paid := _last(rungs, lambda r: _affordable(base, r)))]
    return out + [f"To ship the net at {r.words}: {_export(study, r.trial, address)}." for r in ends]


def _export(study: Manifest, trial: str, address: str) -> str:
    """What writes a net to a file: the command, or of nets and data that only one process has, the call."""
    if HANDED in (study.model[: len(HANDED)], study.data[: len(HANDED)]):
        return f'.export("{trial}", "net.onnx") of what study.audit returned'
    return f"python -m study.launch export {address or 'DIR'} {trial} --to onnx (or safetensors, packed)"


def trusted(frame: pd.DataFrame, study: Manifest) -> list[dict[str, str]]:
    """Rung by rung what each attack left, in a table's words, and whether the robust accuracy is to be believed;
    nothing for a folder of another kind, or before the net itself is finished."""
    base, arms = ladder(frame, study) if is_given(study) else (None, {})
    if base is None:
        return []
    rungs = [base, *(r for rungs in arms.values() for r in rungs)]
    seconds = dict.fromkeys(name for r in rungs for name in r.second)
    out = []
    for r in rungs:
        left = {
            attack_words(name): f"{_share(r.second[name][0])} of {r.second[name][1]}" if name in r.second else ""
            for name in seconds
        }
        own = {"": r.words, "clean": _share(r.clean), "robust": f"{_share(r.robust)} of {r.n}"}
        believed = f"no: {r.doubt}" if r.doubt else "yes"
        out.append(own | left | {"no gradient": _share(r.zero), "to be believed": believed})
    return out


def checked(rows: Sequence[Mapping[str, str]], study: Manifest) -> str:
    """What the table of `trusted` says, in plain words; nothing of no table."""
    if not rows:
        return ""
    doubtful = sum(row["to be believed"] != "yes" for row in rows)
    eps = drawing.budget(float(study.settings["judged_linf"]), "linf")
    square = study.settings.get("audit_queries", 0)
    second = (
        f"Square tries {square} changes per image and asks for no gradient: where it fools images that the attack with "
        "gradients had left, more than one in a hundred and chance explain, the net hides its gradients and the robust "
        "accuracy is too high. "
        if square
        else "No attack without gradients was asked for. "
    )
    found = f"So it is in {doubtful} of {len(rows)} nets." if doubtful else "No net here does either."
    return (
        f"Robust accuracy is what AutoPGD leaves at l_inf {eps}: an upper bound, as of any attack. {second}"
        f"Nor is it to be believed where more than {100 * DOUBTFUL:g} % of the images have no gradient at all. {found}"
    )


def _affordable(base: Rung, rung: Rung) -> bool:
    clean, robust = _lost(base, rung)
    return clean <= PAID_CLEAN and robust <= PAID_ROBUST


def _arm(base: Rung, rungs: Sequence[Rung]) -> str:
    """How far one way of compression goes."""
    free = _last(rungs, lambda r: _lost(base, r)[0] <= FREE and _lost(base, r)[1] <= FREE)
    paid = _last(rungs, lambda r: _affordable(base, r))
    if paid is None and rungs[0].doubt and _lost(base, rungs[0])[0] <= PAID_CLEAN:
        return f"Of {rungs[0].words} no robust accuracy can be believed."
    if paid is None:
        clean, robust = _lost(base, rungs[0])
        return (
            f"{_head(rungs[0].words)} already costs {_points(clean)} of clean and {_points(robust)} of robust accuracy."
        )
    told = []
    if free is not None:
        told.append(f"{free.words} is free{_size(base, free)}")
    if free is None or paid.trial != free.trial:
        clean, robust = _lost(base, paid)
        told.append(
            f"{paid.words} costs {_points(clean)} of clean and {_points(robust)} of robust accuracy{_size(base, paid)}"
        )
    after = rungs[list(rungs).index(paid) + 1 :]
    if after:
        clean, robust = _lost(base, after[0])
        told.append(f"{after[0].words} costs {_points(clean)} and {_points(robust)}")
    return f"{_head('; '.join(told))}."


def _last(rungs: Sequence[Rung], holds: Callable[[Rung], bool]) -> Rung | None:
    """The last of the rungs up to which all hold, those that are not to be believed not among them."""
    found = None
    for rung in rungs:
        if rung.doubt or not holds(rung):
            break
        found = rung
    return found


def _lost(base: Rung, rung: Rung) -> tuple[float, float]:
    return base.clean - rung.clean, base.robust - rung.robust


def _points(lost: float) -> str:
    points = max(0.0, round(100 * lost, 1))  # what is won is not told as a cost below zero
    return f"{points:.1f} point{'' if points == 1 else 's'}"


def _size(base: Rung, rung: Rung) -> str:
    """What a rung saves, in brackets."""
    told = []
    if rung.stored_bytes < base.stored_bytes:
        told.append(f"{rung.stored_bytes:,.0f} bytes in place of {base.stored_bytes:,.0f}")
    if rung.macs < base.macs:
        told.append(f"{100 * (1 - rung.macs / base.macs):.0f} % of the multiply-adds saved")
    return f" ({', '.join(told)})" if told else ""


def _second(rung: Rung) -> str:
    """What the other attacks left, in a subordinate clause."""
    told = [f"{attack_words(attack)} leaves {_share(v)} of {n}" for attack, (v, n) in rung.second.items()]
    return f"; {', '.join(told)}" if told else ""


def attack_words(attack: str) -> str:
    """An attack as people say it: autoattack pair."""
    return attack.partition("@")[0].removeprefix("native/").replace("_", " ")


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _head(text: str) -> str:
    return text[:1].upper() + text[1:]


def _reach(share: float, n: int) -> float:
    """Half the width of the interval of a share of n images."""
    found = over_images(share, n)
    return (found.high - found.low) / 2
