"""What a back end is given and whom it tells: the two back ends share these."""

from dataclasses import dataclass
from typing import Any, Protocol

from study.sweep.plan.job import Job


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run jobs: resources of a trial, most at once (0 = as many as fit), seconds to stop after (0 = never).

    A worker that gives no sign of life for hang_seconds is ended and its trial tried again.
    """

    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    max_concurrent: int = 0
    time_budget: float = 0.0
    storage: str = ""
    hang_seconds: float = 60.0


class Listener(Protocol):
    """Told of every trial's start, reports and end, in the driver."""

    def started(self, job: Job) -> None:
        """An attempt begins."""

    def reported(self, job: Job, report: dict[str, Any]) -> None:
        """Phase, epoch and training loss of a running trial."""

    def finished(self, job: Job, report: dict[str, Any]) -> None:
        """The trial is published (status ok or diverged) or its failure noted (status failed)."""

    def died(self, job: Job, cause: str, log: str) -> None:
        """The trial's worker is gone for good; nothing was noted yet."""
