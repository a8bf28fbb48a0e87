"""A file of weights as it is named: PATH, or PATH#NAME where several state dicts lie in it. No torch."""

from pathlib import Path


def split(named: str) -> tuple[Path, str]:
    """The file, and the name of what is to be taken of it, "" for none; a file whose own name has a # is itself."""
    path, mark, name = named.rpartition("#")
    if not mark or not name or "/" in name or Path(named).exists():
        return Path(named), ""
    return Path(path), name
