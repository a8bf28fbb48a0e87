"""The columns of a trial's table, which only ever grow: those of this version, and what it makes of another's file."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from study import __version__
from study.spec.errors import UsageError
from study.spec.knobs import AXES, SETTINGS, WHOLE
from study.spec.rows import COORDINATES

TYPES = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
IDENTITY = [
    ("study", pa.string()),
    ("family", pa.string()),
    ("trial", pa.string()),
    ("seed", pa.int64()),
    ("status", pa.string()),
    ("data", pa.string()),
    ("model", pa.string()),
    *((name, TYPES[knob.kind]) for name, knob in AXES.items()),
]
SCHEMA = pa.schema([*IDENTITY, *((name, TYPES[kind]) for name, kind in COORDINATES.items())])
COLUMNS = SCHEMA.names
# Columns of the tables of studies that move such a knob, and of no other.
MOVED = {name: TYPES[knob.kind] for name, knob in SETTINGS.items() if name not in WHOLE}
AT = [name for name in COORDINATES if name not in ("n", "value", "deterministic")]  # what tells two rows apart
MOST_ROWS = 1_000_000  # of one trial; a file of some megabytes can claim any number, and reading takes 2 kB a row
KNOWN = {f.name: f.type for f in SCHEMA} | MOVED
NEEDED = {"study", "family", "trial", "seed", "status", "measure", "value", "deterministic"}  # every version has these


class Damaged(Exception):
    """A result file that cannot be read or does not match its own digest."""


class Newer(UsageError):
    """A result file with columns that this version does not know: a newer one wrote it. It is left as it is."""


def schema_of(rows: Iterable[Mapping[str, Any]]) -> pa.Schema:
    """The columns of a table: those of all, and the moved knobs that its rows name."""
    named = {c for r in rows for c in r}
    return pa.schema([*SCHEMA, *((name, kind) for name, kind in MOVED.items() if name in named)])


def check(rows: list[dict[str, Any]]) -> None:
    """ValueError for a column that the table has not, two rows that nothing tells apart, and more than MOST_ROWS."""
    if len(rows) > MOST_ROWS:
        raise ValueError(f"a trial has {len(rows)} rows; {MOST_ROWS} at most can be kept")
    if unknown := {c for r in rows for c in r} - {*COLUMNS, *MOVED}:
        raise ValueError(f"a row has no such columns: {', '.join(sorted(unknown))}; it has {', '.join(COLUMNS)}")
    seen = set()
    for r in rows:
        key = tuple(r.get(c) for c in AT)
        if key in seen:
            at = ", ".join(f"{c} {v}" for c, v in zip(AT[1:], key[1:], strict=True) if v is not None)
            raise ValueError(
                f"two rows of {r['measure']} at equal coordinates ({at or 'none'}): readers could not choose"
            )
        seen.add(key)


def opened(stream: pa.NativeFile) -> pq.ParquetFile:
    """A trial's file whose columns this version knows; Newer and Damaged as in decode.

    Columns are looked at before the digest, which a newer version may take in another way. A Parquet file of Arrow's
    has its columns twice: a name or type in which a bit was flipped is no newer version's.

    The stream is one of Arrow's own, and its reader is to be asked with use_threads=False: over a Python file Arrow's
    threads need the interpreter, and a process that ends while one of them asks for it is aborted (status 134).
    """
    try:
        file = pq.ParquetFile(stream, page_checksum_verification=True)
        found, copy = file.schema_arrow, (file.metadata.metadata or {})[b"ARROW:schema"]
        if file.metadata.num_rows > MOST_ROWS:
            raise ValueError(f"it has {file.metadata.num_rows} rows, of {MOST_ROWS} at most")
        if found.equals(SCHEMA):  # most are, and a folder may hold thousands
            return file
        twin = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(copy)))
        whole = found.equals(twin) or (
            twin.names == found.names and all(f.type == twin.field(f.name).type for f in found if f.name in KNOWN)
        )
    except Exception as error:  # a torn Parquet file raises OSError, ArrowInvalid, KeyError and more
        raise Damaged(f"cannot be read: {error}") from error
    if not whole or len(set(found.names)) < len(found.names):
        raise Damaged("its two lists of columns do not agree")
    foreign = [f"{f.name} ({f.type})" for f in found if f.type != KNOWN.get(f.name)]
    if foreign:
        raise Newer(
            f"was written by a newer version than this one ({__version__}), which does not know its columns "
            f"{', '.join(foreign)}; use that version. Nothing was changed"
        )
    if lacking := NEEDED - set(found.names):
        raise Damaged(f"it lacks the columns {', '.join(sorted(lacking))}")
    return file
