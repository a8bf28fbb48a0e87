"""Which modules a user's module is made of: what it imports of its own package and folder. Nothing is imported here."""

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

# The project's own rooms: their commit is told beside every table, and an edit to them is no edit to a user's function.
HOUSE = ("study", "analysis", "search_spaces")
INSTALLED = ("site-packages", "dist-packages")


def own_modules(name: str, file: Path) -> dict[str, Path]:
    """The files of a module and of all that it imports of its own, directly or not, by dotted name, sorted.

    Its own are the modules of its top package, and those in the folder that holds that. What is imported within a
    function counts; what is put together while it runs is not seen. A module of an installed library stands alone: its
    version tells what it is, and hundreds of files would be read for it.
    """
    parts = name.split(".")
    root = file.parents[len(parts) - (file.name != "__init__.py")]
    if parts[0] in HOUSE or parts[0] in sys.stdlib_module_names or {*root.parts} & {*INSTALLED}:
        return {name: file}
    found: dict[str, Path] = {name: file}
    waiting = [name]
    while waiting:
        module = waiting.pop()
        package = found[module].name == "__init__.py"
        for wanted in _imports(found[module], found[module].stat().st_mtime_ns, module, package):
            top = wanted[0].partition(".")[0]
            if top in HOUSE:
                continue
            there = next(((n, path) for n in wanted if (path := _file(root, n))), None)
            if there and there[0] not in found:
                found[there[0]] = there[1]
                waiting.append(there[0])
    return dict(sorted(found.items()))


def _file(root: Path, name: str) -> Path | None:
    """The source of a dotted name below a folder, if it is a module there."""
    path = root.joinpath(*name.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


@functools.lru_cache(maxsize=4096)
def _imports(file: Path, stamp: int, module: str, package: bool) -> tuple[tuple[str, ...], ...]:
    """The names that a file (as of its time stamp) imports: of each what it may be, a module first, then its package's
    own name for what is no module."""
    try:
        return tuple(_found(ast.parse(file.read_bytes()), module, package))
    except (SyntaxError, ValueError):  # one that can only be imported where that fails; its text counts all the same
        return ()


def _found(tree: ast.Module, module: str, package: bool) -> Iterator[tuple[str, ...]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, *_above(alias.name)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: None if package and node.level == 1 else package - node.level]
                base = ".".join([*above, *([base] if base else [])])
            yield from ((f"{base}.{alias.name}", base) for alias in node.names if base)
        elif isinstance(node, ast.Call) and _called(node.func) in ("import_module", "__import__"):
            literal = [a.value for a in node.args[:1] if isinstance(a, ast.Constant)]
            yield from ((name, *_above(name)) for name in literal if isinstance(name, str) and name[:1] != ".")


def _called(function: ast.expr) -> str:
    """The last part of a called name."""
    return getattr(function, "attr", "") or getattr(function, "id", "")


def _above(name: str) -> tuple[str, ...]:
    """The packages of a dotted name, the innermost first."""
    parts = name.split(".")
    return tuple(".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
