"""Words of the command line as values; UsageError with what would be accepted."""

import logging
import os
import re
import shlex
from pathlib import Path
from typing import Any

from cyclopts import CycloptsError
from rich.console import Console

from study.nets import keyed
from study.spec.errors import UsageError, closest, without_secrets
from study.spec.knobs import KNOBS
from study.spec.models import FILE, NAMES
from study.spec.values import parse_number
from study.store.manifest import Manifest
from study.sweep.plan.catalogue import find_study, study_names

log = logging.getLogger(__name__)

COMMANDS = ("status", "report", "evaluate", "export")
# Words that are no knob but an option of the command, which people set like one.
OPTIONS = {
    "seeds": "--seeds", "seed": "--seeds", "n_seeds": "--seeds", "data": "--data", "dataset": "--data",
    "data_dir": "--data-dir", "model": "--model", "net": "--model", "preset": "--preset", "output": "--output",
    "time_budget": "--time-budget", "cpus_per_trial": "--cpus-per-trial", "gpus_per_trial": "--gpus-per-trial",
    "max_concurrent": "--max-concurrent", "address": "--address", "warm_start": "--warm-start",
    "normalization": "--normalization", "checkpoint": "--weights", "search_storage": "--search-storage",
    "tracking_uri": "--tracking-uri",
}  # fmt: skip
NORMALIZATION = "give dataset, none, or MEAN/STD, as 0.485,0.456,0.406/0.229,0.224,0.225"
MOST_SEEDS, LARGEST_SEED = 1000, 2**31 - 1


def default_output(study: str, preset: str) -> str:
    """STUDY_OUTPUT/STUDY-PRESET where the environment names a folder or an S3 prefix for all sweeps; else nothing."""
    root = os.environ.get("STUDY_OUTPUT", "").rstrip("/")
    return f"{root}/{re.sub(r'[^A-Za-z0-9_.]', '_', study)}-{preset}" if root else ""


def data_dir(text: str) -> str:
    """The folder of the data sets: as typed, else STUDY_DATA, else data."""
    return text or os.environ.get("STUDY_DATA", "data")


def usage_text(error: CycloptsError, argv: list[str], err: Console) -> str:
    """What to say of words that the command line does not take."""
    known = [*study_names(), *COMMANDS]
    if argv and not argv[0].startswith("-") and argv[0].replace("-", "_") not in known:
        return f"unknown study or command {argv[0]!r}{closest(argv[0], known)} Known: {', '.join(known)}. See --help."
    error.console = err
    return " ".join(str(error).split()) + " See --help."


def again(argv: list[str]) -> str:
    """The command that goes on with an interrupted sweep."""
    words = ["python", "-m", "study.launch", *argv, *([] if "--resume" in argv else ["--resume"])]
    return shlex.join(map(without_secrets, words))


def goes_on(argv: list[str], full: bool = False) -> str:
    """What to say after a fault of disk or store: of a sweep the command that goes on with what stays; nothing of a
    command that cannot resume (status, report, a plan)."""
    if not argv or argv[0] in COMMANDS or {"--dry-run", "--list"} & set(argv):
        return ""
    if any(word.partition("=")[0] == "--cluster" for word in argv):
        return "; give the same command again"
    stays = "free some space and go on with" if full else "what is finished stays. Go on with"
    return f"; {stays}: {again(argv)}"


def positive(name: str, number: float, zero: bool = False) -> float:
    """A finite number above 0, or from 0 on."""
    if not (number > 0 or (zero and number == 0)) or number == float("inf"):
        raise UsageError(f"{name} must be {'at least' if zero else 'above'} 0, got {number}")
    return number


def overrides(items: tuple[str, ...]) -> dict[str, str]:
    """NAME=V1,V2 of each --set. The values of an axis that is given twice are joined; of a setting, which takes one,
    the last holds, and that is said."""
    parts: dict[str, str] = {}
    for item in items:
        name, equals, text = (part.strip() for part in item.partition("="))
        if not equals:
            raise UsageError(f"--set {item!r} is not accepted; write --set AXIS=V1,V2")
        if option := OPTIONS.get(name.replace("-", "_")):
            raise UsageError(f"--set {name}: it is an option of its own; write {option} {text}")
        if parts.get(name, text) != text:
            if name in KNOBS and (KNOBS[name].column or KNOBS[name].several):
                text = f"{parts[name]},{text}"
            else:
                log.warning("--set %s is given twice, %s and %s: the last one holds", name, parts[name], text)
        parts[name] = text
    return parts


