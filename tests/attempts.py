"""A job without a plan, and an attempt run to its end."""

from study.spec.knobs import AXES
from study.sweep.plan.job import Job


def job(folder, trial, **more):
    axes = {name: knob.default for name, knob in AXES.items()}
    return Job(study="s", family="regularization", axes=axes, trial=trial, folder=str(folder), data="digits",
               model="fcn",                **more)  # fmt: skip


def finish(attempt):
    while not (report := attempt.step())["done"]:
        pass
    return report
