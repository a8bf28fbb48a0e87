"""A job: what a worker must know to attempt one trial. Light, so that plans are made without torch."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from study.spec.config import Trial
from study.spec.datasets import label
from study.spec.errors import UsageError
from study.spec.identity import fingerprint


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that an attempt needs to know; the same for both back ends. Paths are absolute.

    `base` names the trained base that other jobs of the sweep share (the stages up to training), if any. `weights`
    asks for the final weights beside the table. `gpu_fraction` is the trial's share of a GPU and of its memory, 0 for
    none; `grown` says that it was given a larger one after it had run out of memory.
    """

    study: str
    family: str
    axes: Mapping[str, Any]
    trial: Trial
    folder: str
    data: str
    model: str
    threads: int = 1
    device: str = "cpu"
    gpu_fraction: float = 0.0
    grown: bool = False
    report_seconds: float = 0.5
    checkpoint_seconds: float = 30.0
    commit: str = ""
    search_path: str = ""
    estimated_seconds: float = 0.0
    base: str = ""
    weights: bool = False

    @property
    def fingerprint(self) -> str:
        """The trial's identity."""
        return fingerprint(self.trial)

    def larger(self) -> "Job | None":
        """The same trial with twice the share of a GPU, at most all of it; None where there is no more to try."""
        if self.grown or not 0 < self.gpu_fraction < 1:
            return None
        return replace(self, gpu_fraction=min(1.0, 2 * self.gpu_fraction), grown=True)

    def identity(self) -> dict[str, Any]:
        """The identity columns of the trial's rows, all but the status."""
        own = {"study": self.study, "family": self.family, "trial": self.fingerprint, "seed": self.trial.seed}
        return own | {"data": label(self.data), "model": self.model} | dict(self.axes)


def seconds_from_environment(name: str, default: float) -> float:
    """A positive number of seconds that an environment variable sets; UsageError when it is none."""
    text = os.environ.get(name, "")
    try:
        seconds = float(text or default)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(f"{name}={text!r} is not accepted; give seconds above 0")
    return seconds
