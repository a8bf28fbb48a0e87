"""Keep a finished sweep as docs/results does: `python scripts/tidy_results.py RESULTS docs/results/NAME`.

Writes rows.parquet, the tidy table of the folder as `study.results.read` gives it, in one small file; copies study.json
and the figures that stand there already; writes a search's front.csv as it is in the default output. Rows that differ
from run to run (times, memory) and curves over epochs are left out, but for the times that claims are about: no other
verdict and no figure reads them. A file above LARGEST bytes leaves out single layers that no claim is about. Where the
folder has a README.md, the tables that it has markers for are written anew: of its claims, of published numbers beside
ours, of its ways of choosing; a folder without pictures gets all.
"""

import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from analysis import balance, finalists
from analysis.claims import find, judge, words
from analysis.published import beside
from study.store import layout, manifest, results
from study.sweep.plan.catalogue import find_study

MARKERS = "<!-- {} -->\n", "<!-- end of {} -->\n"
MOST, LARGEST = 200_000, 400_000  # bytes of a picture, and of a table
CURVES = ("train_", "validation_")


def asked(study: manifest.Manifest) -> set[str]:
    """The measures that a study's claims read."""
    found: set[str] = set()
    for claim in find(find_study(study.name).claims):
        found |= {term.measure for rows in claim.all_rows for term in (rows.x, rows.y) if term}
    return found


def tidy(frame: pd.DataFrame, study: manifest.Manifest) -> pd.DataFrame:
    """The rows that a second run would repeat, and the times that claims are about; without curves over epochs and
    without the cells of decision boundaries, which are most of a table and are kept as a picture."""
    curve = frame["step"].notna() & frame["measure"].str.startswith(CURVES)
    cells = frame["measure"].str.startswith("boundary_")
    kept = frame["deterministic"] | frame["measure"].isin(asked(study))
    return frame[kept & ~curve & ~cells].reset_index(drop=True)


def write(frame: pd.DataFrame, path: Path) -> None:
    """The table as one small file: words by dictionary, the bytes of the values side by side, zstd."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    words = [name for name in table.column_names if name != "value"]
    pq.write_table(
        table, path, compression="zstd", compression_level=19, use_dictionary=words, use_byte_stream_split=["value"]
    )


def picture(source: Path, target: Path) -> None:
    """A copy of a picture, with 128 colours where it would be over 200 kB."""
    shutil.copyfile(source, target)
    if target.stat().st_size > MOST:
        Image.open(source).convert("RGB").quantize(128).save(target, optimize=True)


def claims(frame: pd.DataFrame, study: manifest.Manifest) -> str:
    """A Markdown table of a study's claims as they are judged on a table of rows."""
    lines = ["| claim | verdict | what was found | control |", "|---|---|---|---|"]
    for found in judge.judge_all(frame, study, find_study(study.name).claims):
        because = words.why(found)
        verdict = f"{found.verdict}{f': {because}' if because else ''}"
        control = f"{'detected' if found.control_detected else 'not detected'} ({found.control.value:.2f})"
        lines.append(f"| {found.claim.quote} | {verdict} | {words.number(found)} | {control} |")
    return "\n".join(lines) + "\n"


def published(frame: pd.DataFrame, study: manifest.Manifest) -> str:
    """A Markdown table of the published numbers that have ours beside them, a line for each net of a table."""
    lines = ["| table | net | published | ours |", "|---|---|---|---|"]
    for table in beside.tables(frame, study):
        pairs: dict[str, tuple[list[str], list[str]]] = {}
        for row in table["rows"]:
            if row["n"]:
                theirs, ours = pairs.setdefault(row["level"], ([], []))
                theirs.append(f"{row['measure']} {row['published']}")
                ours.append(row["ours"])
        lines += [
            f"| {table['title']} | {net} | {'; '.join(theirs)} | {'; '.join(ours)} |"
            for net, (theirs, ours) in pairs.items()
        ]
    return "\n".join(lines) + "\n"


def choices(frame: pd.DataFrame, study: manifest.Manifest) -> str:
    """Which way of choosing gives the better pairs of accuracies, in a sentence and a Markdown table."""
    found = balance.of_accuracies(frame, study)
    heads = list(found["rows"][0]) if found["rows"] else []
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(row.values()) + " |" for row in found["rows"]]
    return "\n".join([*found["said"], "", *lines]) + "\n"


def rewritten(page: str, name: str, table: str) -> str:
    """A page with a table between its two markers of that name; as it is, where it has none."""
    begin, end = (m.format(name) for m in MARKERS)
    before, found, rest = page.partition(begin)
    return before + begin + table + end + rest.partition(end)[2] if found else page


TABLES = {"claims": claims, "published": published, "choices": choices}


def without_paths(text: str) -> str:
    """A study.json whose command names no folder of the machine that it ran on."""
    text = re.sub(r' --(?:output|tracking-uri) [^\s"]+', "", text)
    return re.sub(r'--data-dir [^\s"]+', "--data-dir DIR", text)


def keep(source: Path, target: Path) -> None:
    """Write what is kept of the results folder `source` into the folder `target`."""
    target.mkdir(parents=True, exist_ok=True)
    frame, study = results.read(source), manifest.load(source)
    table, path = tidy(frame, study), target / "rows.parquet"
    write(table, path)
    if path.stat().st_size > LARGEST:
        write(table[table["layer"].isna() | table["measure"].isin(asked(study))], path)
    (target / layout.STUDY).write_text(without_paths((source / layout.STUDY).read_text()))
    if study.search:
        address = f"results/{study.name}-{study.preset}"
        finalists.models(source, frame, study, address).to_csv(target / "front.csv", index=False)
    for name in [p.name for p in target.glob("*.png")] or [p.name for p in (source / "figures").glob("*.png")]:
        picture(source / "figures" / name, target / name)
    if (page := target / "README.md").exists():
        text = page.read_text()
        for name, table in TABLES.items():
            text = rewritten(text, name, table(frame, study)) if MARKERS[0].format(name) in text else text
        page.write_text(text)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), Path(sys.argv[2]))
