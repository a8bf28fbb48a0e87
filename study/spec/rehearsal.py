"""What a rehearsal runs of a trial: its stages and measures with one step of each, and which trials are of one kind.

Both go by the names and defaults of the configurations' fields, so that a new stage or measure needs no line here.
"""

from dataclasses import MISSING, fields, replace
from typing import Any

from study.spec.config import Build, Load, Trial
from study.spec.identity import digest_of, plain

# Whole numbers of steps, passes, draws or points by the field that has them: at most so many in a rehearsal.
AT_MOST: dict[str, int] = {
    "epochs": 1, "train_steps": 1, "iterations": 1, "restarts": 1, "gap_iterations": 1, "audit_queries": 1,
    "repeats": 1, "passes": 1, "sweeps": 1, "steps": 2, "draws": 2, "eot": 2, "images": 2, "toolbox_images": 2,
    "points": 2, "samples": 2, "side": 4, "grid": 4, "resolution": 4,
}  # fmt: skip
# Fields whose default stands for something long (AutoAttack's own number of queries), or for files that a rehearsal
# does without: the data's and the functions' digests, published weights (the architecture is the same at random). The
# class whose images are looked at: two made-up images are of any. One step on made-up images at a published rate of .1
# can leave a deep net whose gradients overflow.
ALWAYS: dict[str, Any] = {
    "queries": 1, "digest": "", "source": "", "penalty_source": "", "weights": "", "weights_file": "",
    "label": -1, "learning_rate": 1e-4,
}  # fmt: skip
# Sizes: numbers that make another architecture or another batch, and so another kind. Words always do, and whether a
# number that is off at 0 is on; how large it is does not.
SIZES = ("width", "depth", "width_taper", "width_multiplier", "patch_size", "batch_size", "rows", "columns")
ONE = ("bits",)  # numbers whose one is another computation than any more of them
OF_THE_SPLIT = ("train_size", "test_size", "validation_seed", "root")  # how many images there are: here always few


def small(trial: Trial) -> Trial:
    """The trial with one step of everything, at one budget of each attack: the same stages, architectures, batch sizes
    and measures."""
    return replace(trial, seed=0, stages=tuple(map(_small, trial.stages)), measures=tuple(map(_small, trial.measures)))


def _small(config: Any) -> Any:
    changed = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if f.name in ALWAYS:
            changed[f.name] = ALWAYS[f.name]
        elif f.name in AT_MOST and type(value) is int and value > AT_MOST[f.name]:
            changed[f.name] = AT_MOST[f.name]
    if isinstance(config, Load):
        changed |= {"train_size": 0, "test_size": 0}
    if isinstance(budgets := getattr(config, "eps", None), tuple) and budgets:
        judged = getattr(config, "gap_eps", ())
        changed["eps"] = (max(judged or budgets),)  # all are attacked alike
        changed |= {"gap_eps": changed["eps"]} if judged else {}
    return replace(config, **changed)


def kind(trial: Trial) -> str:
    """16 hexadecimal digits that trials share which are of one kind: the same stages and measures in the same order,
    the same names, architectures and batch sizes, the same numbers on and off. Seeds and strengths do not count."""
    tiny = small(trial)
    return digest_of([_shape(config) for config in (*tiny.stages, *tiny.measures)])[:16]


def _shape(config: Any) -> list[Any]:
    found = ((f.name, _told(f.name, plain(getattr(config, f.name)), f.default)) for f in fields(config))
    return [type(config).__name__, {name: value for name, value in found if value is not None}]


def _told(name: str, value: Any, default: Any) -> Any:
    """What a field says of a trial's kind; None for nothing."""
    if name in OF_THE_SPLIT or (default is not MISSING and value == plain(default)):
        return None
    if isinstance(value, list):
        return value if all(isinstance(v, str) for v in value) else "some"
    if name in SIZES or isinstance(value, str | bool):
        return value
    if name in ONE and value == 1:
        return "one"
    return "on" if default is MISSING or not default else None


def features(trial: Trial) -> frozenset[str]:
    """What a trial's kind is made of, one string each: for a search, of whose points a few that have all must do."""
    tiny = small(trial)
    shapes = (_shape(config) for config in (*tiny.stages, *tiny.measures))
    return frozenset(f"{what} {name}={value}" for what, told in shapes for name, value in [("", ""), *told.items()])


def batch_of(trial: Trial) -> int:
    """Images of the trial's largest training batch; 0 where nothing is trained by batches."""
    return max((getattr(stage, "batch_size", 0) for stage in trial.stages), default=0)


def described(trial: Trial) -> str:
    """The stages between the net and its measures, in a few words: what tells the kinds of an arm apart."""
    words = []
    for config in small(trial).stages:
        if isinstance(config, Load | Build):
            continue
        told = {name: v for name, v in _shape(config)[1].items() if name not in SIZES}
        inner = " ".join(str(v) if isinstance(v, str) and v != "on" else name for name, v in told.items())
        words.append(f"{type(config).__name__}{f' ({inner})' if inner else ''}")
    return ", ".join(words)
