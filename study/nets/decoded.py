"""Decoded image folders, kept in a cache of the user's: many trials read the same thousands of files. No torch.

An entry is known by the names, sizes and times of a folder's files, and carries the digest of their content. It is
mapped into memory, so that all processes of a machine share its pages. It may be deleted at any time; one that cannot
be written or read costs a warning, and the files are decoded.
"""

import contextlib
import hashlib
import json
import logging
import os
import secrets
import shutil
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from study.nets.checks import Arrays

LEAST = 1000  # files: fewer are decoded within a fraction of a second
SETTLED = 2.0  # seconds since the last change: a file that changes twice within a tick of the clock looks the same
ABANDONED = 3600.0  # seconds after which what a process has begun to write is nobody's
_LOG = logging.getLogger(__name__)
_ALIGNED, _CHUNK = 64, 1 << 22
_KINDS = ("|u1", "<i8")  # bytes and labels, on any machine
_BROKEN = (OSError, ValueError, KeyError, TypeError, RecursionError)  # what a file of other bytes than ours may raise


@dataclass(frozen=True)
class Stamp:
    """The file of the cache that a folder's images belong in, as its files are now; `kept` is whether the cache takes
    the folder: large enough, and not changed just now."""

    path: Path
    kept: bool


def stamp(folder: str, names: tuple[str, ...] = ()) -> Stamp:
    """A folder's stamp: of the name, size and times of every visible file below it, the classes' order and the decoder.

    OSError where the folder cannot be looked at.
    """
    begin, root = time.time(), os.path.realpath(folder)
    lines: list[str] = []
    newest = _look(root, "", lines)
    head = f"1 {PIL.__version__} {' '.join(names)}\n"
    key = hashlib.sha256((head + "\n".join(sorted(lines))).encode(errors="surrogateescape")).hexdigest()
    whose = hashlib.sha256(root.encode(errors="surrogateescape")).hexdigest()
    kept = len(lines) >= LEAST and newest < (begin - SETTLED) * 1e9
    return Stamp(place() / f"{whose[:16]}-{key[:32]}.images", kept)


def _look(folder: str, inside: str, lines: list[str]) -> int:
    """A line for each file, as folders.files finds them; the time of the last change, in nanoseconds."""
    newest = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                newest = max(newest, _look(entry.path, f"{inside}{entry.name}/", lines))
            elif entry.is_file():
                found = entry.stat()
                lines.append(f"{inside}{entry.name}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}")
                newest = max(newest, found.st_mtime_ns)
    return newest


def place() -> Path:
    """The cache's folder: STUDY_CACHE, else `study` in the user's own cache folder."""
    own = os.environ.get("STUDY_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "study")
    return Path(own).expanduser()


def digest(stamped: Stamp) -> str:
    """The content digest of a folder that is kept; empty where it is not."""
    try:
        with stamped.path.open("rb") as stream:
            return str(_head(stream)["digest"])
    except _BROKEN:
        return ""  # whoever reads the images says so, and decodes them


def get(stamped: Stamp, wanted: str) -> Arrays | None:
    """The images and labels of a folder that is kept, mapped and never to be written to; None where it is not, where
    its content is not `wanted` ("": any), and, with a warning, where the entry is damaged."""
    try:
        with stamped.path.open("rb") as stream:
            head = _head(stream)
            begin = stream.tell()
            check = 0
            while chunk := stream.read(_CHUNK):
                check = zlib.crc32(chunk, check)
        if check != head["crc32"]:
            raise ValueError("its check sum is another")
        if wanted and head["digest"] != wanted:
            return None
        parts = [part and _mapped(stamped.path, begin, part) for part in head["parts"]]
        x, y, test_x, test_y = parts
    except (FileNotFoundError, NotADirectoryError):
        return None
    except _BROKEN as error:
        _LOG.warning("the cached images %s cannot be used (%s): decoding them again", stamped.path, error)
        return None
    return x, y, test_x, test_y


def _head(stream: Any) -> dict[str, Any]:
    line = stream.readline(1 << 16)
    head = json.loads(line)
    if not isinstance(head, dict):
        raise ValueError("it has no head")
    return head


def _mapped(path: Path, begin: int, part: dict[str, Any]) -> np.ndarray:
    # Copy on write: PyTorch warns of arrays that are read-only, and no page is copied as long as none is written to.
    at = begin + int(part["at"])
    if part["dtype"] not in _KINDS:
        raise ValueError("it holds other numbers than bytes and labels")
    return np.asarray(np.memmap(path, dtype=part["dtype"], mode="c", offset=at, shape=tuple(part["shape"])))


def keep(stamped: Stamp, content: str, parts: Arrays) -> bool:
    """Write a folder's decoded images into the cache, whole or not at all, in place of earlier ones of that folder;
    whether that could be done, else with a warning."""
    heads: list[dict[str, Any] | None] = []
    pieces: list[memoryview | bytes] = []
    at = check = 0
    for part in parts:
        if part is None:
            heads.append(None)
            continue
        heads.append({"at": at, "dtype": part.dtype.str, "shape": part.shape})
        pieces += [np.ascontiguousarray(part).data.cast("B"), bytes(-part.nbytes % _ALIGNED)]
        at += part.nbytes + len(pieces[-1])
    for piece in pieces:
        check = zlib.crc32(piece, check)
    line = json.dumps({"digest": content, "crc32": check, "parts": heads}).encode()
    line += b" " * (-(len(line) + 1) % _ALIGNED) + b"\n"
    try:
        stamped.path.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(stamped.path.parent).free < 2 * at:
            raise OSError(f"less than {2 * at / 1e9:.1f} GB are free")
        _write(stamped.path, [line, *pieces])
    except OSError as error:
        _LOG.warning(
            "decoded images are not kept, each process decodes its own: %s (a cache folder that can be written: "
            "STUDY_CACHE=DIR)", error,
        )  # fmt: skip
        return False
    return True


def _write(path: Path, pieces: list[memoryview | bytes]) -> None:
    whose = path.name.partition("-")[0]
    new = path.parent / f".{whose}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with new.open("xb") as stream:  # as the umask says
            stream.writelines(pieces)
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    left = (p for p in path.parent.glob(f".{whose}-*") if time.time() - p.stat().st_mtime > ABANDONED)
    with contextlib.suppress(OSError):  # gone already, or another user's
        for other in (*left, *path.parent.glob(f"{whose}-*.images")):
            if other != path:
                other.unlink()
