"""One trial's table as Parquet bytes, with the digest of its rows in the footer."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from study.spec.knobs import AXES
from study.store import upgrade
from study.store.schema import COLUMNS, Damaged, check, opened, schema_of


@dataclass(frozen=True)
class Finished:
    """One trial as published: its rows and its provenance."""

    rows: list[dict[str, Any]]
    provenance: dict[str, Any]


def _text(value: Any) -> Any:
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def rows_digest(
    rows: Iterable[Mapping[str, Any]], deterministic_only: bool = False, columns: Sequence[str] | None = None
) -> str:
    """sha256 over the decoded rows (over the deterministic ones alone where two runs are compared), over the columns of
    every table where none are given."""
    whole, columns = hashlib.sha256(), COLUMNS if columns is None else columns
    for row in rows:
        if not deterministic_only or row["deterministic"]:
            whole.update(json.dumps([_text(row.get(c)) for c in columns]).encode() + b"\n")
    return whole.hexdigest()


def encode(rows: list[dict[str, Any]], provenance: Mapping[str, Any]) -> bytes:
    """A trial's table as Parquet bytes, the digest of its decoded rows and its provenance in the footer.

    ValueError where two rows stand at equal coordinates (AT).
    """
    check(rows)
    schema = schema_of(rows)
    table = pa.Table.from_pylist([{c: r.get(c) for c in schema.names} for r in rows], schema=schema)
    footer = json.dumps(dict(provenance), sort_keys=True)
    metadata = {
        "rows_sha256": rows_digest(table.to_pylist(), columns=schema.names),
        "provenance": footer,
        "provenance_sha256": hashlib.sha256(footer.encode()).hexdigest(),
    }
    buffer = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), buffer, write_page_checksum=True)
    return bytes(buffer.getvalue().to_pybytes())


def decode(content: bytes) -> Finished:
    """The trial in Parquet bytes; Newer where it has columns of a newer version, Damaged where it is not as written.

    The digest is over the columns of the file. Those that did not exist when it was written are then null, an axis
    stands at its default, and attacks are named (store/upgrade.py).
    """
    file = opened(pa.BufferReader(content))
    try:
        table = file.read(use_threads=False)
        metadata = table.schema.metadata or {}
        rows, footer = table.to_pylist(), metadata[b"provenance"]
        good = metadata[b"rows_sha256"].decode() == rows_digest(rows, columns=table.schema.names)
        good &= metadata[b"provenance_sha256"].decode() == hashlib.sha256(footer).hexdigest()
    except Exception as error:  # a torn Parquet file raises OSError, ArrowInvalid, KeyError and more
        raise Damaged(f"cannot be read: {error}") from error
    if not good:
        raise Damaged("its rows do not match the digest in its footer")
    provenance = json.loads(footer)
    if not isinstance(provenance, dict):
        raise Damaged("its footer does not say how it was made")
    if "attack" not in table.schema.names:
        rows = upgrade.name_attacks(rows, provenance.get("configuration", {}))
    absent = {c: AXES[c].default if c in AXES else None for c in COLUMNS}
    return Finished([absent | r for r in rows], provenance)


def provenance(stream: IO[bytes]) -> dict[str, Any]:
    """What stands in a table's footer about its trial, without a look at its rows; Newer and Damaged as in decode, but
    for damage to the rows, which only reading them shows."""
    try:
        metadata = opened(stream).metadata.metadata or {}
        footer = metadata[b"provenance"]
        good = metadata[b"provenance_sha256"].decode() == hashlib.sha256(footer).hexdigest()
        found: dict[str, Any] = json.loads(footer) if good else {}
    except (KeyError, ValueError) as error:
        raise Damaged(f"its footer cannot be read: {error}") from error
    if not good:
        raise Damaged("its footer does not match its own digest")
    return found
