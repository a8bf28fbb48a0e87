"""Where jobs come from: both back ends ask a source for ready jobs and tell it which are over."""

from collections import deque
from collections.abc import Mapping
from typing import Protocol

from study.sweep.plan.job import Job


class Source(Protocol):
    """Hands out ready jobs in the driver."""

    @property
    def over(self) -> bool:
        """Every job was handed out and told; a search knows after the `next` that found no more."""

    @property
    def jobs(self) -> Mapping[str, Job]:
        """Every job known so far, by fingerprint."""

    @property
    def total(self) -> int:
        """How many jobs will have been handed out in the end, as far as is known."""

    @property
    def certain(self) -> bool:
        """Whether the total is known for certain, and not only that there will be so many at least."""

    def next(self) -> Job | None:
        """A job to run now; None when it must wait for one that is running, or when all is over."""

    def told(self, job: Job) -> None:
        """A job is published, or its failure noted."""


class FixedList:
    """The jobs of a grid, in order; but one whose trained base a running job is to make waits for that job, and others
    go before it: a second worker would train the same net once more."""

    certain = True

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        self.jobs = jobs
        self.total = len(jobs)
        self._left, self._out = deque(jobs.values()), set[str]()
        self._making, self._made = dict[str, str](), set[str]()  # by the job that trains it; those done

    @property
    def over(self) -> bool:
        """Every job was handed out and told."""
        return not self._left and not self._out

    def next(self) -> Job | None:
        """The first of the list that waits for no other."""
        making = set(self._making.values())
        at = next((i for i, job in enumerate(self._left) if job.base not in making), None)
        if at is None:
            return None
        job = self._left[at]
        del self._left[at]
        self._out.add(job.fingerprint)
        if job.base and job.base not in self._made:
            self._making[job.fingerprint] = job.base
        return job

    def told(self, job: Job) -> None:
        """One less to wait for."""
        self._out.discard(job.fingerprint)
        if base := self._making.pop(job.fingerprint, ""):
            self._made.add(base)
