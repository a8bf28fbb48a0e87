"""Users' functions from a grammar: data, models, measures and penalties that are right, odd, or raise anything."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from benchmarks.damage.case import END, ROWS, Case, Problem, Step
from benchmarks.damage.grammar import BAD, CALM, IMAGES, LABELS, MODULES, RAISED, RETURNED
from benchmarks.damage.grammar_nets import COSTS, NET, NETS, NUMBERS, OUTPUTS

PLAIN = '''"""A study of one tiny net, without claims and figures."""
from study.spec.studies import Arm, Preset, Study

SETTINGS = {"width": 4, "depth": 2, "epochs": 1, "batch_size": 32, "attack_iterations": 1, "gap_iterations": 1}
ARM = Arm(name="one", family="regularization", axes={"alpha": (0.01,), "frobenius": (0.0,)})
SMOKE = Preset(arms=(ARM,), seeds=(0,), settings=SETTINGS)
STUDY = Study(name="plain", question="Does it run?", presets={"smoke": SMOKE})
'''
DATA = """
import numpy as np
rng = np.random.default_rng(0)
n, m = 40, 20
x, tx = rng.random((n, 1, 4, 4), dtype="f4"), rng.random((m, 1, 4, 4), dtype="f4")
y, ty = np.arange(n) % 2, np.arange(m) % 2
"""


def case(rng: random.Random, store: Path) -> Case:
    """One study of one net, with a function of the user's as its data, model, measure or penalty."""
    kind = rng.choices(("data", "model", "measure", "penalty"), (8, 7, 3, 2))[0]
    source, said = {"data": _data, "model": _model, "measure": _measure, "penalty": _penalty}[kind](rng)
    if rng.random() < 0.12:
        said = rng.choice(MODULES).format(f=kind)
        source += f"\n{said}\n"
    words = ["plain:STUDY", "--preset", "smoke", "--in-process", "--output", "out"]
    words += {
        "data": ["--data", "mine:data"],
        "model": ["--model", "mine:model"],
        "measure": ["--set", "measures=mine:measure"],
        "penalty": ["--set", "penalty=mine:penalty"],
    }[kind]
    words += [] if kind == "data" else ["--set", "train_size=40", "--set", "test_size=20"]
    own = {130: "KeyboardInterrupt", 1: "OSError(28"}  # a full disk is one, whoever finds it
    steps = [Step(tuple(words), (0, 2, 3, *(status for status, raised in own.items() if raised in source)))]
    steps += [Step(("--dry-run", *words), steps[0].fine)] if rng.random() < 0.1 else []
    steps += [Step(("status", "out"), (0, 2))] if rng.random() < 0.2 else []

    def prepare(work: Path) -> None:
        (work / "mine.py").write_text(source, errors="surrogatepass")
        (work / "plain.py").write_text(PLAIN)
        (work / "mlflow.db").write_bytes(store.read_bytes())

    def check(work: Path, statuses: Sequence[int]) -> list[Problem]:
        return finished(work / "out", statuses[0], BAD in source)

    return Case("function", f"{kind}: {said}".replace(BAD, ""), tuple(steps), prepare, check)


def finished(output: Path, status: int, bad: bool) -> list[Problem]:
    """Status 0 means that every trial has its table, 3 that each has a table or a note; what is bad has none."""
    if status not in (0, 3):
        return []
    if not (output / "study.json").is_file():
        return [(END, f"status {status} and nothing was run")]
    trials = json.loads((output / "study.json").read_text())["trials"]
    done = {path.stem for path in output.glob("trials/*.parquet")}
    failed = {path.stem for path in output.glob("failed/*.json")} if status == 3 else set()
    problems = [(ROWS, "rows were made of what cannot be right")] if bad and done else []
    return problems + [
        (END, f"status {status}, and of trial {t} there is nothing") for t in set(trials) - done - failed
    ]


def _data(rng: random.Random) -> tuple[str, str]:
    what = rng.choices(("images", "labels", "returned", "raised", "calm"), (5, 6, 3, 4, 2))[0]
    body, answer = "pass", "x, y, tx, ty"
    if what in ("images", "labels"):
        said = rng.choice(IMAGES if what == "images" else LABELS)
        value = said.replace(BAD, "")
        target = "x" if what == "images" else "y"
        both = rng.random() < 0.7  # the test images too
        body = f"def made(n, x, y):\n        return {value}\n"
        body += f"    {target}{', t' + target if both else ''} = made(n, x, y){', made(m, tx, ty)' if both else ''}"
        body += BAD if BAD in said else ""
    else:
        said = rng.choice({"returned": RETURNED, "raised": RAISED, "calm": CALM}[what])
        body, answer = (body, said) if what == "returned" else (said, answer)
    outer = "x, y, tx, ty, n, m, rng"
    return f"{DATA}\ndef data():\n    global {outer}\n    {body}\n    return {answer}\n", said


def _model(rng: random.Random) -> tuple[str, str]:
    what = rng.choices(("net", "output", "raised", "forward", "later", "calm"), (4, 5, 3, 3, 2, 1))[0]
    said = rng.choice({"net": NETS, "output": OUTPUTS, "calm": CALM}.get(what, RAISED))
    if what in ("net", "raised", "calm"):
        body = f"return {said}" if what == "net" else f"{said}\n    return NET"
        body = body.replace("NET", NET)
        return (
            f"import numpy as np\nimport torch\nfrom torch import nn\n\ndef model(shape, classes):\n    {body}\n",
            said,
        )
    count = rng.choice((20, 60)) if what == "later" else 0  # calls: past the first look, in training or while attacked
    forward = f"calls.append(1)\n        if len(calls) > {count}:\n            {said if what != 'output' else 'pass'}"
    return (
        "import torch\nfrom torch import nn\ncalls = []\n\n"
        "class Net(nn.Module):\n    def __init__(self, shape, classes):\n        super().__init__()\n"
        f"        self.inner = {NET}\n\n"
        f"    def forward(self, x):\n        {forward}\n        z = self.inner(x)\n"
        f"        return {said if what == 'output' else 'z'}\n\n"
        "def model(shape, classes):\n    return Net(shape, classes)\n"
    ), f"{what} {said}"


def _measure(rng: random.Random) -> tuple[str, str]:
    said = rng.choice((*NUMBERS, *RAISED))
    body = f"return {said}" if said in NUMBERS else said
    return f"import numpy as np\nimport torch\n\ndef measure(net, data):\n    {body}\n", said


def _penalty(rng: random.Random) -> tuple[str, str]:
    said = rng.choice((*COSTS, *RAISED))
    body = f"return {said}" if said in COSTS else said
    return f"import torch\n\ndef penalty(matrices):\n    {body}\n", said
