"""What a user's own claim or figure raises must not cost the report of what has been trained."""

import logging
from collections.abc import Callable
from typing import TypeVar

from study.spec.errors import without_secrets

T = TypeVar("T")
log = logging.getLogger(__name__)


def attempt(what: str, make: Callable[[], T]) -> tuple[T | None, str]:
    """What `make` returns, and nothing; or None, and the exception in one line, whose traceback is logged."""
    try:
        return make(), ""
    except Exception as error:  # a user's own function may raise anything, and so may ours at a table it does not fit
        log.warning("%s", what, exc_info=True)
        words = " ".join(str(error).split())
        return None, without_secrets(f"{type(error).__name__}: {words}" if words else type(error).__name__)
