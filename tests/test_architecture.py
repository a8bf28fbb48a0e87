"""The shape of the house: imports go down, heavy libraries stay in their rooms, nothing of ours is unpickled."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOORS = [
    {"study.theory", "study.config", "study.space", "study.results", "study.datasets", "study.costs", "study.names",
     "study.rows", "study.objectives", "study.domains", "study.storage", "study.mirror"},
    {"study.data", "study.splits", "study.models", "study.penalties", "study.compression", "study.attacks"},
    {"study.adversary", "study.train", "study.freeze", "study.losses", "study.optimise", "study.state", "study.stages",
     "study.measures"},
    {"study.trial"},
    {
        "study.job", "study.forked", "study.listener", "study.heartbeat", "study.watch", "study.status",
        "study.monitor", "study.attempt", "study.trainables", "study.plan",
        "study.console", "study.source", "study.journal", "study.search", "study.searching", "study.asking",
        "study.weights", "study.refusals", "study.lease",
        "study.runner", "study.tracking", "study.check", "study.listing",
    },
    {"study.preflight", "study.evaluate", "study.sweep", "study.fetch", "study.cluster", "study.launch"},
]  # fmt: skip
ROOMS = {
    "ray": {"study.trainables.base", "study.trainables.backend", "study.trainables.nodes", "study.cluster"},
    "mlflow": {"study.tracking.runs", "study.tracking.models"},
    "boto3": {"study.storage"},
    "botocore": {"study.storage"},
    "art": {"study.attacks.art"},
    "optuna": {"study.search"},
    "moocore": {"analysis.pareto"},
    "safetensors": {"study.weights"},
    "pickle": set(),
    "timm": {"study.models.pretrained"},
    "open_clip": {"study.models.pretrained"},
}


def modules():
    for package in ("study", "search_spaces", "analysis", "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, ast.parse(path.read_text())


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(name):
    hits = [i for i, rooms in enumerate(FLOORS) if any(name == r or name.startswith(r + ".") for r in rooms)]
    return hits[0] if hits else None


def test_imports_go_down_only():
    wrong = []
    for name, tree in modules():
        if not name.startswith("study.") or floor(name) is None:
            assert name in ("study",) or not name.startswith("study"), f"{name} stands on no floor"
            continue
        wrong += [(name, to) for to in imports(tree) if floor(to) is not None and floor(to) > floor(name)]
    assert wrong == []


def test_heavy_libraries_stay_in_their_rooms():
    for name, tree in modules():
        for to in imports(tree):
            top = to.partition(".")[0]
            if top in ROOMS and not name.startswith("benchmarks"):
                assert name in ROOMS[top], f"{name} imports {top}"


def test_analysis_reads_results_only():
    for name, tree in modules():
        if name.startswith("analysis"):
            assert {to for to in imports(tree) if to.startswith("study.")} <= {"study.results"}, name
        if name.startswith("search_spaces."):
            ours = {to for to in imports(tree) if to.startswith("study")}
            assert all(to.startswith(("study.space", "study.config")) for to in ours), name


def test_theory_imports_nothing_of_ours():
    for name, tree in modules():
        if name.startswith("study.theory."):
            assert all(not to.startswith("study") or to.startswith("study.theory") for to in imports(tree)), name


def test_planning_needs_neither_torch_nor_ray():
    code = (
        "import sys; from study.launch import main; assert main(['compressibility_sweep', '--dry-run']) == 0;"
        "assert not {'torch', 'ray', 'mlflow', 'art', 'boto3'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_files_stay_small():
    long = {n: len(ast.unparse(t).splitlines()) for n, t in modules() if len(ast.unparse(t).splitlines()) > 260}
    assert long == {}
