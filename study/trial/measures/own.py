"""A measure of one's own: package:function, from the folder that the sweep was started in."""

from collections.abc import Mapping

from study.nets.sources import user_function
from study.spec.config import Own
from study.spec.rows import Row, row
from study.trial.state import State


def own(state: State, config: Own) -> list[Row]:
    """The rows of function(net, data): a mapping of names to numbers, or rows made by study.spec.rows.row.

    The net is in evaluation mode. ValueError for anything else that the function returns.
    """
    assert state.net is not None
    assert state.data is not None
    found = user_function(config.function, "measure")(state.net.eval(), state.data)
    rows = [row(name, value) for name, value in found.items()] if isinstance(found, Mapping) else list(found)
    if not all(isinstance(r, dict) and {"measure", "value"} <= r.keys() for r in rows):
        raise ValueError(f"measure {config.function} must return a mapping of names to numbers, or rows; got {found!r}")
    return rows
