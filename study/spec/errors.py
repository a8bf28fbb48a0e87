"""What is said to the user: refusals with one clear message, and no secrets in it."""

import difflib
import re
from collections.abc import Iterable


class UsageError(Exception):
    """Bad input: shown as one message, exit status 2, before anything is started or written."""


IN_AUTHORITY = re.compile(r"(://[^/\s:@]*):(?!\d+/)\S+@")  # a database's may hold a slash, any may hold an @


IN_QUERY = re.compile(r"([?&][\w.-]*(?:password|passwd|pwd|token)=)[^\s&#]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """`text` with the password of every address in it as ***; for whatever is printed or written."""
    return IN_QUERY.sub(r"\1***", IN_AUTHORITY.sub(r"\1:***@", text))


def closest(word: str, words: Iterable[str]) -> str:
    """`; did you mean X?` when a known word is near, else a full stop."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]}?" if near else "."
