"""A job: what a worker must know to attempt one trial. Light, so that plans are made without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from study.config import Trial, fingerprint
from study.datasets import label


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that an attempt needs to know; the same for both back ends. Paths are absolute.

    `base` names the trained base that other jobs of the sweep share (the stages up to training), if any. `weights`
    asks for the final weights beside the table.
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

    def identity(self) -> dict[str, Any]:
        """The identity columns of the trial's rows, all but the status."""
        own = {"study": self.study, "family": self.family, "trial": self.fingerprint, "seed": self.trial.seed}
        return own | {"data": label(self.data), "model": self.model} | dict(self.axes)
