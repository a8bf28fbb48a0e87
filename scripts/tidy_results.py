"""Keep a finished sweep as docs/results does: `python scripts/tidy_results.py RESULTS docs/results/NAME`.

Writes rows.parquet, the tidy table of the folder as `study.results.read` gives it, in one small file; copies study.json
and the figures that stand there already; writes a search's front.csv as it is in the default output. Rows that differ
from run to run (times, memory) and curves over epochs are left out: no verdict and no figure reads them.
"""

import shutil
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis import finalists
from study.store import layout, manifest, results

CURVES = ("train_", "validation_")


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that a second run would repeat, without curves over epochs."""
    curve = frame["step"].notna() & frame["measure"].str.startswith(CURVES)
    return frame[frame["deterministic"] & ~curve].reset_index(drop=True)


def write(frame: pd.DataFrame, path: Path) -> None:
    """The table as one small file: words by dictionary, the bytes of the values side by side, zstd."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    words = [name for name in table.column_names if name != "value"]
    pq.write_table(
        table, path, compression="zstd", compression_level=19, use_dictionary=words, use_byte_stream_split=["value"]
    )


def keep(source: Path, target: Path) -> None:
    """Write what is kept of the results folder `source` into the folder `target`."""
    target.mkdir(parents=True, exist_ok=True)
    frame, study = results.read(source), manifest.load(source)
    write(tidy(frame), target / "rows.parquet")
    shutil.copyfile(source / layout.STUDY, target / layout.STUDY)
    if study.search:
        address = f"results/{study.name}-{study.preset}"
        finalists.models(source, frame, study, address).to_csv(target / "front.csv", index=False)
    for picture in target.glob("*.png"):
        shutil.copyfile(source / "figures" / picture.name, picture)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), Path(sys.argv[2]))
