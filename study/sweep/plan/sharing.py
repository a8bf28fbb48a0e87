"""What a plan saves by training once what several of its trials begin with."""

from collections import Counter
from typing import Any, NamedTuple

from study.sweep.plan import costs
from study.sweep.plan.job import Job
from study.sweep.plan.plan import Plan


class Sharing(NamedTuple):
    """So many `trials` begin with one of so many `bases`, trained once each; training all of them anew would take
    `share` of the seconds of all trials."""

    bases: int
    trials: int
    share: float

    @property
    def spared(self) -> int:
        """Trainings that are left out."""
        return self.trials - self.bases


def sharing(plan: Plan) -> Sharing:
    """What the trials of a plan share; of a search nothing is known before it asks."""
    if plan.preset.search is not None:
        return Sharing(0, 0, 0.0)
    trained = [job for job in plan.jobs.values() if job.base]
    firsts = {job.base: job for job in reversed(trained)}
    counts = Counter(job.base for job in trained)
    spared = sum((counts[base] - 1) * _training(plan, job) for base, job in firsts.items())
    whole = sum(job.estimated_seconds for job in plan.jobs.values())
    return Sharing(len(firsts), counts.total(), spared / whole if whole else 0.0)


def _training(plan: Plan, job: Job) -> float:
    """Estimated seconds of a job's first training, with which its base ends."""
    values: dict[str, Any] = {**plan.settings, **job.axes}
    first = "pretrain_epochs" if values["pretrain_data"] != "none" else "epochs"
    gpu = plan.gpus_per_trial > 0
    with_it, without = (costs.trial_seconds(plan.data, plan.model, v, gpu) for v in (values, values | {first: 0}))
    return with_it - without
