"""What a user is told, without the passwords that the user has typed."""

from typing import Any

from rich.console import Console

from study.spec.errors import without_secrets


class Discreet(Console):
    """A console that prints the password of every address as ***, wherever it was typed."""

    def print(self, *objects: Any, **how: Any) -> None:
        """As rich's, each text without secrets."""
        super().print(*(without_secrets(o) if isinstance(o, str) else o for o in objects), **how)
