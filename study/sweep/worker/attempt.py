"""One attempt at one trial, with everything that the pure trial has not: files, clocks, threads, devices.

Both back ends run this same class, step by step, so their rows are the same.
"""

import errno
import functools
import hashlib
import io
import platform
import resource
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import study
from study.spec.config import Train
from study.spec.errors import brief, told
from study.spec.identity import canonical_trial
from study.spec.names import summary
from study.store import layout, places, results
from study.sweep.plan.job import Job
from study.sweep.worker import descriptors, weights
from study.sweep.worker.heartbeat import Heartbeat
from study.sweep.worker.monitor import Monitor
from study.trial import stages
from study.trial.run import Outcome, run

LEAST_STILL = 3600.0  # seconds in one epoch or measure before a worker counts as hung: attacks on large nets take long
TRAINING = ("torch", "torchvision", "timm")  # what a trained base comes from besides the code
VERSIONS = ("torch", "torchvision", "numpy", "adversarial-robustness-toolbox", "ray", "scikit-learn")


class Attempt:
    """Runs a job in steps; finished trials are published, failures noted, long training checkpointed by epoch.

    `node` and `worker` are for its signs of life.
    """

    def __init__(self, job: Job, node: str = "", worker: Mapping[str, Any] | None = None) -> None:
        self.job = job
        self.folder = places.at(job.folder)
        self.started, self.cpu_started = time.monotonic(), time.process_time()
        self.saved_at = time.monotonic()
        self.checkpoint = self.folder / layout.CHECKPOINTS / f"{job.fingerprint}-{code_version()}.pt"
        torch.set_num_threads(job.threads)
        if job.search_path and job.search_path not in sys.path:
            sys.path.insert(0, job.search_path)
        if job.device == "cuda" and job.gpu_fraction > 0:  # the last job of this process may have had less
            torch.cuda.set_per_process_memory_fraction(min(1.0, job.gpu_fraction))
        self.reserve = descriptors.Reserve()
        longest = max(LEAST_STILL, 50 * job.estimated_seconds)
        self.heartbeat = Heartbeat(self.folder, job.fingerprint, longest, node, worker)
        self.monitor = Monitor(beat=self.heartbeat.beat).start()
        self.base = self.folder / layout.BASES / f"{job.base}-{code_version()}.pt" if job.base else None
        self.base_stage = next((i for i, s in enumerate(job.trial.stages) if isinstance(s, Train)), -1)
        resume = _read_snapshot(self.checkpoint) or (_read_snapshot(self.base) if self.base else None)
        self.steps = run(job.trial, resume=resume, device=job.device)

    def step(self) -> dict[str, Any]:
        """Go on until the next report is due; the report, with `done` set after the last step.

        An exception of the trial is noted as a failure with its traceback, not raised: it would fail again. `crowded`
        says that the trial has left so many files open that the next one had better have another process. Raises
        OSError where a file of ours cannot be written, or the disk is full: the next trial would meet that too.
        """
        self.heartbeat.waits(False)
        try:
            report = self._step()
            if report["done"] and descriptors.crowded():
                self.steps = iter(())  # the net may hold them
                descriptors.make_room()
                report["crowded"] = True
            return report
        finally:
            self.heartbeat.waits(True)

    def _step(self) -> dict[str, Any]:
        due = time.monotonic() + self.job.report_seconds
        while True:
            try:
                outcome = next(self.steps)
            except Exception as error:  # whatever a user's model or data raises belongs to this trial alone
                return self._failed(error, own=not isinstance(error, OSError) or error.errno != errno.ENOSPC)
            self.heartbeat.moved(outcome.phase, outcome.state.progress.epoch if outcome.state.progress else 0)
            try:
                if outcome.done:
                    return self._finish(outcome)
                self._maybe_save(outcome)
            except Exception as error:  # of a user's net that cannot be encoded, too
                return self._failed(error, own=not isinstance(error, OSError) or error.errno == errno.EMFILE)
            if time.monotonic() >= due and outcome.state.curves():
                return _report(outcome) | {"done": False}

    def _failed(self, error: Exception, own: bool) -> dict[str, Any]:
        """The report of a failure, noted if it is final; raises the error again where it is not the trial's own."""
        self.close()
        if not own:
            raise error
        cause = brief(told(error))
        starved = isinstance(error, torch.OutOfMemoryError)
        if not (starved and self.job.larger()):
            log = "".join(traceback.format_exception(error))
            note = {"identity": self.job.identity(), "cause": cause, "log": log}
            results.note_failure(self.folder, self.job.fingerprint, note)
        if starved and self.job.device == "cuda":
            self.steps = iter(())  # let go of its tensors: another trial follows in this process
            torch.cuda.empty_cache()
        return {"done": True, "status": "failed", "cause": cause, "out_of_memory": starved}

    def close(self) -> None:
        """Stop sampling; the attempt is over or given up."""
        self.reserve.release()
        self.monitor.stop()
        self.heartbeat.end()

    def _finish(self, outcome: Outcome) -> dict[str, Any]:
        rows = [*outcome.rows, *self.monitor.rows()]
        identity = self.job.identity() | {"status": outcome.status}
        if self.job.weights and outcome.status == "ok":
            weights.save(self.folder / weights.name_of(self.job.fingerprint), outcome.state)
        results.publish_trial(
            self.folder, self.job.fingerprint, [identity | r for r in rows], self._provenance(outcome)
        )
        self.checkpoint.unlink(missing_ok=True)
        self.close()
        return _report(outcome) | summary(outcome.rows) | {"done": True, "status": outcome.status}

    def _provenance(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "versions": {name: version(name) for name in VERSIONS} | {"python": platform.python_version()},
            "commit": self.job.commit,
            "host": socket.gethostname(),
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
        state = outcome.state
        if self.base and list(state.trained) == [self.base_stage] == list(state.trainings) and not self.base.exists():
            results.publish(self.base, _encode(stages.snapshot(state)))  # the first of two workers wins
        if outcome.phase == "train" and time.monotonic() - self.saved_at >= self.job.checkpoint_seconds:
            results.replace(self.checkpoint, _encode(stages.snapshot(state)))
            self.saved_at = time.monotonic()


@functools.cache
def code_version() -> str:
    """8 hexadecimal digits of the source of every room that a checkpoint or a trained base may depend on, and of the
    versions of the libraries that train.

    Whole folders: a list of files misses the next one. An edit to a measure costs unfinished trials their checkpoints.
    """
    root = Path(study.__file__).parent
    files = sorted(
        path for room in ("spec", "theory", "nets", "attacks", "trial") for path in (root / room).rglob("*.py")
    )
    whole = hashlib.sha256()
    for path in files:
        whole.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    whole.update(" ".join(map(version, TRAINING)).encode())
    return whole.hexdigest()[:8]


def _encode(saved: dict[str, Any]) -> bytes:
    """A snapshot behind its own sha256."""
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    return results.seal(buffer.getvalue())


def _read_snapshot(path: places.Place) -> dict[str, Any] | None:
    """A snapshot; None (start from the beginning) when there is none or it is damaged: then it is set aside."""
    try:
        content = results.unseal(path.read_bytes())
    except FileNotFoundError:  # another worker may have found it damaged
        return None
    if content is None:
        results.put_aside(path, "the trial starts from the beginning")
        return None
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # sealed and yet no snapshot of ours: somebody else's file, which is not to be trusted
        results.put_aside(path, "it holds more than tensors; the trial starts from the beginning")
        return None


def _report(outcome: Outcome) -> dict[str, Any]:
    """The live numbers: phase, epoch (over all trainings) and newest training loss."""
    losses = [(epoch, value) for epoch, name, value in outcome.state.curves() if name == "train_loss"]
    report: dict[str, Any] = {"phase": outcome.phase, "epoch": losses[-1][0] if losses else 0}
    return report | ({"train_loss": losses[-1][1]} if losses else {})
