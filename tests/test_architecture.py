"""The shape of the house: imports go down, heavy libraries stay in their rooms, nothing of ours is unpickled."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.helpers import ROOT

# What may be imported where: the library's top module, and the modules of the house (or their folders) that may.
LIBRARIES = {
    "ray": {"study.sweep.ray"},
    "mlflow": {"study.tracking.runs", "study.tracking.models"},
    "boto3": {"study.store.places"},
    "botocore": {"study.store.places"},
    "art": {"study.attacks.art"},
    "optuna": {"study.sweep.search.view"},
    "moocore": {"analysis.pareto"},
    "safetensors": {
        "study.nets.checkpoints",
        "study.sweep.export.files",
        "study.sweep.worker.weights",
        "study.tracking.models",
    },
    "onnx": {"study.sweep.export.to_onnx"},
    "onnxruntime": {"study.sweep.export.to_onnx"},
    "onnxscript": {"study.sweep.export.to_onnx"},
    "pickle": set(),
    "huggingface_hub": {"study.nets.vision"},
    "torchvision": {"study.nets.vision", "study.nets.data"},
    "timm": {"study.nets.vision"},
    "torch_pruning": {"study.nets.compression.filters"},
    "tensorly": {"study.nets.compression.tensors"},
    "tltorch": set(),
    "open_clip": {"study.nets.vision"},
}
MOST_LINES = 300
HOUSE = ("study", "search_spaces", "analysis")
# Documented names, one line each.
DOORS = ("study", "study.results", "study.exported", "study.trainables", "study.trainables.base")


def modules(*packages):
    """Every module of the house (or of these packages): its name, its file, its syntax tree."""
    for package in packages or ("study", "search_spaces", "analysis", "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, path, ast.parse(path.read_text())


def imports(tree):
    """Every dotted name that a module imports, by statement or by importlib with a literal name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant))


def picture():
    """The rooms as README.md draws them, in its order: name -> the rooms that it says it imports."""
    text = (ROOT / "README.md").read_text()
    block = re.search(r"## Architecture\n.*?\n\n((?:    .*\n|\n)+)", text, flags=re.DOTALL)
    assert block, "README.md has no picture of the rooms"
    rooms = {}
    for line in block[1].splitlines():
        if found := re.match(r"    (\S+?)/?  +(.*)", line):
            name, words = found[1].removesuffix(".py").replace("/", "."), found[2]
            said = words.rpartition("imports ")[2] if "imports " in words else ""
            rooms[name] = {r.strip() for r in said.split(",")} - {"", "nothing of ours"}
    return rooms


ROOMS = picture()
SHORT = {name: name.removeprefix("study.") for name in ROOMS}


def room(name):
    """The innermost room that a dotted name lies in, as the picture calls it; None outside the house."""
    hits = [r for r in ROOMS if name == r or name.startswith(r + ".")]
    return SHORT[max(hits, key=len)] if hits else None


def graph():
    """room -> the rooms it imports, with an example each."""
    found = {SHORT[r]: {} for r in ROOMS}
    for name, _, tree in modules(*HOUSE):
        for to in imports(tree):
            here, there = room(name), room(to)
            if here and there and here != there:
                found[here].setdefault(there, f"{name} imports {to}")
    return found


def test_every_module_stands_in_a_room():
    assert [name for name, _, _ in modules(*HOUSE) if room(name) is None and name not in DOORS] == []


def test_there_is_no_circle():
    assert list(TopologicalSorter({r: set(to) for r, to in graph().items()}).static_order())


def test_the_picture_in_the_readme_is_what_the_code_imports():
    drawn = {SHORT[name]: said for name, said in ROOMS.items()}
    for name, found in graph().items():
        assert set(found) == drawn[name], f"{name}: {found}"


def test_the_picture_goes_down_only():
    order = [SHORT[r] for r in ROOMS]
    for name, found in graph().items():
        up = [why for to, why in found.items() if order.index(to) < order.index(name)]
        assert up == [], f"{name} stands below what it imports"


@pytest.mark.parametrize("library", LIBRARIES)
def test_heavy_libraries_stay_in_their_rooms(library):
    for name, _, tree in modules():
        if library in {to.partition(".")[0] for to in imports(tree)} and not name.startswith("benchmarks"):
            allowed = LIBRARIES[library]
            assert any(name == a or name.startswith(a + ".") for a in allowed), f"{name} imports {library}"


def test_planning_needs_neither_torch_nor_ray():
    code = (
        "import sys; from study.launch import main; assert main(['compressibility_sweep', '--dry-run']) == 0;"
        "assert not {'torch', 'ray', 'mlflow', 'art', 'boto3'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_files_stay_small():
    lines = {name: len(path.read_text().splitlines()) for name, path, _ in modules(*HOUSE)}
    assert {name: n for name, n in lines.items() if n > MOST_LINES} == {}


def test_tests_mirror_the_rooms():
    inner = {name.removeprefix("study.").partition(".")[0] for name in ROOMS} - {
        "launch",
        "search_spaces",
        "benchmarks",
    }
    folders = {p.name for p in (ROOT / "tests").iterdir() if p.is_dir() and p.name not in ("data", "__pycache__")}
    assert folders == inner
