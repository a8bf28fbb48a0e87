"""Optuna's journal on the driver's disk: what a killed writer or a full disk leaves behind is put right before use."""

import os
from pathlib import Path


def repair(path: Path) -> int:
    """Cut a record that was not written to its end off the journal, and remove the lock of a writer that is gone.

    Returns how many bytes were cut. Only for the one writer, under the folder's lock. Without it Optuna appends its
    next record to the torn one and can never read the journal again.
    """
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    if not path.exists():
        return 0
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        cut(path, whole)
    return len(content) - whole


def cut(path: Path, size: int) -> None:
    """Shorten a file to `size` bytes, on the disk."""
    with path.open("r+b") as stream:
        stream.truncate(size)
        os.fsync(stream.fileno())
