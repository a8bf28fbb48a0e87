"""Which arms of its study a trial belongs to. The net that several arms begin from belongs to each of them."""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from study.spec.errors import UsageError, closest
from study.spec.expand import settled
from study.spec.knobs import AXES, KNOBS
from study.store.manifest import Manifest

if TYPE_CHECKING:
    import pandas as pd

COLUMN = "arm"
BETWEEN = ", "


class Arms:
    """The arms of a study by the axes of their points."""

    def __init__(self, study: Manifest) -> None:
        moved = [axis for arm in study.arms for axis in arm.axes]
        settings = {n: study.settings.get(n, KNOBS[n].default) for n in moved if n in KNOBS and n not in AXES}
        self.base = {name: knob.default for name, knob in AXES.items()} | settings | dict(study.axes_off)
        self._names: dict[tuple[Any, ...], list[str]] = {}
        for arm in study.arms:
            for values in itertools.product(*arm.axes.values()):
                axes = settled(self.base | dict(zip(arm.axes, values, strict=True)), study.settings)
                found = self._names.setdefault(tuple(axes[name] for name in self.base), [])
                found += [arm.name] if arm.name not in found else []

    def of(self, axes: Mapping[str, Any]) -> list[str]:
        """The arms of a trial by its axes (other keys are let pass; an axis that is not there stands at its base);
        none for a search's."""
        return self._names.get(tuple(axes.get(name, value) for name, value in self.base.items()), [])

    def text(self, axes: Mapping[str, Any]) -> str | None:
        """They as one text, `neuron, spectral`; None where there is none."""
        return BETWEEN.join(self.of(axes)) or None


def arm(frame: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """The rows of one arm of a table that study.results.read gave, the trials that it shares with other arms included.

    UsageError, naming those that there are, for an arm that the table has not.
    """
    arms = {text: text.split(BETWEEN) for text in frame[COLUMN].dropna().unique()}
    known = sorted({one for found in arms.values() for one in found})
    if name not in known:
        raise UsageError(
            f"arm {name!r} is not in this table{closest(name, known)} It has: {', '.join(known) or 'none'}"
        )
    return frame[frame[COLUMN].isin([text for text, found in arms.items() if name in found])]
