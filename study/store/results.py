"""The tidy table: one Parquet file per finished trial, complete or absent, and the reading of many.

A folder of results holds study.json (what was asked), trials/ (one file per finished trial; the file is the
done-marker), failed/ (one JSON per trial that failed), damaged/ (files that did not match their digest).
"""

import contextlib
import hashlib
import io
import json
import logging
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from study.spec.knobs import AXES
from study.store import mirror, places, upgrade
from study.store.places import Place, publish, replace
from study.store.schema import AT as AT
from study.store.schema import COLUMNS, SCHEMA, check, opened
from study.store.schema import Damaged as Damaged
from study.store.schema import Newer as Newer

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished:
    """One trial as published: its rows and its provenance."""

    rows: list[dict[str, Any]]
    provenance: dict[str, Any]


def _text(value: Any) -> Any:
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def rows_digest(
    rows: Iterable[Mapping[str, Any]], deterministic_only: bool = False, columns: Sequence[str] = COLUMNS
) -> str:
    """sha256 over the decoded rows (over the deterministic ones alone where two runs are compared)."""
    whole = hashlib.sha256()
    for row in rows:
        if not deterministic_only or row["deterministic"]:
            whole.update(json.dumps([_text(row.get(c)) for c in columns]).encode() + b"\n")
    return whole.hexdigest()


def encode(rows: list[dict[str, Any]], provenance: Mapping[str, Any]) -> bytes:
    """A trial's table as Parquet bytes, the digest of its decoded rows and its provenance in the footer.

    ValueError where two rows stand at equal coordinates (AT).
    """
    check(rows)
    table = pa.Table.from_pylist([{c: r.get(c) for c in COLUMNS} for r in rows], schema=SCHEMA)
    footer = json.dumps(dict(provenance), sort_keys=True)
    metadata = {
        "rows_sha256": rows_digest(table.to_pylist()),
        "provenance": footer,
        "provenance_sha256": hashlib.sha256(footer.encode()).hexdigest(),
    }
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), buffer, write_page_checksum=True)
    return buffer.getvalue()


def decode(content: bytes) -> Finished:
    """The trial in Parquet bytes; Newer where it has columns of a newer version, Damaged where it is not as written.

    The digest is over the columns of the file. Those that did not exist when it was written are then null, an axis
    stands at its default, and attacks are named (study.upgrade).
    """
    file = opened(io.BytesIO(content))
    try:
        table = file.read()
        metadata = table.schema.metadata or {}
        rows, footer = table.to_pylist(), metadata[b"provenance"]
        good = metadata[b"rows_sha256"].decode() == rows_digest(rows, columns=table.schema.names)
        good &= metadata[b"provenance_sha256"].decode() == hashlib.sha256(footer).hexdigest()
    except Exception as error:  # a torn Parquet file raises OSError, ArrowInvalid, KeyError and more
        raise Damaged(f"cannot be read: {error}") from error
    if not good:
        raise Damaged("its rows do not match the digest in its footer")
    provenance = json.loads(footer)
    if "attack" not in table.schema.names:
        rows = upgrade.name_attacks(rows, provenance.get("configuration", {}))
    return Finished([{c: r.get(c, AXES[c].default if c in AXES else None) for c in COLUMNS} for r in rows], provenance)


def refuse_newer(folder: Path) -> None:
    """Newer, with the file's name, where a newer version wrote one of a folder's tables; reads their footers alone."""
    for path in sorted((folder / "trials").glob("*.parquet")):
        if path.is_file() and not path.is_symlink():
            with contextlib.suppress(Damaged), path.open("rb") as stream, _named(path):
                opened(stream)


@contextlib.contextmanager
def _named(path: Place) -> Iterator[None]:
    """Whatever is newer in here is the file `path`."""
    try:
        yield
    except Newer as error:
        raise Newer(f"{path} {error}") from None


def _file(trial: str) -> str:
    if not places.safe(trial) or "/" in trial:
        raise ValueError(f"{trial!r} is no fingerprint of a trial")
    return f"{trial}.parquet"


def trial_path(folder: Path, trial: str) -> Path:
    """Where a trial's table lies in a folder of results; ValueError for a name that could lie elsewhere."""
    return folder / "trials" / _file(trial)


