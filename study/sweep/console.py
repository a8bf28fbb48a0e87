"""The consoles of the command line: what a study, a store or an exception says is shown on them and never acts."""

import io
import logging
import sys
from typing import Any

from rich.console import Console

from study.spec.errors import visible, without_secrets


class Discreet(Console):
    """rich's console for texts of the user's: no word of theirs is markup, an emoji's name or too long for a line,
    control characters are written out, and passwords of addresses are ***."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's."""
        super().print(*(visible(without_secrets(o)) if isinstance(o, str) else o for o in objects), **options)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def prepare() -> None:
    """Let both streams take every character, those that their encoding lacks (ASCII under LANG=C) written out, and
    warnings go through no terminal either."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if logging.lastResort:
        logging.lastResort.setFormatter(_Formatter())
