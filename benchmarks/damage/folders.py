"""Damaged folders of results: read, measured again, gone on with; no row that survives may differ."""

import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.damage import files, tables
from benchmarks.damage.base import DONE, Base, rows_of, words
from benchmarks.damage.case import ROWS, Case, Problem, Step
from benchmarks.damage.files import Damage

# Kind of file in a folder of results -> how often it is hit, and what may happen to it beside what happens to all.
KINDS: dict[str, tuple[int, tuple[Damage, ...]]] = {
    "trials/*.parquet": (10, (tables.schema, tables.schema, tables.schema, tables.forged, tables.forged)),
    "study.json": (8, (files.values, files.values, files.values, files.values, files.shape, files.shape)),
    "failed/*.json": (4, (files.values, files.values, files.shape)),
    "search.journal": (3, (files.lines, files.lines, files.lines)),
    "models/*.safetensors": (2, ()),
    "front.csv": (1, (files.lines,)),
    "report.html": (1, ()),
    "figures/*.png": (1, ()),
    ".lock": (1, ()),
    "../mlflow.db": (2, ()),
}
# Notes that a sweep keeps while it runs: nothing of them is there in a finished folder, anything in one that was hit.
PLANTED = (".processes.json", "lock.json", "running/0123456789abcdef.json", "failed/0123456789abcdef.json",
           "trials/0123456789abcdef.parquet", "checkpoints/0123456789abcdef.pt", "bases/0123456789abcdef.pt",
           "trials/.tmp-abc", "models/.tmp-abc/x", "damaged/x", "trials/x.parquet.bak", "unknown.txt")  # fmt: skip
WHOLE = ("trials", "failed", "figures", "models", ".")


def case(rng: random.Random, bases: dict[str, Base], chaos: str) -> Case:
    """A damaged folder and what is typed at it; `chaos` seeds the damage itself."""
    base = bases[base_of(rng)]
    name = base.name
    hits = [_hit(rng, base) for _ in range(rng.choices((1, 2, 3), (6, 2, 1))[0])]
    forged = {Path(file).stem for file, damage in hits if damage is tables.forged}
    hit = {file for file, _ in hits}
    whole = any(file in WHOLE for file in hit)

    def prepare(work: Path) -> None:
        base.copy(work)
        (work / "results").symlink_to(".")  # where --list and --dry-run look for what trials cost
        stream = random.Random(chaos)
        for file, damage in hits:
            print(f"{file}: {_do(stream, work / name / file, damage)}")

    def check(work: Path, statuses: Sequence[int]) -> list[Problem]:
        over = [s == DONE[name] for s, step in zip(statuses, steps, strict=True) if step.words[0] == words(name)[0]]
        finished = (
            bool(over and over[-1]) and name != "search"
        )  # of a search with a damaged journal other points may come
        return [*_rows(base, work / name, forged, finished), *([] if whole else _tables(base, work / name, hit))]

    steps = _steps(rng, name, base, bool(forged))
    about = "; ".join(f"{name}/{file} {damage.__name__ if damage else 'planted'}" for file, damage in hits)
    return Case("folder", about, steps, prepare, check)


def base_of(rng: random.Random) -> str:
    """Which undamaged folder a case begins with: its stream's first draw."""
    return rng.choices(tuple(DONE), (7, 3, 1))[0]


def _hit(rng: random.Random, base: Base) -> tuple[str, Damage | None]:
    """A file of the folder, or one that is planted there, and what happens to it."""
    if rng.random() < 0.12:
        return rng.choice(PLANTED), None
    if rng.random() < 0.06:
        return rng.choice(WHOLE), _folder
    folder = base.place / base.name
    there = {kind: found for kind in KINDS if (found := sorted(folder.glob(kind)))}
    kind = rng.choices(tuple(there), [KINDS[k][0] for k in there])[0]
    damage = rng.choice((*files.BYTES, *KINDS[kind][1], *KINDS[kind][1]))
    return os.path.relpath(rng.choice(there[kind]), folder), damage


def _do(rng: random.Random, path: Path, damage: Damage | None) -> str:
    """Damage a file (whatever was left of it by the damage before), or plant it."""
    if damage is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        return rng.choice((files.shape, files.junk, files.kind))(rng, path)
    if path.is_symlink() or not path.exists() or path.is_dir() != (damage is _folder):
        return "is gone already"
    try:
        return damage(rng, path)
    except (ValueError, LookupError, OSError, TypeError) as error:  # damaged before: there is no JSON or Parquet in it
        return f"damaged already ({type(error).__name__})"


def _folder(rng: random.Random, path: Path) -> str:
    """A folder is lost, empty, or a file."""
    what = rng.choice(("lost", "empty", "a file"))
    shutil.rmtree(path)
    if what == "empty":
        path.mkdir()
    elif what == "a file":
        path.write_text("x")
    return f"now {what}"


def _steps(rng: random.Random, name: str, base: Base, forged: bool) -> tuple[Step, ...]:
    """One to three commands, the dear ones less often."""
    trial = rng.choice(base.trials)
    table = {
        "status": (6, Step(("status", name), (0, 2))),
        "json": (3, Step(("status", name, "--json"), (0, 2))),
        "dry": (5, Step(("--dry-run", *words(name)), (0, 2))),
        "list": (1, Step(("--list",), (0, 2))),
        "report": (3, Step(("report", name), (0, 1, 2))),
        "csv": (2, Step(("report", name, "--csv", "all.csv"), (0, 1, 2))),
        "evaluate": (3, Step(("evaluate", name, trial), (0, 1, 2) if forged else (0, 2))),
        "resume": (3, Step((*words(name), "--resume"), (0, 1, 2, 3, 4))),
        "again": (1, Step(words(name), (0, 1, 2, 3, 4))),
        "retry": (1, Step((*words(name), "--resume", "--retry-failed"), (0, 1, 2, 3, 4))),
        "rebuild": (2, Step(("rebuild", name), (0, 1, 2), "tracking")),
    }
    chosen = rng.choices(tuple(table), [weight for weight, _ in table.values()], k=rng.choices((1, 2, 3), (5, 3, 1))[0])
    return tuple(table[key][1] for key in dict.fromkeys(chosen))


def _rows(base: Base, folder: Path, forged: set[str], finished: bool) -> list[Problem]:
    """Every trial that the project still accepts has the rows that it had; after a finished sweep none is missing."""
    from study.spec.errors import UsageError

    try:
        rows = rows_of(folder)
    except (FileNotFoundError, UsageError, ValueError) as error:  # documented: nothing is accepted
        return [(ROWS, f"the sweep ended well and cannot be read: {error}")] if finished else []
    wrong = [t for t, found in rows.items() if t in base.rows and t not in forged and found != base.rows[t]]
    lost = [t for t in base.rows if t not in rows and t not in forged] if finished else []
    return [(ROWS, f"trial {t} has other rows") for t in wrong] + [(ROWS, f"trial {t} is not there") for t in lost]


def _tables(base: Base, folder: Path, hit: set[str]) -> list[Problem]:
    """No table that was not hit is touched."""
    wrong = []
    for table in sorted((base.place / base.name / "trials").glob("*.parquet")):
        there = folder / "trials" / table.name
        if f"trials/{table.name}" not in hit and (not there.is_file() or there.read_bytes() != table.read_bytes()):
            wrong.append((ROWS, f"the sound table {table.name} was touched"))
    return wrong
