"""File descriptors of a process: a user's function may keep files open until none is left, and then nothing of ours can
be written either."""

import errno
import gc
import os
import resource

SPARE = 16  # enough to write a note, to S3 too


class Reserve:
    """Descriptors held back while a trial runs, so that its failure can be noted when it has taken all others."""

    def __init__(self) -> None:
        self._held = [os.open(os.devnull, os.O_RDONLY) for _ in range(SPARE)]

    def release(self) -> None:
        """Give them back."""
        while self._held:
            os.close(self._held.pop())


def crowded() -> bool:
    """Whether more than half of the descriptors that this process may have are open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        return soft != resource.RLIM_INFINITY and 2 * len(os.listdir("/dev/fd")) > soft
    except OSError as error:
        return error.errno == errno.EMFILE


def make_room() -> None:
    """Close the files that nobody holds any more, and let this process have twice as many, if it may."""
    gc.collect()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * soft if hard == resource.RLIM_INFINITY else min(2 * soft, hard)
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
