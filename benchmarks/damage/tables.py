"""Tables of another schema, some behind a digest that fits: as another version, or another hand, would write them."""

import hashlib
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def schema(rng: random.Random, path: Path) -> str:
    """A column lost, renamed, new, of another type or null; rows lost or doubled; metadata lost or of other shape."""
    changed, said = _changed(rng, pq.read_table(path, use_threads=False))
    pq.write_table(changed, path)
    return said


def forged(rng: random.Random, path: Path) -> str:
    """The same behind a digest that fits."""
    changed, said = _changed(rng, pq.read_table(path, use_threads=False))
    pq.write_table(_sealed(changed) if changed.schema.metadata else changed, path)
    return f"{said}, its digest made to fit"


def _changed(rng: random.Random, table: pa.Table) -> tuple[pa.Table, str]:
    metadata = table.schema.metadata or {}
    name = rng.choice(table.column_names)
    at = table.column_names.index(name)
    kind = rng.choice(
        ("lost", "renamed", "new", "text", "null", "nested", "bytes", "rows", "doubled", "metadata", "footer")
    )
    if kind == "lost":
        return table.drop_columns([name]), f"column {name} lost"
    if kind == "renamed":
        names = [f"{n}_x" if n == name else n for n in table.column_names]
        return table.rename_columns(names).replace_schema_metadata(metadata), f"column {name} renamed"
    if kind == "new":
        return table.append_column("of_tomorrow", pa.array([1] * len(table))), "column of_tomorrow added"
    if kind in ("text", "nested", "bytes", "null"):
        made = {
            "text": pa.array(["x"] * len(table)),
            "nested": pa.array([[1]] * len(table)),
            "bytes": pa.array([b"\xff"] * len(table)),
            "null": pa.nulls(len(table), table.schema.field(name).type),
        }[kind]
        return table.set_column(at, name, made), f"column {name} all {kind}"
    if kind == "rows":
        keep = rng.choice((0, 1, len(table) // 2))
        return table.slice(0, keep), f"{keep} of {len(table)} rows"
    if kind == "doubled":
        return pa.concat_tables([table, table]), "all rows twice"
    if kind == "metadata":
        return table.replace_schema_metadata(rng.choice((None, {b"rows_sha256": b"\xff"}))), "metadata lost"
    footer = rng.choice((b"[]", b"{}", b"null", b"\xff", b'{"configuration": []}', b'{"wall_seconds": "x"}', b"{"))
    return table.replace_schema_metadata({**metadata, b"provenance": footer}), f"provenance {footer!r}"


def _sealed(table: pa.Table) -> pa.Table:
    """The table with digests of what it now holds."""
    from study.store.table import rows_digest

    metadata = dict(table.schema.metadata)
    try:
        rows = table.to_pylist()
        metadata[b"rows_sha256"] = rows_digest(rows, columns=table.column_names).encode()
    except (KeyError, TypeError):  # what no digest can be taken of
        return table
    footer = metadata.get(b"provenance", json.dumps({}).encode())
    metadata[b"provenance_sha256"] = hashlib.sha256(footer).hexdigest().encode()
    return table.replace_schema_metadata(metadata)