def net(weights: str, normalization: str) -> dict[str, str]:
    """The knobs that --weights and --normalization stand for: a file, or a library's name; dataset, none, or MEAN/STD,
    each one number or one per channel with commas between. UsageError for a file that is not there, and other words."""
    out = {}
    if weights:
        out["weights"] = weights if weights in NAMES or weights.startswith(FILE) else f"{FILE}{weights}"
        if out["weights"].startswith(FILE):
            _check_file(weights, keyed.split(out["weights"].removeprefix(FILE))[0])
    if normalization not in ("", "dataset"):
        mean, slash, std = ("0", "/", "1") if normalization == "none" else normalization.partition("/")
        if not slash or not mean.strip() or not std.strip():
            raise UsageError(f"--normalization {normalization!r} is not accepted; {NORMALIZATION}")
        _check_numbers(normalization, mean, std)
        out |= {"input_mean": mean, "input_std": std}
    return out


def _check_file(weights: str, path: Path) -> None:
    """UsageError unless there is a file of weights."""
    if path.is_dir():
        files = sorted(p.name for p in path.iterdir() if p.suffix in (".safetensors", ".pt", ".pth", ".bin", ".ckpt"))
        has = f", {files[0]} in it say" if files else ""
        raise UsageError(f"--weights {weights}: that is a folder; give a file{has}")
    if not path.is_file():
        raise UsageError(f"--weights {weights}: there is no such file, and no library calls weights so")


def _check_numbers(normalization: str, mean: str, std: str) -> None:
    """UsageError unless means and deviations are numbers that go together, and the latter above 0."""
    try:
        means, stds = ([parse_number(part) for part in text.split(",")] for text in (mean, std))
        wrong = "" if min(stds) > 0 else "deviations, after the slash, must be above 0"
    except (ValueError, ZeroDivisionError):
        wrong = "means and deviations must be numbers"
    if not wrong and 1 not in (len(means), len(stds)) and len(means) != len(stds):
        wrong = f"{len(means)} means do not go with {len(stds)} deviations"
    if not wrong:
        return
    raise UsageError(f"--normalization {normalization!r} is not accepted: {wrong}; {NORMALIZATION}")


def seeds(text: str) -> tuple[int, ...]:
    """How many seeds (5), or which ones (0,3,7); nothing for an empty text."""
    if not text:
        return ()
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    count = len(numbers) == 1 and "," not in text
    if not numbers or min(numbers) < (1 if count else 0) or max(numbers) > (MOST_SEEDS if count else LARGEST_SEED):
        raise UsageError(
            f"--seeds {text[:40]!r} is not accepted; give how many (5; at most {MOST_SEEDS}) "
            f"or which ones (0,3,7; each at most {LARGEST_SEED})"
        )
    return tuple(range(numbers[0])) if count else tuple(dict.fromkeys(numbers))


def seconds(text: str) -> float:
    """Seconds of 90s, 10m or 2h; 0 for an empty text."""
    if not text:
        return 0.0
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1].lower())
    try:
        found = float(text[:-1] if unit else text) * (unit or 1)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise UsageError(f"--time-budget {text!r} is not accepted; give 90s, 10m or 2h")
    return found


def declared(manifest: Manifest, named: str, err: Console) -> tuple[Any, Any]:
    """The claims and figures of the study as it is now; None for both where the report can only go by study.json.

    A results folder may come from somebody else: no module is imported because study.json names it.
    """
    if not named and manifest.name not in study_names():
        own = f" name it to have them: --study {manifest.module}" if manifest.module else ""
        err.print(f"Note: {manifest.name} is no study of this project; its own claims and figures are left out;{own}",
                  markup=False)  # fmt: skip
        return None, None
    study = find_study(named or manifest.name)
    if study.name != manifest.name:
        raise UsageError(f"--study {named}: that is {study.name}, the folder holds {manifest.name}")
    return study.claims, study.figures
