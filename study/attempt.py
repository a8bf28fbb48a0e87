"""One attempt at one trial, with everything that the pure trial has not: files, clocks, threads, devices.

Both back ends run this same class, step by step, so their rows are the same.
"""

import errno
import functools
import hashlib
import io
import platform
import resource
import sys
import time
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from study import results, stages, storage
from study.config import Train, canonical_trial
from study.job import Job
from study.monitor import Monitor
from study.names import summary
from study.trial import Outcome, run

VERSIONS = ("torch", "torchvision", "numpy", "adversarial-robustness-toolbox", "ray", "scikit-learn")


class Attempt:
    """Runs a job in steps; finished trials are published, failures noted, long training checkpointed by epoch."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.folder = storage.at(job.folder)
        self.started, self.cpu_started = time.monotonic(), time.process_time()
        self.saved_at = time.monotonic()
        self.checkpoint = self.folder / "checkpoints" / f"{job.fingerprint}.pt"
        torch.set_num_threads(job.threads)
        if job.search_path and job.search_path not in sys.path:
            sys.path.insert(0, job.search_path)
        if job.device == "cuda" and job.gpu_fraction > 0:  # the last job of this process may have had less
            torch.cuda.set_per_process_memory_fraction(min(1.0, job.gpu_fraction))
        self.monitor = Monitor().start()
        self.base = self.folder / "bases" / f"{job.base}-{code_version()}.pt" if job.base else None
        resume = _read_snapshot(self.checkpoint) or (_read_snapshot(self.base) if self.base else None)
        self.steps = run(job.trial, resume=resume, device=job.device)

    def step(self) -> dict[str, Any]:
        """Go on until the next report is due; the report, with `done` set after the last step.

        An exception of the trial is noted as a failure with its traceback, not raised: it would fail again.
        """
        try:
            return self._step()
        except Exception as error:  # whatever a user's model or data raises belongs to this trial alone
            self.close()
            note = {
                "identity": self.job.identity(),
                "cause": f"{type(error).__name__}: {error}".splitlines()[0],
                "log": traceback.format_exc(),
            }
            if isinstance(error, storage.Unavailable) or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
                raise
            results.note_failure(self.folder, self.job.fingerprint, note)
            starved = isinstance(error, torch.OutOfMemoryError)
            if starved and self.job.device == "cuda":
                self.steps = iter(())  # let go of its tensors: another trial follows in this process
                torch.cuda.empty_cache()
            return {"done": True, "status": "failed", "cause": note["cause"], "out_of_memory": starved}

    def close(self) -> None:
        """Stop sampling; the attempt is over or given up."""
        self.monitor.stop()

    def _step(self) -> dict[str, Any]:
        due = time.monotonic() + self.job.report_seconds
        for outcome in self.steps:
            if outcome.done:
                return self._finish(outcome)
            self._maybe_save(outcome)
            if time.monotonic() >= due and outcome.state.progress is not None and outcome.state.progress.curves:
                return _report(outcome) | {"done": False}
        raise AssertionError("a trial ended without an outcome")

    def _finish(self, outcome: Outcome) -> dict[str, Any]:
        rows = [*outcome.rows, *self.monitor.rows()]
        identity = self.job.identity() | {"status": outcome.status}
        results.publish_trial(
            self.folder, self.job.fingerprint, [identity | r for r in rows], self._provenance(outcome)
        )
        self.checkpoint.unlink(missing_ok=True)
        return _report(outcome) | summary(outcome.rows) | {"done": True, "status": outcome.status}

    def _provenance(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "versions": {name: version(name) for name in VERSIONS} | {"python": platform.python_version()},
            "commit": self.job.commit,
            "configuration": canonical_trial(self.job.trial),
            "threads": self.job.threads,
            "device": torch.cuda.get_device_name() if self.job.device == "cuda" else "cpu",
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "wall_seconds": time.monotonic() - self.started,
            "cpu_seconds": time.process_time() - self.cpu_started,
            "estimated_seconds": self.job.estimated_seconds,
            "peak_memory_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
            "finished": time.time(),
        }

    def _maybe_save(self, outcome: Outcome) -> None:
        """Checkpoint a long training now and then; keep a base that others share once it is trained."""
        training = outcome.phase == "train"
        trained = not training and outcome.state.stage == len(self.job.trial.stages) - 1 and not outcome.state.diverged
        if self.base and trained and isinstance(self.job.trial.stages[-1], Train) and not self.base.exists():
            _write_snapshot(self.base, stages.snapshot(outcome.state))
        if training and time.monotonic() - self.saved_at >= self.job.checkpoint_seconds:
            _write_snapshot(self.checkpoint, stages.snapshot(outcome.state))
            self.saved_at = time.monotonic()


@functools.cache
def code_version() -> str:
    """8 hexadecimal digits of the source of everything that a trained base depends on."""
    here = Path(__file__).parent
    files = [here / f"{n}.py" for n in ("data", "penalties", "stages", "train", "adversary", "config", "attacks/ball")]
    files += sorted([*here.glob("models/*.py"), *here.glob("compression/*.py")])
    return hashlib.sha256(b"\0".join(f.read_bytes() for f in files)).hexdigest()[:8]


def _write_snapshot(path: storage.Place, saved: dict[str, Any] | None) -> None:
    """A snapshot behind its own sha256, complete or absent."""
    if saved is not None:
        buffer = io.BytesIO()
        torch.save(saved, buffer)
        content = buffer.getvalue()
        results.replace(path, hashlib.sha256(content).hexdigest().encode() + content)


def _read_snapshot(path: storage.Place) -> dict[str, Any] | None:
    """A snapshot; None (start from the beginning) when there is none or it is damaged."""
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(whole[64:]).hexdigest().encode() != whole[:64]:
        results.log.warning("checkpoint %s is damaged; the trial starts from the beginning", path)
        return None
    return torch.load(io.BytesIO(whole[64:]), map_location="cpu", weights_only=True)


def _report(outcome: Outcome) -> dict[str, Any]:
    """The live numbers: phase, epoch and newest training loss."""
    progress = outcome.state.progress
    losses = [value for _, name, value in progress.curves if name == "train_loss"] if progress else []
    report: dict[str, Any] = {"phase": outcome.phase, "epoch": progress.epoch if progress else 0}
    return report | ({"train_loss": losses[-1]} if losses else {})
