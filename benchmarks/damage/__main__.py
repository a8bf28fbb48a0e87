"""A seeded fuzz: `python -m benchmarks.damage [--seed N] [--cases N] [--json]`, one case alone with `--case K`.

Command lines, results folders, users' functions and data are damaged, each case by random numbers of its own; each
command runs in a process forked from this one. No damage may bring a traceback, an endless wait, a row that differs
from the undamaged sweep's, or an exit status that is not documented. Case K does the same in every run of the seed.
"""

import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from benchmarks.common import figure, show
from benchmarks.damage import base, folders, pictures, users, words
from benchmarks.damage.case import KINDS, Case, Found, run, stream

ORDER = ("words", "folder", "function", "words", "folder", "function", "folder", "words", "folder", "pictures")
LANES = 2


def needed(seed: int, numbers: Sequence[int]) -> set[str]:
    """The undamaged folders that the cases begin with."""
    return {"norms", *(folders.base_of(stream(seed, k)) for k in numbers if ORDER[k % len(ORDER)] == "folder")}


def case_of(seed: int, number: int, bases: dict[str, base.Base]) -> Case:
    """Case `number` of a seed."""
    rng, chaos, store = stream(seed, number), f"{seed} {number} damage", bases["norms"].place / "mlflow.db"
    kind = ORDER[number % len(ORDER)]
    if kind == "words":
        return words.case(rng, bases["norms"])
    if kind == "folder":
        return folders.case(rng, bases, chaos)
    return users.case(rng, store) if kind == "function" else pictures.case(rng, store, chaos)


def lane(seed: int, left: int, bases: dict[str, base.Base], scratch: Path, output: Path) -> None:
    """Run case after case, a JSON line each, while there are numbers `left`: a file whose place all lanes share."""
    with output.open("w") as lines:
        while record := os.read(left, 8):
            number = int.from_bytes(record)
            case = case_of(seed, number, bases)
            found = run(case, scratch)
            line = {"case": number, "kind": case.kind, "about": case.about, "seconds": found.seconds}
            print(json.dumps(line | {"problems": found.problems}), file=lines, flush=True)


def in_lanes(seed: int, numbers: Iterable[int], bases: dict[str, base.Base], scratch: Path) -> list[dict[str, Any]]:
    """All cases, in LANES processes that fork theirs."""
    queue = scratch / "numbers"
    queue.write_bytes(b"".join(number.to_bytes(8) for number in numbers))
    left, outputs, children = os.open(queue, os.O_RDONLY), [scratch / f"lane{i}.jsonl" for i in range(LANES)], []
    for output in outputs:
        if (pid := os.fork()) == 0:
            status = 1
            try:
                lane(seed, left, bases, scratch, output)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(pid)
    os.close(left)
    ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    if any(ends):
        sys.exit(f"the fuzz itself ended early: {ends}")
    lines = [json.loads(line) for output in outputs for line in output.read_text().splitlines()]
    return sorted(lines, key=lambda record: record["case"])


def told(seed: int, case: Case, found: Found) -> str:
    """One case in full."""
    return "\n".join([f"{case.kind}: {case.about}", *found.said, *(f"{kind}: {what}" for kind, what in found.problems)])


def main(
    *,
    seed: Annotated[int, Parameter(help="Seed of all cases.")] = 0,
    cases: Annotated[int, Parameter(help="How many.")] = 1000,
    case: Annotated[int | None, Parameter(help="This case alone, with all that it prints.")] = None,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object per figure.")] = False,
) -> int:
    """Damage, and count what must not come of it; 1 when anything did."""
    began, numbers = time.monotonic(), range(cases) if case is None else [case]
    with tempfile.TemporaryDirectory(prefix="damage-") as made:
        scratch = Path(made)
        bases = base.bases(needed(seed, numbers), scratch)
        if case is not None:
            chosen = case_of(seed, case, bases)
            found = run(chosen, scratch)
            print(told(seed, chosen, found))
            return int(bool(found.problems))
        records = in_lanes(seed, numbers, bases, scratch)
    counts: Counter[str] = Counter()
    for record in records:
        for kind, what in (problems := record["problems"]):
            again = f"python -m benchmarks.damage --seed {seed} --case {record['case']}"
            print(f"{kind}: {record['kind']} ({record['about']}): {what} | {again}", file=sys.stderr)
        counts.update({kind for kind, _ in problems})
    figures = [figure("cases", [len(records)], "cases")]
    figures += [figure(f"{kind}s" if not kind.endswith("s") else kind, [counts[kind]], "cases", 0.0) for kind in KINDS]
    figures += [figure("processor time of the cases", [sum(r["seconds"] for r in records)], "s")]
    figures += [figure("time", [time.monotonic() - began], "s", 600.0)]
    show(figures, json_)
    return int(any(counts.values()))


if __name__ == "__main__":
    sys.exit(cyclopts.run(main))
