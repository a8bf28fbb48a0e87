"""How long a sweep on a local Ray takes until its first trial begins, in wall seconds from its command.

    python -m benchmarks.start                 # five starts
    python -m benchmarks.start --before DIR    # of another checkout in turn

`plan`: its estimate stands on the terminal. `folder`: Ray is up and study.json stands. `trial`: the first
trial shows its sign of
life. Wall seconds, so run it on a machine that does nothing else.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from benchmarks.common import Figure, figure, show
from study.store import layout

GOAL = 6.0  # seconds from plan to first trial
WORDS = ["compressibility_sweep", "--preset", "smoke", "--output"]
LAST_LINE = "results in"
MOST = 120.0


def start(checkout: Path) -> dict[str, float]:
    """One start: seconds from the command to the plan, the folder, the first trial; the sweep is then ended."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "out")
        words = [sys.executable, "-u", "-m", "study.launch", *WORDS, str(folder)]
        began = time.monotonic()
        seen: dict[str, float] = {}
        process = subprocess.Popen(
            [*words, "--tracking-uri", f"sqlite:///{scratch}/mlflow.db"],
            cwd=scratch, env={**os.environ, "PYTHONPATH": str(checkout)}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        said: list[str] = []

        def listen() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                said.append(line)
                if LAST_LINE in line:
                    seen.setdefault("plan", time.monotonic() - began)

        threading.Thread(target=listen, daemon=True).start()
        try:
            while "trial" not in seen:
                if process.poll() is not None or time.monotonic() - began > MOST:
                    sys.exit(f"no trial began:\n{''.join(said)}")
                if (folder / layout.STUDY).exists():
                    seen.setdefault("folder", time.monotonic() - began)
                if any((folder / layout.RUNNING).glob("*")):
                    seen["trial"] = time.monotonic() - began
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    return seen


def main(
    *,
    before: Annotated[Path | None, Parameter(help="Another checkout, measured in turn with this one.")] = None,
    repeats: Annotated[int, Parameter(help="How many starts.")] = 5,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object per figure.")] = False,
) -> None:
    """Measure the start of a sweep."""
    checkouts = {"": Path(__file__).resolve().parent.parent} | ({"before: ": before.resolve()} if before else {})
    found: dict[str, list[dict[str, float]]] = {which: [] for which in checkouts}
    for _ in range(repeats):
        for which, checkout in checkouts.items():
            found[which].append(start(checkout))
    figures: list[Figure] = []
    for which, starts in found.items():
        figures.append(figure(f"{which}command to plan", [s["plan"] for s in starts], "s"))
        figures.append(figure(f"{which}plan to folder", [s["folder"] - s["plan"] for s in starts], "s"))
        goal = None if which else GOAL
        figures.append(figure(f"{which}plan to first trial", [s["trial"] - s["plan"] for s in starts], "s", goal))
    show(figures, json_)


if __name__ == "__main__":
    cyclopts.run(main)
