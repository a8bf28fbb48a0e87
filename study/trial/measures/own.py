"""A measure of one's own: package:function, from the folder that the sweep was started in."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from study.nets import sources
from study.nets.sources import user_function
from study.spec.config import Own
from study.spec.identity import seed_for
from study.spec.names import MEANINGS
from study.spec.rows import COORDINATES, Row, row
from study.trial.state import State


def own(state: State, config: Own) -> list[Row]:
    """The rows of function(net, data): a mapping of names to numbers, or rows made by study.spec.rows.row.

    The net is a copy in evaluation mode; the global random streams of torch and NumPy are those of this trial and
    measure, and are put back. ValueError for anything else that the function returns, and for a name of the project's.
    """
    assert state.net is not None
    sources.unchanged(config.function, config.source, "measure")
    function, seed = user_function(config.function, "measure"), seed_for(state.seed, f"measure {config.function}")
    kept = np.random.get_state()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            found = function(copy.deepcopy(state.net).eval(), state.data)
    finally:
        np.random.set_state(kept)
    return _rows(found, config.function)


def _rows(found: Any, name: str) -> list[Row]:
    """What a function returned as rows."""
    wrong = f"measure {name} must return a mapping of names to numbers, or rows; got {found!r:.200}"
    try:
        rows = [row(key, value) for key, value in found.items()] if isinstance(found, Mapping) else list(found)
    except (TypeError, ValueError) as error:
        raise ValueError(wrong) from error
    for r in rows:
        if not isinstance(r, dict) or not {"measure", "value"} <= r.keys() or not isinstance(r["measure"], str):
            raise ValueError(wrong)
        if foreign := set(r) - set(COORDINATES):
            raise ValueError(
                f"measure {name}: {', '.join(sorted(foreign))} is no coordinate; {', '.join(COORDINATES)} are"
            )
        if r["measure"] in MEANINGS:
            raise ValueError(f"measure {name}: {r['measure']} is a measure of the project's; give it a name of its own")
    return rows
