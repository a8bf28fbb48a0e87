"""docs/extending.md, done: a study of one's own with all that is its own, to its report; and what is added inside the
project, at as many places as the page says, in a copy of it."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

from study.results import read
from tests.helpers import ROOT, launch

PAGE = (ROOT / "docs/extending.md").read_text()


def example(name):
    """A file that docs/extending.md shows, by the comment in its first line."""
    found = re.search(rf"```python\n(# {re.escape(name)}.*?)```", PAGE, flags=re.DOTALL)
    assert found, f"docs/extending.md shows no {name}"
    return found[1]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The package of docs/extending.md, run from its folder."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("mine.py", "parts.py", "own_study.py"):
        (folder / name).write_text(example(name))
    done = launch("own_study:STUDY", "--preset", "smoke", "--in-process", "--output", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_study_of_ones_own_runs_to_its_report(own):
    folder, done = own
    frame = read(folder / "out")
    assert set(frame["model"]) == {"mine:small"}
    assert (frame["measure"] == "dead_units").sum() == frame["trial"].nunique()
    assert set(frame["penalty"]) == {"parts:ridge", "group_lasso"}, "without a strength there is no penalty of its own"
    assert set(frame["batch_size"]) == {50, 100}, "a knob that is moved is a column"
    page = (folder / "out/report.html").read_text()
    assert "A larger ridge leaves fewer units dead." in page
    assert (folder / "out/figures/dead-batch_size-50.png").exists()
    assert "At batch_size 100: A larger ridge" in page
    assert "too few for an interval" in done.stdout


def test_its_report_is_made_again_where_the_study_is_named_and_does_without_elsewhere(own, tmp_path):
    folder, _ = own
    again = launch("report", "out", "--study", "own_study:STUDY", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "A larger ridge leaves fewer units dead." in again.stdout
    shutil.copytree(folder / "out", tmp_path / "out")
    elsewhere = launch("report", "out", cwd=tmp_path)
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert "left out; name it to have them: --study own_study:STUDY" in elsewhere.stderr
    assert (tmp_path / "out/figures/plain-batch_size-50.png").exists()
    wrong = launch("report", "out", "--study", "compressibility_sweep", cwd=tmp_path)
    assert (wrong.returncode, "the folder holds own_study" in wrong.stderr) == (2, True)


def test_no_module_is_imported_because_a_results_folder_names_it(own, tmp_path):
    folder, _ = own
    shutil.copytree(folder / "out", tmp_path / "out")
    (tmp_path / "own_study.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    assert launch("report", "out", cwd=tmp_path).returncode == 0
    assert launch("status", "out", cwd=tmp_path).returncode == 0
    assert not (tmp_path / "imported").exists()


def test_an_edited_measure_is_another_trial(own):
    folder, _ = own
    source = (folder / "parts.py").read_text()
    try:
        (folder / "parts.py").write_text(source + "\n# edited\n")
        done = launch("own_study:STUDY", "--preset", "smoke", "--in-process", "--output", "out", cwd=folder)
        assert done.returncode == 2
        assert "holds another configuration" in done.stderr
    finally:
        (folder / "parts.py").write_text(source)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project that tests may add to."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("study", "analysis", "search_spaces"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def added(project, places):
    """Make the edits {file: (after which text, new text)}; a new file is given whole. How many places were touched."""
    for name, change in places.items():
        path = project / name
        if isinstance(change, str):
            path.write_text(textwrap.dedent(change))
            continue
        text, (after, new) = path.read_text(), change
        assert text.count(after) == 1, (name, after)
        path.write_text(text.replace(after, after + new))
    return len(places)


def said(what):
    """The number of places that docs/extending.md gives for adding something inside the project."""
    return int(re.search(rf"^\| {what} \|.*\| (\d+) \|$", PAGE, flags=re.MULTILINE)[1])


READ = """
from study.results import read
t = read("out")
print(sorted(set(t["burn_in"])), sorted(set(t["penalty"])), t[t["measure"] == "depth_measured"]["value"].tolist())
"""


def environment(project):
    return os.environ | {"PYTHONPATH": str(project)}


def run(project, *words):
    return subprocess.run(
        [sys.executable, "-m", "study.launch", *words, "--in-process", "--output", "out", "--set", "epochs=1", "--set",
         "test_size=40", "--set", "width=16", "--set", "attack_iterations=2", "--set", "gap_iterations=2",
         "--set", "depth=2", "--seeds", "1"],
        cwd=project, env=environment(project), capture_output=True, text=True, check=False,
    )  # fmt: skip


PLACES = {
    "a study": {
        "search_spaces/new.py": '''
            """What is new?"""

            from study.spec.studies import Arm, Preset, Study

            AXES = {"alpha": (0.0, 0.1), "frobenius": (1.0,), "penalty": ("ridge",), "burn_in": (0, 3)}
            ARM = Arm(name="neuron", family="regularization", axes=AXES)
            STUDY = Study(
                name="new",
                question="What is new?",
                presets={"laptop": Preset(arms=(ARM,), seeds=(0,))},
            )
            ''',
    },
    "a claim": {
        "analysis/claims/paper_a/dense.py": (
            "CLAIMS: tuple[Claim, ...] = (\n",
            '    Claim(id="A-new", source="A", quote="New.", statistic="spearman",\n'
            '          rows=neuron(residual(NU), kept("linf")), regime=Regime(robust="linf", structure=NU)),\n',
        ),
        "search_spaces/new.py": ('    question="What is new?",\n', '    claims=("A-new",),\n'),
    },
    "a penalty": {
        "study/nets/penalties.py": (
            '    "group_lasso": group_lasso,\n',
            '    "ridge": lambda matrices: sum(W.square().sum() for W in matrices),\n',
        ),
        "study/spec/knobs.py": ('PENALTIES = ("group_lasso", ', '"ridge", '),
    },
    "a knob": {
        "study/spec/knobs.py": (
            "    # A matrix without data or net.\n",
            '    "burn_in": Knob(int, 0, low=0, high=9, families=NETS, help="epochs before the penalty"),\n',
        ),
        "study/spec/config.py": ('    penalty: str = ""\n', "    burn_in: int = 0\n"),
        "study/spec/families/common.py": (
            '        frobenius=point["frobenius"],\n',
            '        burn_in=point["burn_in"],\n',
        ),
    },
    "a measure": {
        "study/trial/measures/depth.py": """
            from study.nets import net as nets
            from study.spec.rows import row


            def depth(state, config):
                return [row("depth_measured", len(nets.layers(state.net)))]
            """,
        "study/spec/measures.py": ("Measure = (\n    Accuracy\n", "    | Depth\n"),
        "study/trial/measures/__init__.py": ("    Cost: cost,\n", "    Depth: depth,\n"),
        "study/spec/names.py": (
            "MEANINGS: dict[str, tuple[str, str]] = {\n",
            '    "depth_measured": ("hidden layers", "from 1"),\n',
        ),
        "study/spec/families/common.py": ("    return (accuracy(point), ", "Depth(), "),
    },
}
CLASS = "@dataclass(frozen=True, kw_only=True)\nclass {}:\n"
ABOVE = {  # what the new names need above them: (before which text, new text)
    "study/spec/measures.py": (CLASS.format("Own"), CLASS.format("Depth") + '    """How deep."""\n\n\n'),
    "study/trial/measures/__init__.py": (
        "from study.trial.state import",
        "from study.spec.measures import Depth\nfrom study.trial.measures.depth import depth\n",
    ),
    "study/spec/families/common.py": ("from study.spec.config import (", "from study.spec.measures import Depth\n"),
}


@pytest.mark.parametrize("what", PLACES)
def test_what_is_added_inside_the_project_takes_as_many_places_as_the_page_says(what):
    assert said(what) == len(PLACES[what])


def test_everything_added_runs_together(project):
    """A new study with a new penalty, knob (as an axis), measure and claim, in a copy of the project, to its report."""
    for places in PLACES.values():
        added(project, places)
    for name, (before, new) in ABOVE.items():
        path = project / name
        assert before in path.read_text(), (name, before)
        path.write_text(path.read_text().replace(before, new + before, 1))
    done = run(project, "new")
    assert done.returncode == 0, done.stderr
    assert "4 of 4 trials finished" in done.stdout
    assert "A-new" in json.dumps(json.loads((project / "out/study.json").read_text())["claims"])
    page = (project / "out/report.html").read_text()
    assert "New.</b><br>Regime not reached" in page
    table = subprocess.run(
        [sys.executable, "-c", READ], cwd=project, env=environment(project), capture_output=True, text=True, check=True
    )
    assert table.stdout.strip() == "[0, 3] ['group_lasso', 'ridge'] [2.0, 2.0, 2.0, 2.0]"
