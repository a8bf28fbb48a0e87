"""Where finished files and trained bases lie: a local disk or an object store (S3), behind one small interface.

A place is a pathlib.Path or an S3Path. Of both only `/`, `name`, `stem`, `exists`, `is_file`, `read_bytes`,
`read_text` and `unlink` are used; `publish` and `replace` write them. Workers write straight to the output's place;
a driver whose output is in S3 reads a copy of it on its own disk (study.store.mirror).
"""

import contextlib
import datetime
import errno
import functools
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.spec.errors import UsageError

SCHEME = "s3://"
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/|s3:", re.IGNORECASE)  # of a store, not of a folder
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
NAME = re.compile(r"(?!\.)[A-Za-z0-9._+=@,-]{1,128}")
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before a cut body is asked for again
FOREIGN = "what answered is no S3 store (a proxy's or a login page?)"


class Unavailable(OSError):
    """The object store did not take or give a file; what was published before stays."""


@dataclass(frozen=True)
class Entry:
    """One object of a listing: its ETag (the MD5 of a plain upload) and when the store took it."""

    etag: str
    modified: datetime.datetime


@dataclass(frozen=True)
class S3Path:
    """s3://bucket/key with the part of pathlib.Path that the project uses."""

    bucket: str
    key: str

    def __truediv__(self, name: str) -> "S3Path":
        return S3Path(self.bucket, f"{self.key}/{name}")

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return self.name.rpartition(".")[0] or self.name

    def up(self, levels: int) -> "S3Path":
        """The prefix so many levels up."""
        return S3Path(self.bucket, self.key.rsplit("/", levels)[0])

    def exists(self) -> bool:
        """Whether the object is there."""
        try:
            self.head()
        except FileNotFoundError:
            return False
        return True

    is_file = exists

    def head(self) -> dict[str, Any]:
        """What the store says of the object; FileNotFoundError when it is not there."""
        with _told(self):
            return self._genuine(client().head_object(Bucket=self.bucket, Key=self.key))

    def read_bytes(self) -> bytes:
        """The object; FileNotFoundError when it is not there.

        The client tries a request six times, but reads the answer's body once: one that is cut is asked for again here.
        """
        for pause in (*PAUSES, None):
            with _told(self):
                answer = self._genuine(client().get_object(Bucket=self.bucket, Key=self.key))
            try:
                with _told(self):
                    return bytes(answer["Body"].read())
            except Unavailable:
                if pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError

    def _genuine(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """An answer about one object; Unavailable where something else than S3 gave it: a login page, say."""
        page = str(answer.get("ContentType", "")).startswith("text/html") and not self.name.endswith(".html")
        if page or "ETag" not in answer:
            raise Unavailable(f"{self}: {FOREIGN}")
        return dict(answer)

    def read_text(self) -> str:
        """The object as UTF-8."""
        return self.read_bytes().decode()

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object; S3 does not say whether it was there."""
        with _told(self):
            client().delete_object(Bucket=self.bucket, Key=self.key)

    def put(self, content: bytes, **conditions: str) -> str | None:
        """Write the object in one request and return its ETag; None where a condition (IfNoneMatch, IfMatch) fails."""
        for _ in range(5):
            try:
                with _told(self):
                    answer = client().put_object(Bucket=self.bucket, Key=self.key, Body=content, **conditions)
                    return str(self._genuine(answer)["ETag"])
            except FileExistsError:
                return None
            except BlockingIOError:  # two conditional writes at once: the store asks to try again
                continue
        raise Unavailable(f"{self}: too many conditional writes at once")

    def listing(self) -> dict[str, Entry]:
        """Everything under this prefix by its name relative to it."""
        found = {}
        with _told(self):
            pages = client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.key}/")
            for page in pages:
                if "IsTruncated" not in page:  # an empty listing would look like an output that was deleted
                    raise Unavailable(f"{self}: {FOREIGN}")
                for item in page.get("Contents", ()):
                    found[item["Key"][len(self.key) + 1 :]] = Entry(item["ETag"].strip('"'), item["LastModified"])
        return found


Place = Path | S3Path


def at(output: "str | Place") -> Place:
    """The place of s3://BUCKET/PREFIX or of a folder; UsageError for an S3 address that is none, and for that of
    another kind of store, which would become a folder of that name here."""
    if not isinstance(output, str):
        return output
    if not output.startswith(SCHEME):
        if ADDRESS.match(output):
            near = SCHEME + output[3:].lstrip(":/")
            meant = f" (did you mean {near}?)" if output.lower().startswith("s3:") else ""
            raise UsageError(f"--output {output!r} is not accepted; give s3://BUCKET/PREFIX or a folder{meant}")
        path = Path(os.path.realpath(output))
        if path.is_symlink():
            raise UsageError(f"--output {output!r} is a link that leads back to itself; choose another folder")
        return path
    bucket, _, prefix = output.removeprefix(SCHEME).rstrip("/").partition("/")
    if not BUCKET.fullmatch(bucket) or not prefix or not safe(prefix):
        raise UsageError(f"--output {output!r} is not accepted; give s3://BUCKET/PREFIX or a folder")
    return S3Path(bucket, prefix)


def safe(name: str) -> bool:
    """Whether a relative name may be joined to a folder: plain parts alone, none hidden, none that climbs."""
    return all(NAME.fullmatch(part) for part in name.split("/"))


@functools.cache
def client() -> Any:
    """The S3 client of this process; region, credentials and endpoint are boto3's own (AWS_* variables, profiles)."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise UsageError(
            f"--output {SCHEME}... needs boto3, which the extra `cluster` brings: "
            'pip install -c constraints.txt -e ".[cluster]"'
        ) from None
    retries = {"mode": "standard", "max_attempts": 6}
    return boto3.client("s3", config=Config(retries=retries, connect_timeout=5, read_timeout=60))


