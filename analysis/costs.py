"""What the nets of a study cost, level by level; docs/compression.md has the definitions."""

from dataclasses import dataclass

import pandas as pd

from analysis.levels import AT, SEEDS, nets
from analysis.tables import per_trial
from study.store.manifest import Manifest


@dataclass(frozen=True)
class Column:
    """A measure as it is shown: its head, the factor to its unit there, and how many digits."""

    head: str
    factor: float = 1.0
    digits: str = ",.0f"


COLUMNS = {
    "parameters": Column("parameters"),
    "stored_bytes": Column("stored bytes"),
    "macs": Column("MACs"),
    "inference_bytes": Column("bytes in a pass"),
    "integer_inference_bytes": Column("bytes in a pass, integer kernels"),
    "inference_allocated_bytes": Column("bytes in a pass, allocated"),
    "latency_seconds": Column("ms per image", 1e3, ".3g"),
    "integer_latency_seconds": Column("ms per image, integer kernels", 1e3, ".3g"),
    "inference_joules": Column("J per batch", 1.0, ".3g"),
    "integer_inference_joules": Column("J per batch, integer kernels", 1.0, ".3g"),
    "training_seconds": Column("s of all trainings", 1.0, ".3g"),
    "finetune_seconds": Column("s of these after the first", 1.0, ".3g"),
}


def costs(frame: pd.DataFrame, study: Manifest) -> list[dict[str, str]]:
    """One row per point of a grid that has measured what its nets cost: the level in words, seeds, and the median over
    nets of each cost in the table; a cell is empty where no net of the level has that row, as of older versions.

    `frame` with the rows of time, which are not repeatable. Nothing for a search, whose front has its own costs.
    """
    found = {measure: per_trial(frame, measure) for measure in COLUMNS}
    found = {measure: values for measure, values in found.items() if len(values)}
    if "stored_bytes" not in found:
        return []
    out = []
    for level in nets(frame, study):
        row = {AT: level.level, SEEDS: str(level.rows["seed"].nunique())}
        for measure, values in found.items():
            here, column = values.reindex(level.rows.index).dropna(), COLUMNS[measure]
            row[column.head] = f"{here.median() * column.factor:{column.digits}}" if len(here) else ""
        out.append(row)
    return out
