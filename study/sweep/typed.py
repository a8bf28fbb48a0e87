"""Words of the command line as values; UsageError with what would be accepted."""

import os
import re
import shlex

from study.spec.errors import UsageError, without_secrets

COMMANDS = ("status", "report", "evaluate")
OPTIONS = {"seeds", "data", "model", "preset", "output"}
MOST_SEEDS, LARGEST_SEED = 1000, 2**31 - 1


def default_output(study: str, preset: str) -> str:
    """STUDY_OUTPUT/STUDY-PRESET where the environment names a folder or an S3 prefix for all sweeps; else nothing."""
    root = os.environ.get("STUDY_OUTPUT", "").rstrip("/")
    return f"{root}/{re.sub(r'[^A-Za-z0-9_.]', '_', study)}-{preset}" if root else ""


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
    """NAME=V1,V2 of each --set."""
    parts = dict(item.partition("=")[::2] for item in items)
    for item in items:
        if "=" not in item:
            raise UsageError(f"--set {item!r} is not accepted; write --set AXIS=V1,V2")
    for name in OPTIONS & set(parts):
        raise UsageError(f"--set {name}: it is an option of its own; write --{name} {parts[name]}")
    return parts


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
