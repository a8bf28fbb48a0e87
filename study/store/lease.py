"""One driver at a time for an S3 output: a lock object with its owner and a heartbeat.

Safety does not hang on it: tables are put if absent, so two drivers would waste work and lose none. The lock goes to
whoever puts it first, or first replaces one that has not been renewed for STALE_SECONDS by the store's own clock, or
whose owner was this very machine and folder (whose file lock, which died with its process, the caller holds).
"""

import contextlib
import datetime
import email.utils
import fcntl
import json
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from study.spec.errors import UsageError
from study.store import layout, shapes
from study.store.places import Place, S3Path, Unavailable, at

BEAT_SECONDS = 15.0
STALE_SECONDS = 60.0


def owner() -> str:
    """Who this driver is, for people."""
    return f"process {os.getpid()} on {os.uname().nodename}"


def machine(folder: Path) -> str:
    """What tells this boot of this machine, and its folder, from all others."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{os.uname().nodename} {boot.read_text().strip() if boot.exists() else ''} {folder}"


def look(place: S3Path) -> tuple[dict[str, str], str, float]:
    """The lock's content, its ETag and its age in seconds by the store's clock; FileNotFoundError without one.

    UsageError for a lock.json that no driver wrote.
    """
    said = (place / layout.LEASE).head()
    now = email.utils.parsedate_to_datetime(said["ResponseMetadata"]["HTTPHeaders"]["date"])
    if now.tzinfo is None:
        now = now.replace(tzinfo=datetime.UTC)
    try:
        there = shapes.parsed((place / layout.LEASE).read_bytes())
        lock = {name: str(there[name]) for name in ("owner", "machine", "token")}
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{place / layout.LEASE} is no lock of a sweep; if no sweep runs there, delete it") from None
    return lock, said["ETag"], (now - said["LastModified"]).total_seconds()


class Lease:
    """The lock of an S3 output while it is held; SIGTERM to this process when another driver has taken it."""

    def __init__(self, place: S3Path, folder: Path) -> None:
        self.place, self.token, self.lost = place, uuid.uuid4().hex, False
        self._note = {"owner": owner(), "machine": machine(folder), "token": self.token}
        self._beats = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        try:
            self._etag = self._take()
            self._study = self._tag()
        except Unavailable as error:
            raise UsageError(f"--output {error}") from None
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        with contextlib.suppress(Unavailable):  # it goes stale by itself
            self.lost = self.lost or not self._renew()
            if not self.lost:
                (self.place / layout.LEASE).unlink()

    def write_study(self, content: bytes) -> bool:
        """Write study.json; False, and the lease is lost, where another driver has written it since this one began.

        A driver that was paused for longer than a lock lives may wake up inside this very call.
        """
        path = self.place / layout.STUDY
        try:
            tag = path.put(content, **({"IfMatch": self._study} if self._study else {"IfNoneMatch": "*"}))
            if tag is None and path.read_bytes() == content:  # the answer was lost, and the client's repetition failed
                tag = self._tag()
        except FileNotFoundError:  # deleted: written again, unless another driver has come in the meantime
            tag = path.put(content, IfNoneMatch="*") if self._mine() else None
        self._study, self.lost = tag or "", self.lost or not tag
        return not self.lost

    def _mine(self) -> bool:
        """Whether the lock there is this driver's."""
        try:
            return look(self.place)[0]["token"] == self.token
        except (FileNotFoundError, UsageError):
            return False

    def _tag(self) -> str:
        """The ETag of study.json as it stands, nothing where there is none."""
        try:
            return str((self.place / layout.STUDY).head()["ETag"])
        except FileNotFoundError:
            return ""

    def _content(self) -> bytes:
        self._beats += 1
        return json.dumps(self._note | {"beat": self._beats}).encode()

    def _put(self, **conditions: str) -> str | None:
        return (self.place / layout.LEASE).put(self._content(), **conditions)

    def _take(self) -> str:
        """The ETag of the lock now held; UsageError when another driver has it or the store takes no file."""
        try:
            if etag := self._put(IfNoneMatch="*"):
                return etag
            there, etag, age = look(self.place)
            free = there["machine"] == self._note["machine"] or age > STALE_SECONDS or there["token"] == self.token
            if free and (taken := self._put(IfMatch=etag)):
                return taken
        except FileNotFoundError:
            raise UsageError(f"{self.place} has just been left by another sweep; start again") from None
        wait = max(1, round(STALE_SECONDS - age + 1))
        raise UsageError(
            f"{self.place} is in use by another sweep ({there['owner']}, last seen {age:.0f} s ago); "
            f"if that one is dead, the lock is free in {wait} s"
        )

    def _keep(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(Unavailable):  # tried again at the next beat
                if not self._renew():
                    self.lost = True
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

    def _renew(self) -> bool:
        """Whether the lock is still this driver's: not when another has it, has had it and left, or wrote it over."""
        try:
            if etag := self._put(IfMatch=self._etag):
                self._etag = etag
                return True
            there, etag, _ = look(self.place)
            # a renewal whose answer was lost is repeated by the client and then fails against itself
            self._etag = etag
            return there["token"] == self.token
        except (FileNotFoundError, UsageError):
            return False


@contextmanager
def lock(folder: Path, place: Place | None = None) -> Iterator[Lease | None]:
    """The folder for this driver alone; UsageError naming the process that holds it. The kernel frees it on death.

    An output in S3 is leased too, for drivers on other machines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / layout.LOCK).open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            raise UsageError(f"{folder} is in use by another sweep ({stream.read().strip() or 'unknown'})") from None
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {os.uname().nodename}")
        stream.flush()
        with Lease(place, folder) if isinstance(place, S3Path) else nullcontext() as lease:
            yield lease


def in_use(folder: Path) -> str:
    """Who holds the folder's lock, or nothing."""
    path = folder / layout.LOCK
    if not path.is_file():
        return ""
    with path.open("r") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return stream.read().strip()
    return ""


def leased(output: str) -> str:
    """The driver, on this machine or another, that has been seen at an S3 output lately, or nothing."""
    place = at(output)
    if isinstance(place, Path):
        return ""
    try:
        there, _, age = look(place)
    except FileNotFoundError:
        return ""
    return there["owner"] if age <= STALE_SECONDS else ""
