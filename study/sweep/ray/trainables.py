"""Ray Tune trainables: one per experiment family, on one base that reuses its actor, reports and checkpoints by epoch.

In a sweep the driver hands over ready jobs, under `job` of the configuration. On its own a family is a plain Tune
trainable whose configuration carries the axes by name:

    tune.Tuner(Regularization, param_space={"alpha": tune.grid_search([0.0, 0.01]), "seed": 0}).fit()

`to_tune` gives such a space for an arm of a study.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune

from study.nets import sources
from study.spec import datasets, models
from study.spec.errors import UsageError, closest
from study.spec.families import FAMILIES
from study.spec.knobs import AXES, KNOBS, off, takes
from study.spec.studies import Arm
from study.sweep.plan import pretraining
from study.sweep.plan.job import Job
from study.sweep.worker.forked import Ended, Forked

# Accuracies come with the last report of a trial, the training loss with every one: do not let Tune insist.
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")


def to_tune(arm: Arm, seeds: Sequence[int] = (0,)) -> dict[str, Any]:
    """A study's arm as the param_space of a Tuner: a grid over its axes and the seeds. Add settings by name."""
    return {name: tune.grid_search(list(values)) for name, values in {**arm.axes, "seed": seeds}.items()}


class FamilyTrainable(tune.Trainable):
    """Runs jobs one after another; `reset_config` starts the next one with nothing of the last.

    The attempts run in a process apart (study.sweep.worker.forked), which may die without this one.
    """

    family = ""
    process: Forked | None = None

    def setup(self, config: dict[str, Any]) -> None:
        self.begun = False
        self.in_sweep = "job" in config
        self.job = config.get("job") or standalone_job(self.family, config, str(Path(self.logdir).resolve()))
        self.process = self.process or Forked(ray.get_runtime_context().get_node_id())

    def step(self) -> dict[str, Any]:
        """The attempt's next report. In a sweep the end of its process is one too, under `died`, and the OSError of a
        file of ours, under `stopped_by`: of an exception Tune keeps the text alone, and it would end this worker.

        The attempt begins here, not in setup: so a worker that dies before is known not to have died of it.
        """
        assert self.process is not None
        try:
            if not self.begun:
                self.process.begin(self.job)
                self.begun = True
            report = self.process.step()
        except Ended as ended:
            if not self.in_sweep:
                raise
            return {"done": True, "died": str(ended)}
        except OSError as error:
            if not self.in_sweep:
                raise
            return {"done": True, "stopped_by": error}
        if report.get("status") == "failed" and self.job.device == "cuda":
            self.process.end()  # after some errors a CUDA context refuses everything
        gpus = ",".join(str(i) for i in ray.get_gpu_ids())
        return report | ({"gpus": gpus} if gpus else {})

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing for Tune to keep: the attempt checkpoints by epoch under its own fingerprint."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load: the attempt has looked for its own checkpoint already."""

    def cleanup(self) -> None:
        if self.process:
            self.process.close()


class Regularization(FamilyTrainable):
    """A net trained under a penalty, and the controls planted into it."""

    family = "regularization"


class LowRank(FamilyTrainable):
    """A net whose hidden layers are products of two factors."""

    family = "low_rank"


class OperatorNorm(FamilyTrainable):
    """Gradient ascent on an operator norm of a matrix."""

    family = "operator_norm"


class Compressed(FamilyTrainable):
    """A net that is trained, compressed by every means that is asked for, and fine-tuned."""

    family = "compressed"


class Transfer(FamilyTrainable):
    """A net that is pretrained on some data and trained again on its own."""

    family = "transfer"


Pareto = Compressed  # its name in earlier versions


def standalone_job(family: str, config: Mapping[str, Any], folder: str) -> Job:
    """The job of a Tune configuration: axes and settings over the defaults; UsageError for a key it does not take."""
    defaults = {name: knob.default for name, knob in KNOBS.items()}
    given = {"data": "digits", "data_dir": "", "model": "fcn", "seed": 0}
    unknown = sorted(set(config) - set(defaults) - set(given) - {"trial", "family"})
    if unknown:
        known = [*defaults, *given]
        raise UsageError(f"unknown configuration {unknown[0]!r}{closest(unknown[0], known)} Known: {', '.join(known)}")
    point = defaults | given | dict(config)
    for name, knob in KNOBS.items():
        if family not in knob.families and point[name] != knob.default:
            raise UsageError(f"the family {family} does not take {name}; it takes {', '.join(takes(family))}")
    point |= off({name: point[name] for name in AXES}, {})
    point["data_digest"] = sources.digest(point["data"], point["data_dir"])
    user_model = datasets.is_user_function(point["model"])
    point["model_digest"] = sources.source_digest(point["model"], "--model") if user_model else ""
    own = [v for n, k in KNOBS.items() if k.functions for v in (point[n] if k.several else (point[n],))]
    point["sources"] = sources.function_digests(own, "configuration")
    point["sources"] |= models.file_digests([point["weights"]], sources.file_digest)
    point["data_root"] = point["data_dir"]
    if (other := point["pretrain_data"]) in datasets.DATASETS or datasets.is_user_function(other):
        point["sources"] |= pretraining.digests([other], point["data_dir"])
    return Job(
        study="standalone",
        family=family,
        axes={name: point[name] for name in AXES},
        trial=FAMILIES[family](point),
        folder=folder,
        data=point["data"],
        model=point["model"],
        report_seconds=0.0,
    )
