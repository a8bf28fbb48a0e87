"""The MLflow room: every trial a run one level under its sweep's, written by the driver alone, off the sweep's path.

MLflow is a view: everything logged here is read from the published tables, so a lost store can be made again.
"""

import contextlib
import importlib
import os
import queue
import socket
import sqlite3
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from study import results
from study.config import UsageError
from study.console import name as trial_name
from study.job import Job
from study.names import metric_name
from study.plan import Plan
from study.space import moving

PARAMS = ("width", "depth", "epochs", "batch_size", "learning_rate", "train_size", "test_size")
STATUS = {"ok": "FINISHED", "diverged": "FINISHED", "failed": "FAILED"}
SERVERS = ("http", "https")
DATABASES = ("postgresql", "mysql", "mssql")
PAGE = 1000
PATIENCE_SECONDS = 60.0


def default_uri(folder: Path | None = None) -> str:
    """The store shared by all sweeps of a working folder."""
    return f"sqlite:///{(folder or Path.cwd()) / 'mlflow.db'}"


def sqlite_file(uri: str) -> Path:
    """The file of a sqlite:///PATH store, absolute; PATH is relative to the working folder unless it begins with /."""
    return Path(uri.removeprefix("sqlite:///")).resolve()


def check_uri(uri: str) -> None:
    """UsageError unless the store can be used: a server answers, a file is a database, a database lets us in."""
    scheme = urllib.parse.urlsplit(uri).scheme
    if uri.startswith("sqlite:///"):
        _check_sqlite(uri)
    elif scheme in SERVERS:
        _check_server(uri)
    elif scheme.partition("+")[0] in DATABASES:
        _check_database(uri)
    else:
        raise UsageError(
            f"--tracking-uri {uri!r} is not accepted; give sqlite:///PATH, http://HOST:PORT or a database URL"
        )


def _check_sqlite(uri: str) -> None:
    path = sqlite_file(uri)
    if not path.parent.is_dir():
        raise UsageError(f"--tracking-uri {uri}: there is no folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"--tracking-uri {uri}: {path} is a folder; name a file in it")
    if path.exists():
        try:
            with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
                store.execute("PRAGMA schema_version")
        except sqlite3.Error as error:
            raise UsageError(f"--tracking-uri {uri}: {path} is not a database of SQLite ({error})") from None


def _check_server(uri: str) -> None:
    parts = urllib.parse.urlsplit(uri)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=3):
            pass
        health = urllib.request.Request(uri.rstrip("/") + "/health")  # noqa: S310 - http(s) only, by check_uri
        with urllib.request.urlopen(health, timeout=5) as answer:  # noqa: S310
            answer.read(1)
    except (OSError, ValueError) as error:
        raise UsageError(f"--tracking-uri {uri}: no MLflow server answers there ({error})") from None


def _check_database(uri: str) -> None:
    sqlalchemy = importlib.import_module("sqlalchemy")  # slow to import, and MLflow needs it for these stores anyway
    try:
        engine = sqlalchemy.create_engine(uri)
        with engine.connect():
            pass
        engine.dispose()
    except Exception as error:  # drivers raise their own kinds, a missing driver an ImportError
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        secret = urllib.parse.urlsplit(uri).password
        shown = uri.replace(f":{secret}@", ":***@") if secret else uri
        raise UsageError(f"--tracking-uri {shown}: the database cannot be used ({cause})") from None


def ui_command(uri: str) -> str:
    """What to type to look at the store."""
    if uri.startswith("http"):
        return f"open {uri}"
    if uri == default_uri():
        uri = "sqlite:///mlflow.db"
    return f"mlflow ui --backend-store-uri {uri} --host 127.0.0.1"


class Tracker:
    """Logs finished trials in a thread; a store that fails is reported once at the end and never stops the sweep."""

    def __init__(self, uri: str, plan: Plan, manifest: Mapping[str, Any]) -> None:
        self.uri, self.plan, self.manifest = uri, plan, manifest
        self.error = ""
        self.seconds = 0.0
        self.moved = time.monotonic()
        self._queue: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def trial(self, job: Job, status: str) -> None:
        """Have a finished or failed trial logged from its published table."""
        self._queue.put((status, job))

    def close(self, status: str = "FINISHED", artifacts: Path | None = None) -> str:
        """Log what is queued, attach the report's files to the sweep's run, and end it; the first error, if any.

        A store that takes nothing for PATIENCE_SECONDS is given up.
        """
        self._queue.put(("close", (status, artifacts)))
        self._queue.put(None)
        self.moved = time.monotonic()
        while self._thread.is_alive() and time.monotonic() - self.moved < PATIENCE_SECONDS:
            self._thread.join(0.2)
        return self.error or ("the tracking store did not keep up" if self._thread.is_alive() else "")

    def _work(self) -> None:
        store = None
        while (item := self._queue.get()) is not None:
            began = time.thread_time()
            try:
                store = store or _Store(self.uri, self.plan, self.manifest)
                if item[0] == "close":
                    store.close(*item[1])
                else:
                    store.trial(item[1], item[0])
            except Exception as error:  # a tracking store may fail in any way; the table is the truth
                self.error = self.error or f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            self.seconds += time.thread_time() - began
            self.moved = time.monotonic()


