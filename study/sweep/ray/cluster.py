"""A sweep on a cluster from the laptop: a Ray job behind an SSH tunnel, followed by its status.

The job's name is derived from the command, so the same command typed again, after the laptop was closed, finds it and
goes on following. Nothing of the sweep hangs on this process.
"""

import contextlib
import hashlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from study.spec import datasets
from study.spec.errors import UsageError, without_secrets
from study.store import places
from study.sweep.plan.plan import Plan
from study.sweep.ray.fetch import fetch
from study.sweep.worker import signals

POLL_SECONDS = 3.0
TUNNEL_SECONDS = 60.0
AGAIN = ("--resume", "--retry-failed")
LEFT_HERE = ["/results", "/mlartifacts", "/mlflow.db", "/data", "/.git", "/.venv", "/venv"]
WHERE = re.compile(r"^  results in (\S.*)$", re.MULTILINE)
OVER = ("SUCCEEDED", "FAILED", "STOPPED")
SECRETS = "~/study.secrets"  # on the head, for what may stand neither in a command nor in a cluster file


def remote_words(argv: Sequence[str]) -> list[str]:
    """The command without --cluster: what the cluster is asked to run."""
    words, rest = [], iter(argv)
    for word in rest:
        if word == "--cluster":
            next(rest, None)
        elif not word.startswith("--cluster="):
            words.append(word)
    return words


def submission_id(words: Sequence[str]) -> str:
    """The job's name: the study and a hash of the command, whether it is a first start or goes on."""
    own = [word for word in words if word not in AGAIN]
    return f"{own[0].replace('_', '-')}-{hashlib.sha256(shlex.join(own).encode()).hexdigest()[:12]}"


def entrypoint(words: Sequence[str]) -> str:
    """What the job runs on the head, in whose environment its file of secrets counts; results go to the STUDY_OUTPUT
    found there, or to its home where it names none."""
    command = shlex.join(["python", "-u", "-m", "study.launch", *words])
    return f'test ! -r {SECRETS} || . {SECRETS}; STUDY_OUTPUT="${{STUDY_OUTPUT:-$HOME/results}}" {command}'


def runtime_env(plan: Plan) -> dict[str, Any]:
    """This folder goes along where it holds a function of the user's; otherwise the cluster's own installation runs."""
    if datasets.is_user_function(plan.model) or datasets.is_user_function(plan.data):
        return {"working_dir": ".", "excludes": LEFT_HERE}
    return {}


@contextlib.contextmanager
def tunnel(file: str) -> Iterator[str]:
    """The address of a cluster's job server, on loopback: an SSH tunnel to the head, ended afterwards.

    `file` may be http://HOST:PORT where a tunnel stands already.
    """
    if file.startswith(("http://", "https://")):
        yield file
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray = [sys.executable, "-m", "ray.scripts.scripts", "dashboard", file, "--port", str(port)]
    process = subprocess.Popen(
        ray, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        _wait_for(port, process, file)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a tunnel with the ssh that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], file: str) -> None:
    end = time.monotonic() + TUNNEL_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    _end(process)
    said = (process.stdout.read() if process.stdout else b"").decode(errors="replace").strip().splitlines()
    raise UsageError(f"--cluster {file}: no tunnel to its head ({said[-1].strip() if said else 'no answer'})")


