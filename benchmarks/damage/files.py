"""Ways to damage one file: its bytes, its kind, the JSON or the Parquet in it. Each says what it did."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[random.Random, Path], str]


def flip(rng: random.Random, path: Path) -> str:
    """Some bits, a few bytes apart or far."""
    content = bytearray(path.read_bytes())
    places = [rng.randrange(len(content)) for _ in range(rng.choice((1, 1, 1, 2, 8, 64)))] if content else []
    for place in places:
        content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"bits flipped at {places[:8]}"


def truncate(rng: random.Random, path: Path) -> str:
    """The end is lost, or all of it."""
    size = path.stat().st_size
    keep = rng.choice((0, max(0, size - 1), rng.randint(0, size)))
    os.truncate(path, keep)
    return f"cut to {keep} of {size} bytes"


def hole(rng: random.Random, path: Path) -> str:
    """Zeros in the midst, as a file system leaves them after a crash."""
    content = bytearray(path.read_bytes())
    start = rng.randint(0, len(content))
    length = min(rng.choice((1, 16, 512, 4096)), len(content) - start)
    content[start : start + length] = bytes(length)
    path.write_bytes(content)
    return f"{length} zeros at {start}"


def junk(rng: random.Random, path: Path) -> str:
    """Other bytes behind it, or in its place."""
    more = rng.choice((rng.randbytes(rng.choice((1, 100, 5000))), b"\xff\xfe", b"PAR1", b"\n" * 100, b"<html></html>"))
    path.write_bytes(path.read_bytes() + more if (behind := rng.random() < 0.5) else more)
    return f"{len(more)} bytes of junk {'behind' if behind else 'in place of'} it"


def delete(rng: random.Random, path: Path) -> str:
    """It is gone."""
    path.unlink()
    return "deleted"


def double(rng: random.Random, path: Path) -> str:
    """Another file of its kind in its place, or a copy of it under another name."""
    others = sorted(p for p in path.parent.glob(f"*{path.suffix}") if p != path and p.is_file())
    if others and rng.random() < 0.5:
        shutil.copyfile(other := rng.choice(others), path)
        return f"a copy of {other.name}"
    name = rng.choice(("f" * 16, "x", "a b", "ä", "f" * 200, "-x", ".hidden", "[x]")) + path.suffix
    shutil.copyfile(path, path.parent / name)
    return f"copied to {name}"


def kind(rng: random.Random, path: Path) -> str:
    """No longer a plain file: a folder, a pipe, a link somewhere."""
    others = sorted(p for p in path.parent.glob("*") if p != path and p.is_file())
    what = rng.choice(
        ("folder", "full folder", "pipe", "dangling link", "link to itself", "link to null", "link to another")
    )
    kept = path.read_bytes()
    path.unlink()
    if what.endswith("folder"):
        path.mkdir()
        if what == "full folder":
            (path / path.name).write_bytes(kept)
    elif what == "pipe":
        os.mkfifo(path)
    else:
        to = {"dangling link": "nowhere", "link to itself": path.name, "link to null": os.devnull}.get(what)
        path.symlink_to(to or (rng.choice(others).name if others else ".."))
    return f"now a {what}"


DEEP = "[" * 100_000
SHAPES = (
    "", "null", "[]", "{}", "1", '"x"', "NaN", "-Infinity", "1e999", "true", "[null]", "[1, 2]", '[{"pid": "x"}]', DEEP,
    '{"pid": [], "process_started": null}', '{"a": ' * 50_000, "\ufeff{}", "{'a': 1}", "{} {}", "9" * 5000,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, [], {}, "", "x", "../../x", "a/b", 0, -1, 1.5, 10**30, 2**53 + 1, True, ["x"], {"x": 1}, [[]], [None],
    float("nan"), "\x1b[31mred", "x" * 10_000, "\ud800", "nan",
)  # fmt: skip


def shape(rng: random.Random, path: Path) -> str:
    """JSON of another shape in its place."""
    text = rng.choice(SHAPES)
    path.write_text(text)
    return f"now {text[:40]!r}, {len(text)} characters"


def values(rng: random.Random, path: Path) -> str:
    """JSON with one or some values lost, renamed or of another kind, anywhere inside."""
    found = json.loads(path.read_text())
    said = [_value(rng, found) for _ in range(rng.choice((1, 1, 1, 2, 5)))]
    path.write_text(json.dumps(found))
    return "; ".join(said)


def _value(rng: random.Random, node: Any) -> str:
    where = ""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return f"{where}: nothing"
        key = rng.choice(keys)
        where += f"[{key!r}]"
        if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.75:
            node = node[key]
            continue
        change = rng.random()
        if change < 0.3:
            del node[key]
            return f"{where} lost"
        if change < 0.4 and isinstance(node, dict):
            node[f"{key}x"] = node.pop(key)
            return f"{where} renamed"
        node[key] = rng.choice(VALUES)
        return f"{where} = {repr(node[key])[:30]}"


def lines(rng: random.Random, path: Path) -> str:
    """A journal or CSV with a line lost, twice, moved, cut, or of something unknown."""
    found = path.read_text(errors="replace").splitlines(keepends=True)
    at = rng.randrange(len(found)) if found else 0
    what = rng.choice(("lost", "twice", "moved", "cut", "unknown", "words"))
    if found and what in ("lost", "moved"):
        line = found.pop(at)
        found = [*found, line] if what == "moved" else found
    elif found and what in ("twice", "cut"):
        found[at:at] = [found[at] if what == "twice" else found[at][: len(found[at]) // 2]]
    else:
        found[at:at] = ['{"op_code": 99, "worker_id": "x"}\n' if what == "unknown" else "no line of ours\n"]
    path.write_text("".join(found))
    return f"line {at} of {len(found)} {what}"


BYTES: tuple[Damage, ...] = (flip, flip, flip, truncate, hole, junk, delete, double, kind, kind)
