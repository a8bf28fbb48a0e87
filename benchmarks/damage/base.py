"""The undamaged: small results folders of real sweeps, what their tables hold, and all imports that commands need."""

import contextlib
import functools
import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.damage.case import Step, command
from benchmarks.damage.forks import forked

# The measure fails for nets of a rank, so that the sweep leaves a note of failure.
MINE = '''
def odd(net, data):
    """The share of positive weights; nothing for factorized nets."""
    weights = list(net.parameters())
    if sum(W.numel() for W in weights) < 600:
        raise RuntimeError("no such net")
    return {"positive": float((weights[0] > 0).float().mean())}
'''
TINY = ("width=8", "depth=2", "epochs=1", "test_size=60", "attack_iterations=2", "gap_iterations=2")
SETTINGS: dict[str, tuple[str, Sequence[str], Sequence[str]]] = {
    "norms": ("operator_norm_study", ("rows=8", "columns=8", "ascent_steps=10"), ()),
    "sweep": ("compressibility_sweep", (*TINY, "rank=0,2", "measures=mine:odd"), ("--seeds", "1")),
    "search": ("pareto_search", (*TINY, "train_steps=1", "evaluations=3", "finalists=1", "floor=0"), ("--seeds", "1")),
}
# The heaviest of what commands import; the rest is seen in the children that make the folders.
HEAVY = ("study.launch", "study.tracking.__main__", "study.tracking.models", "study.sweep.go", "study.sweep.evaluate",
         "study.trial.run", "study.sweep.search.asking", "analysis.report", "torch._dynamo", "sqlalchemy.orm",
         "alembic.command", "matplotlib.backends.backend_agg")  # fmt: skip
DONE = {"norms": 0, "sweep": 3, "search": 0}


def words(name: str) -> tuple[str, ...]:
    """The command that makes the results folder `name`, and goes on with it."""
    study, settings, more = SETTINGS[name]
    sets = [word for setting in settings for word in ("--set", setting)]
    return (study, "--preset", "smoke", "--in-process", "--output", name, *more, *sets)


@dataclass(frozen=True)
class Base:
    """One undamaged working folder: its place, with the results in `name` and the store that they were logged in."""

    name: str
    place: Path

    @functools.cached_property
    def rows(self) -> dict[str, list[str]]:
        """The deterministic rows of each finished trial, as text."""
        found: dict[str, list[str]] = json.loads((self.place / "rows.json").read_text())
        return found

    @property
    def trials(self) -> list[str]:
        """The fingerprints of the finished trials."""
        return sorted(self.rows)

    def copy(self, work: Path) -> None:
        """Everything into a case's own folder."""
        shutil.copytree(self.place, work, dirs_exist_ok=True, symlinks=True)


def rows_of(folder: Path) -> dict[str, list[str]]:
    """The deterministic rows of every trial that the project accepts in a folder, failed ones apart, as sorted text.

    What the tables say: the column `arm` is no part of them, it comes from study.json, and is null where that is
    damaged.
    """
    from study import results

    frame = results.read(folder)
    frame = frame[frame["deterministic"] & (frame["status"] != "failed")].drop(columns="arm")
    rows: dict[str, list[str]] = {}
    for record in frame.to_dict("records"):
        said = sorted((k, text) for k, v in record.items() if (text := _plain(v)))
        rows.setdefault(record["trial"], []).append(repr(said))
    return {trial: sorted(lines) for trial, lines in rows.items()}


def _plain(value: Any) -> str:
    """A cell as text, nothing for null; pandas makes floats of whole numbers where another row of theirs has none."""
    if value is None or value != value:
        return ""
    return repr(float(value)) if isinstance(value, int | float) else repr(value)


def bases(names: Iterable[str], root: Path) -> dict[str, Base]:
    """The undamaged working folders of these names."""
    for name in HEAVY:
        importlib.import_module(name)
    return {name: make(name, root) for name in SETTINGS if name in set(names)}


def make(name: str, root: Path) -> Base:
    """Run the sweep `name` in a child, keep its rows, and import here whatever the child had to import."""
    place = root / name
    place.mkdir()
    (place / "mine.py").write_text(MINE)
    steps = [Step(words(name), (DONE[name],)), Step(("report", name), (0,)), Step(("rebuild", name), (0,), "tracking")]
    if name != "norms":
        steps.append(Step(("status", name), (0,)))
    env = {"MLFLOW_TRACKING_URI": f"sqlite:///{place / 'mlflow.db'}", "RAY_ADDRESS": "", "HOME": str(root)}
    for step in steps:
        ended = forked(lambda step=step: _noted(step, root), place, root / "log", os.environ | env)  # type: ignore[misc]
        if ended.status not in step.fine:
            sys.exit(f"the undamaged {name} cannot be made: {step}\n{ended.out}{ended.err}")
        _import(root / "modules.json")
    (place / "rows.json").unlink(missing_ok=True)
    ended = forked(lambda: _keep_rows(place, name), place, root / "log", os.environ | env)
    if ended.status:
        sys.exit(f"the rows of the undamaged {name} cannot be read: {ended.err}")
    return Base(name, place)


def _keep_rows(place: Path, name: str) -> None:
    (place / "rows.json").write_text(json.dumps(rows_of(place / name)))


def _noted(step: Step, root: Path) -> int:
    try:
        return command(step)
    finally:
        names = [n for n in sys.modules if n.partition(".")[0] not in ("__main__", "mine")]
        (root / "modules.json").write_text(json.dumps(names))


def _import(path: Path) -> None:
    """Import here what a child has imported, in its order: the next child finds it there."""
    for name in json.loads(path.read_text()):
        if name not in sys.modules:
            with contextlib.suppress(Exception):  # names that their package makes: a child makes them again
                importlib.import_module(name)
