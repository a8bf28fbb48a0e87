"""What is said to the user: refusals with one clear message, and no secrets in it."""

import difflib
import re
from collections.abc import Iterable


class UsageError(Exception):
    """Bad input: shown as one message, exit status 2, before anything is started or written."""


class Stop(BaseException):
    """The command is told to leave."""


def of_a_function(error: BaseException) -> bool:
    """Whether a user's function may have raised it, asyncio.CancelledError say: all but what ends the command."""
    return not isinstance(error, KeyboardInterrupt | GeneratorExit | Stop)


def told(error: BaseException) -> str:
    """What a user's function did, `it called sys.exit(3)` or `ValueError: text`, whatever making that text raises."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    try:
        text = str(error)
    except Exception as other:  # its own __str__ may raise anything too
        text = f"(its text raises {type(other).__name__})"
    return f"{type(error).__name__}: {text}"


IN_AUTHORITY = re.compile(r"(://[^/\s:@]*):(?!\d+/)\S+@")  # a database's may hold a slash, any may hold an @


IN_QUERY = re.compile(r"([?&][\w.-]*(?:password|passwd|pwd|token)=)[^\s&#]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """`text` with the password of every address in it as ***; for whatever is printed or written."""
    return IN_QUERY.sub(r"\1***", IN_AUTHORITY.sub(r"\1:***@", text))


# What moves a terminal's cursor, sets its title or worse (tabs and line feeds do not), and what no encoding writes.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
LONGEST = 500  # characters of a cause


def visible(text: str) -> str:
    """`text` with control characters written out (\\x1b), for a terminal; lines and tabs stay."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def cut(text: str, most: int) -> str:
    """`text`, of which the middle is left out where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n... ({len(text) - most} characters left out) ...\n{text[len(text) - most // 2 :]}"


def brief(text: str) -> str:
    """The first line of a cause as it may be shown: control characters written out, LONGEST characters at most, and
    how many there were."""
    first = visible((text[: 2 * LONGEST].splitlines() or [""])[0])
    return first if len(first) <= LONGEST + 40 else f"{first[:LONGEST]}... ({len(text)} characters)"


def closest(word: str, words: Iterable[str]) -> str:
    """`; did you mean X?` when a known word is near, else a full stop."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]}?" if near else "."