@contextlib.contextmanager
def _told(place: S3Path) -> Iterator[None]:
    """The store's errors as those of a file system: absent, there already, conflict; Unavailable for all others."""
    client()
    import botocore.exceptions as kinds
    from botocore.parsers import ResponseParserError

    try:
        yield
    except kinds.ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("NoSuchKey", "404"):
            raise FileNotFoundError(2, "no such object", str(place)) from None
        if code in ("PreconditionFailed", "412"):
            raise FileExistsError(17, "there already", str(place)) from None
        if code in ("ConditionalRequestConflict", "409"):
            raise BlockingIOError(11, "written by another at once", str(place)) from None
        raise Unavailable(f"{place}: {error.response['Error'].get('Message') or code} ({code})") from None
    except ResponseParserError:
        raise Unavailable(f"{place}: {FOREIGN}") from None
    except (kinds.BotoCoreError, OSError) as error:
        if isinstance(error, Unavailable):
            raise
        raise Unavailable(f"{place}: {str(error).splitlines()[0]}") from None


@contextlib.contextmanager
def _written(path: Path, content: bytes) -> Iterator[Path]:
    """A temporary file beside `path` with `content` safely on the disk; gone afterwards unless it was renamed.

    Who may read it says the umask: results lie on disks that colleagues share, and no secret is written this way.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, "it is no folder; move it away", str(path.parent)) from None
    temporary = path.parent / f".tmp-{uuid.uuid4().hex}"  # tempfile's would be for this user alone, umask or not
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def unwritable(folder: Path) -> tuple[Path, str] | None:
    """Where a folder is, or would be made, and why nothing can be written there; None where it can."""
    parent = folder
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    try:
        with tempfile.TemporaryFile(dir=parent):  # the permission bits say yes where the file system says no
            return None
    except OSError as error:
        return parent, error.strerror or str(error)


def publish(place: Place, content: bytes) -> bool:
    """Make `content` appear at `place`, complete or not at all; False when a file was there first (it stays).

    On a disk: temporary name, fsync, link to the final name, fsync of the folder. In S3: one put of the whole object
    if there is none. The first publication wins.
    """
    if isinstance(place, S3Path):
        return place.put(content, IfNoneMatch="*") is not None
    with _written(place, content) as temporary:
        try:
            os.link(temporary, place)
        except FileExistsError:
            return False
        _sync_folder(place.parent)
        return True


def replace(place: Place, content: bytes) -> None:
    """As publish, but the newest wins: for notes that are rewritten (study.json, failures, checkpoints)."""
    if isinstance(place, S3Path):
        place.put(content)
        return
    with _written(place, content) as temporary:
        try:
            os.replace(temporary, place)
        except IsADirectoryError:
            raise IsADirectoryError(errno.EISDIR, "it is a folder; move it away", str(place)) from None
    _sync_folder(place.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear(place: Place, part: str) -> None:
    """Remove a folder of an output (bases, checkpoints) with all that is in it."""
    if isinstance(place, Path):
        shutil.rmtree(place / part, ignore_errors=True)
        return
    for name in (place / part).listing():
        (place / part / name).unlink()