def client(address: str) -> Any:
    """Ray's client of a job server; UsageError when the extra is missing, nothing answers or the token is not its."""
    if (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # they would override the address given here
        os.environ.pop(name, None)
    try:
        import aiohttp  # noqa: F401 - what ray[default] adds and the client cannot do without
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient
    except ImportError:
        raise UsageError(
            '--cluster needs the extra `cluster`: pip install -c constraints.txt -e ".[cluster]"'
        ) from None
    try:
        return JobSubmissionClient(address)
    except AuthenticationError:
        raise UsageError(
            f"--cluster: {address} wants another token than this machine's; see `ray get-auth-token`"
        ) from None
    except (ConnectionError, RuntimeError) as error:
        raise UsageError(f"--cluster: no Ray job server answers at {address} ({str(error).splitlines()[0]})") from None


def check(file: str, words: Sequence[str]) -> None:
    """UsageError for a cluster file that is not there, a password, or folders that would lie on this machine."""
    if not file.startswith(("http://", "https://")) and not Path(file).is_file():
        raise UsageError(f"--cluster {file}: there is no such file; give a cluster file or http://HOST:PORT")
    if any(without_secrets(word) != word for word in words):
        raise UsageError(
            "--cluster: the password in this command would stand in the cluster's process list and logs; leave it out "
            "and export MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (for PostgreSQL PGPASSWORD) "
            f"in {SECRETS} on its head"
        )
    folders = [("--output", v) for v in _values(words, "--output")]
    folders += [("--warm-start", part.strip()) for v in _values(words, "--warm-start") for part in v.split(",")]
    for option, folder in folders:
        if not folder.startswith((places.SCHEME, "/")):
            raise UsageError(f"{option} {folder}: with --cluster give s3://BUCKET/PREFIX or a full path on the cluster")


def _values(words: Sequence[str], option: str) -> list[str]:
    """What an option is given as, every time that it is."""
    after = [following for word, following in zip(words, [*words[1:], ""], strict=True) if word == option]
    return after + [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]


def go(file: str, plan: Plan, argv: Sequence[str], out: Console, err: Console) -> int:
    """Submit the sweep or find it, follow it, fetch its results; the exit status of the sweep itself."""
    words = remote_words(argv)
    check(file, words)
    name = submission_id(words)
    try:
        said, code = _follow(file, name, words, plan, err)
    except (KeyboardInterrupt, signals.Terminated):
        err.print(f"\nThe job {name} goes on without this terminal; the same command finds it again.\n"
                  f"To end it: ray job stop {name}", markup=False)  # fmt: skip
        raise
    if where := WHERE.search(said):
        fetch(file, where[1], out, err)
    return code


def _follow(file: str, name: str, words: Sequence[str], plan: Plan, err: Console) -> tuple[str, int]:
    """The job's output and its exit status, once it is over. A tunnel that breaks is opened again."""
    known, shown = False, 0
    while True:
        try:
            with tunnel(file) as address:
                server = client(address)
                if not known:
                    known = _submit(server, name, words, plan, err)
                while True:
                    info = server.get_job_info(name)
                    shown = _show_new(server, name, shown, err)
                    if info.status.value in OVER:
                        said = server.get_job_logs(name)
                        return said, _exit_status(info, file, name, words, err)
                    time.sleep(POLL_SECONDS)
        except (OSError, RuntimeError, UsageError) as error:
            if "does not exist" in str(error):
                raise UsageError(f"the job {name} is gone from the cluster; the same command starts it anew") from None
            if not known:
                raise
            err.print(f"The connection is gone ({str(error).splitlines()[0]}); trying again.", markup=False)
            time.sleep(POLL_SECONDS)


def _submit(server: Any, name: str, words: Sequence[str], plan: Plan, err: Console) -> bool:
    there = {job.submission_id: job.status.value for job in server.list_jobs()}
    go_on = any(word in AGAIN for word in words)
    if name in there and not (there[name] in OVER and go_on):
        err.print(f"Found the job {name} ({there[name]}).", markup=False)
        return True
    if name in there:
        server.delete_job(name)
    server.submit_job(entrypoint=entrypoint(words), submission_id=name, runtime_env=runtime_env(plan))
    err.print(f"Submitted the job {name}; this terminal may be closed, the same command finds it again.", markup=False)
    return True


def _show_new(server: Any, name: str, shown: int, err: Console) -> int:
    """Print what the job has said since; its status is asked for apart, because this may fail or lag."""
    said = server.get_job_logs(name)
    if len(said) > shown:
        err.out(said[shown:], end="", highlight=False)
    return max(shown, len(said))


def _exit_status(info: Any, file: str, name: str, words: Sequence[str], err: Console) -> int:
    if info.status.value == "SUCCEEDED":
        return 0
    why = (info.message or "").partition("\n")[0]
    err.print(f"The job {name} is {info.status.value}: {why}", markup=False)
    own = [word for word in words if word not in AGAIN]
    go_on = ["python", "-m", "study.launch", *own, "--cluster", file, "--resume"]
    err.print(f"Go on with: {shlex.join(map(without_secrets, go_on))}", markup=False)
    return int(info.driver_exit_code or 1) if info.status.value == "FAILED" else 143