def seal(content: bytes) -> bytes:
    """`content` behind its own sha256, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest().encode() + content


def unseal(whole: bytes) -> bytes | None:
    """What was sealed; None when it does not match its digest."""
    content = whole[64:]
    return content if hashlib.sha256(content).hexdigest().encode() == whole[:64] else None


def put_aside(path: Place, what: str) -> None:
    """Name a damaged file in one line and move it to the damaged/ of its output."""
    log.warning("%s is damaged and set aside: %s", path, what)
    with contextlib.suppress(FileNotFoundError):  # another worker that shares it was first
        if isinstance(path, Path):
            aside = path.parent.parent / "damaged"
            aside.mkdir(exist_ok=True)
            os.replace(path, aside / path.name)
        else:
            replace(path.up(2) / "damaged" / path.name, path.read_bytes())
            path.unlink()


def publish_trial(folder: Place, trial: str, rows: list[dict[str, Any]], provenance: Mapping[str, Any]) -> None:
    """Publish a finished trial; a differing second publication is reported, and the first one stays."""
    path = folder / "trials" / _file(trial)
    if not publish(path, encode(rows, provenance)):
        first = read_trial(path)
        again = decode(encode(rows, provenance))
        if rows_digest(first.rows, True) != rows_digest(again.rows, True):
            log.warning("trial %s was published before with other deterministic rows; the first stays", trial)
    (folder / "failed" / f"{trial}.json").unlink(missing_ok=True)


def read_trial(path: Place) -> Finished:
    """One published trial; Damaged when it does not match its digest or is no file (a pipe would block for ever),
    Newer, naming the file, when a newer version wrote it."""
    if isinstance(path, Path) and not path.is_file():
        raise Damaged("it is not a file")
    with _named(path):
        return decode(path.read_bytes())


def scan(folder: Path, *, set_aside: bool = False) -> dict[str, Finished]:
    """Every sound trial of a folder by fingerprint; Newer where there is one of a newer version.

    Damaged files are named in a warning and, on request, moved to damaged/ so that their trials run again.
    """
    out: dict[str, Finished] = {}
    for path in sorted((folder / "trials").glob("*.parquet")):
        try:
            if path.is_symlink() or not path.is_file():  # a pipe would be waited for, a link may lead anywhere
                raise Damaged("it is not a plain file")
            out[path.stem] = read_trial(path)
        except Damaged as error:
            if set_aside:
                put_aside(path, f"{error}; its trial runs again")
            else:
                log.warning("%s is damaged and not used: %s", path, error)
    return out


def mend(folder: Path) -> None:
    """Move damaged failure notes, checkpoints and trained bases to damaged/, so that they are made again.

    Leftovers of interrupted publications are removed. Only for the driver that holds the folder.
    """
    for path in sorted((folder / "failed").glob("*.json")):
        try:
            json.loads(path.read_text())["identity"]
        except (ValueError, KeyError, TypeError):
            put_aside(path, "its trial runs again")
    for path in sorted([*folder.glob("checkpoints/*.pt"), *folder.glob("bases/*.pt")]):
        if unseal(path.read_bytes()) is None:
            put_aside(path, "what it held is trained again")
    for leftover in folder.glob("*/.tmp-*"):  # a folder: of a model that was being exported
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def failures(folder: Path, trial: str = "*") -> dict[str, dict[str, Any]]:
    """The failure notes of a folder (of one trial, where asked) by fingerprint: point, cause, traceback, attempts."""
    notes = {}
    for path in sorted((folder / "failed").glob(f"{trial}.json")):
        with contextlib.suppress(FileNotFoundError):  # the trial was run again and has just succeeded
            try:
                notes[path.stem] = json.loads(path.read_text())
            except ValueError:
                log.warning("%s is damaged and not used", path)
    return notes


def note_failure(folder: Place, trial: str, note: Mapping[str, Any]) -> None:
    """Write or rewrite a trial's failure note, counting attempts."""
    path = folder / "failed" / f"{trial}.json"
    attempts = json.loads(path.read_text())["attempts"] + 1 if path.exists() else 1
    replace(path, json.dumps({**note, "attempts": attempts}, indent=1).encode())


def read_study(folder: str | Path) -> dict[str, Any]:
    """study.json of a folder: configuration, arms, seeds, trials. ValueError when it lacks one of them."""
    found = json.loads((Path(folder) / "study.json").read_text())
    lacking = [k for k in ("configuration", "arms", "seeds", "trials") if not isinstance(found, dict) or k not in found]
    if lacking or "settings" not in found["configuration"]:
        raise ValueError(f"it lacks {', '.join(lacking) or 'settings'}")
    return found


def read(*folders: str | Path) -> "pd.DataFrame":
    """The tidy table of one or more results folders, s3://BUCKET/PREFIX too, as a pandas DataFrame, failures included.

    Columns: study, family, trial, seed, status (ok, diverged, failed), data, model, the axes, then the coordinates:
    measure, attack (`native/apgd`), layer, norm, eps, kept, k (of top-k), draw (of a mask or sample), on (the data or
    class group measured, where it is not the trial's own), split, step, n, value, deterministic. What does not apply
    is null (None or NaN). A failed trial has one row with measure `failed`. Tables of earlier versions are read with
    what they lacked filled in. Raises FileNotFoundError for a folder without study.json, Newer for one with tables of
    a newer version.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for folder in map(mirror.local, folders):
        if not (folder / "study.json").is_file():
            raise FileNotFoundError(f"{folder} is not a folder of results: it has no study.json")
        finished = scan(folder)
        for trial in finished.values():
            rows += trial.rows
        for name, note in failures(folder).items():
            if name not in finished:
                rows.append({**note["identity"], "status": "failed", "measure": "failed", "value": math.nan})
    table = pa.Table.from_pylist([{c: r.get(c) for c in COLUMNS} for r in rows], schema=SCHEMA)
    frame = table.to_pandas()
    frame["deterministic"] = frame["deterministic"].fillna(False).astype(bool)
    return pd.DataFrame(frame)


def to_csv(frame: "pd.DataFrame", path: str | Path) -> None:
    """The table as CSV; text that a spreadsheet would run as a formula is prefixed with an apostrophe."""
    text = [c for c in frame.columns if frame[c].map(lambda v: isinstance(v, str)).any()]
    safe = frame.copy()
    for column in text:
        safe[column] = safe[column].map(lambda v: "'" + v if isinstance(v, str) and v[:1] in "=+-@" else v)
    safe.to_csv(path, index=False)
