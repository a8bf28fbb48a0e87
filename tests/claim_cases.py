"""Studies, tables and claims made by hand, small enough to know their numbers."""

import numpy as np
import pandas as pd

from analysis.claims import Claim, Control, Regime, Rows, Term
from study.spec.knobs import AXES
from study.store import results
from study.store.manifest import ArmRecord, Manifest

OFF = {name: knob.default for name, knob in AXES.items()}


ACCURACY = Term(measure="clean_accuracy", split="test")


BITS = (0, 8, 4, 2, 1)


def study(*named, **more):
    """The manifest of arms given as (name, axes)."""
    arms = tuple(ArmRecord(name=name, family="compressed", axes=axes) for name, axes in named)
    given = {"name": "mine", "data": "digits", "model": "fcn", "settings": {}}
    return Manifest(**(given | more), arms=arms, axes_off=OFF, seeds=tuple(range(6)), trials=())


MINE = study(("bits", {"bits": BITS}), ("tuned", {"bits": BITS, "finetune": ("standard",), "finetune_epochs": (3,)}))


def table(value, asked=MINE, seeds=6, noise=0.01):
    """Every point of a study at some seeds, its clean accuracy value(arm name, axes) and a little noise."""
    random, rows = np.random.default_rng(0), {}
    for arm in asked.arms:
        points = [{}]
        for axis, values in arm.axes.items():
            points = [p | {axis: v} for p in points for v in values]
        for point in points:
            for seed in range(seeds):
                name = f"{point}{seed}"
                identity = {"trial": name, "seed": seed, "status": "ok", "family": "compressed", "deterministic": True}
                number = value(arm.name, point) + noise * random.standard_normal()
                rows[name] = identity | OFF | point | {"measure": "clean_accuracy", "split": "test", "value": number}
    return pd.DataFrame(rows.values()).reindex(columns=results.COLUMNS)


def claim(statistic, *others, arm="bits", axis="bits", at=None, **more):
    """A claim about clean accuracy, whose control is the first arm's most compressed level."""
    rows = Rows(arm=arm, y=ACCURACY, axis=axis, at=at or {})
    control = Control(words="w", arm="tuned", axis="bits", at={"bits": 1} if at else {})
    given = {"id": "mine", "source": "me", "quote": "It is so.", "control": control, "regime": Regime(clean=False)}
    return Claim(rows=rows, statistic=statistic, against=others, **(given | more))


def falls(step):
    """Clean accuracy that falls by `step` from level to level of the bits."""
    return lambda arm, axes: 0.9 - step * BITS.index(axes["bits"])