class _Store:
    """One sweep's run in MLflow and its children."""

    def __init__(self, uri: str, plan: Plan, manifest: Mapping[str, Any]) -> None:
        import logging

        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        self.client = MlflowClient(tracking_uri=uri)
        self.plan, self.manifest = plan, manifest
        study = plan.study.name
        found = self.client.get_experiment_by_name(study)
        if found is None:
            where = sqlite_file(uri).parent / "mlartifacts" if uri.startswith("sqlite") else None
            location = {"artifact_location": where.as_uri()} if where else {}
            self.experiment = self.client.create_experiment(
                study, **location, tags={"mlflow.note.content": plan.study.question, "study.figure": plan.study.figure}
            )
        else:
            self.experiment = found.experiment_id
        self.known = {r.data.tags["study.fingerprint"]: r for r in self._runs("trial")}
        parents = self._runs("sweep")
        self.parent = parents[0].info.run_id if parents else self._sweep_run()
        self.client.update_run(self.parent, status="RUNNING")

    def _runs(self, level: str) -> list[Any]:
        """This sweep's runs of a level (sweep, trial), all pages of them."""
        where = f"tags.`study.sweep` = '{self.manifest['sweep']}' and tags.`study.level` = '{level}'"
        found, token = [], None
        while True:
            page = self.client.search_runs([self.experiment], where, max_results=PAGE, page_token=token)
            found += page
            if not (token := page.token):
                return found

    def _shared_tags(self) -> dict[str, str]:
        plan = self.plan
        commit = self.manifest["commit"]
        return {
            "study.name": plan.study.name,
            "study.sweep": self.manifest["sweep"],
            "study.preset": plan.preset_name,
            "study.data": plan.configuration()["data"],
            "study.model": plan.model,
            "study.commit": commit,
            "mlflow.source.name": "study.launch",
            "mlflow.source.type": "LOCAL",
        } | ({"mlflow.source.git.commit": commit.removesuffix("-dirty")} if commit else {})

    def _sweep_run(self) -> str:
        tags = self._shared_tags() | {"study.level": "sweep", "mlflow.note.content": self.plan.study.question}
        run = self.client.create_run(
            self.experiment, run_name=self.plan.folder.name, tags=tags, start_time=int(self.manifest["created"] * 1000)
        )
        self._inputs(run.info.run_id)
        for key, value in self._params().items():
            self.client.log_param(run.info.run_id, key, value)
        return run.info.run_id

    def _params(self) -> dict[str, Any]:
        """The settings worth a parameter: the usual ones of a net, or those that a study without data names."""
        return {key: self.plan.settings[key] for key in (PARAMS if self.plan.data else self.plan.preset.settings)}

    def _inputs(self, run: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        if not self.plan.data:
            return
        configuration = self.plan.configuration()
        dataset = Dataset(
            name=configuration["data"], digest=configuration["data_digest"], source_type="local", source="{}"
        )
        self.client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def trial(self, job: Job, status: str) -> None:
        """One child run with parameters, metrics, curves and system metrics.

        A trial that stands there as it is now is left alone; one half written, or since tried again, is replaced.
        """
        from mlflow.entities import Metric, Param, RunTag

        note = results.failures(self.plan.folder).get(job.fingerprint, {}) if status == "failed" else {}
        attempts = str(note.get("attempts", 1))
        if old := self.known.get(job.fingerprint):
            there = (old.info.status, old.data.tags.get("study.status"), old.data.tags.get("study.attempts"))
            if there == (STATUS[status], status, attempts):
                return
            self.client.delete_run(old.info.run_id)
        path = results.trial_path(self.plan.folder, job.fingerprint)
        trial = results.read_trial(path) if status != "failed" and path.exists() else None
        provenance = trial.provenance if trial else {}
        end = int(provenance.get("finished", time.time()) * 1000)
        start = int(end - provenance.get("wall_seconds", 0.0) * 1000)
        tags = self._shared_tags() | {
            "mlflow.parentRunId": self.parent,
            "study.level": "trial",
            "study.family": job.family,
            "study.fingerprint": job.fingerprint,
            "study.seed": str(job.trial.seed),
            "study.status": status,
            "study.attempts": attempts,
        }
        if status == "failed":
            tags["study.cause"] = note.get("cause", "")[:5000]
        run = self.client.create_run(self.experiment, start_time=start, run_name=trial_name(job), tags=tags)
        params = {axis: job.axes[axis] for axis in moving(self.plan.preset)} | {"seed": job.trial.seed}
        params |= self._params()
        metrics = [
            Metric(metric_name(r), r["value"], _stamp(r, start), int(r["step"] or 0))
            for r in (trial.rows if trial else [])
            if r["layer"] in (None, "mean", "product")
        ]
        for at in range(0, max(1, len(metrics)), 900):
            self.client.log_batch(
                run.info.run_id,
                metrics=metrics[at : at + 900],
                params=[Param(k, str(v)) for k, v in params.items()] if at == 0 else [],
                tags=[RunTag("study.sweep_name", self.plan.folder.name)] if at == 0 else [],
            )
        self._inputs(run.info.run_id)
        self.client.set_terminated(run.info.run_id, STATUS[status], end_time=end)
        self.known[job.fingerprint] = self.client.get_run(run.info.run_id)

    def close(self, status: str, artifacts: Path | None) -> None:
        """Attach the report and the figures, and end the sweep's run."""
        if artifacts and artifacts.is_dir():
            for path in sorted([*artifacts.glob("report.html"), *artifacts.glob("figures/*.png")]):
                with contextlib.suppress(FileNotFoundError):
                    self.client.log_artifact(self.parent, str(path), "figures" if path.suffix == ".png" else None)
        self.client.set_terminated(self.parent, status)


def _stamp(r: Mapping[str, Any], start: int) -> int:
    """A row's time stamp in milliseconds: a system metric's own second, else the trial's start."""
    return start + int(r["step"] * 1000) if r["measure"].startswith("system/") else start
