"""One sweep's runs in an MLflow store: looked for first, made once, made whole again."""

import contextlib
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from study.store import layout
from study.store.arms import Arms
from study.store.manifest import Manifest
from study.tracking import content, models, overview
from study.tracking.stores import sqlite_file

PAGE = 1000
CHUNK = 900
FRONT_TAG, ON = "study.front", "on the front"
REPORTS = (layout.REPORT, f"{layout.FIGURES}/*.png")


@dataclass(frozen=True)
class State:
    """What a trial's run in the store says."""

    run: str
    parent: str
    status: str
    attempts: str
    end: int
    front: str = ""


def _state(run: Any) -> State:
    tags = run.data.tags
    parent, status, attempts = (tags.get(key, "") for key in ("mlflow.parentRunId", "study.status", "study.attempts"))
    front = tags.get(FRONT_TAG, "")
    return State(run.info.run_id, parent, status, attempts, run.info.end_time or 0, front)


class Runs:
    """A sweep's run and its children. Opening it reads what is there and mends it: each trial stands once."""

    def __init__(self, uri: str, folder: Path, manifest: Manifest) -> None:
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        self.client = MlflowClient(tracking_uri=uri)
        self.folder, self.manifest = folder, manifest
        self.arms = Arms(manifest)
        self.experiment = self._experiment(uri)
        parents = self._once("sweep")
        self.parent = self._parent(parents.get(""))
        self._describe()
        self.client.update_run(self.parent, status="RUNNING")
        self.known = {name: _state(run) for name, run in self._once("trial").items()}
        self._adopt()
        if parents and (old := parents[""].info.run_id) != self.parent:
            self.client.delete_run(old)

    def _parent(self, found: Any) -> str:
        """The sweep's run with its parameters of today. MLflow changes none that is written: a sweep that was extended
        by seeds or axes has a new run, and its trials move there."""
        wanted = overview.params(self.manifest)
        if found is None or any(found.data.params.get(key, value) != value for key, value in wanted.items()):
            return self._make_parent(wanted)
        for key in wanted.keys() - found.data.params.keys():
            self.client.log_param(found.info.run_id, key, wanted[key])
        return str(found.info.run_id)

    def _adopt(self) -> None:
        """Hang the trials of an earlier run of this sweep under the one of today."""
        for name, state in self.known.items():
            if state.parent != self.parent:
                self.client.set_tag(state.run, "mlflow.parentRunId", self.parent)
                self.known[name] = replace(state, parent=self.parent)

    def _describe(self) -> None:
        """How good the sweep is, in its description and metrics, and the experiment's first screen."""
        metrics, words = overview.summary(self.folder)
        good = overview.note(self.manifest, metrics, words)
        self.client.set_tag(self.parent, "mlflow.note.content", content.sweep_note(self.manifest, good))
        for name, word in words.items():
            if name != "front":
                self.client.set_tag(self.parent, f"study.{name}", word)
        before = self.client.get_experiment(self.experiment).tags
        shown = overview.view(self.manifest, metrics, before.get(overview.VIEW_TAG, ""), int(time.time() * 1000))
        if shown != before.get(overview.VIEW_TAG):
            self.client.set_experiment_tag(self.experiment, overview.VIEW_TAG, shown)
        if (first := overview.primary(self.manifest)) and overview.PRIMARY_TAG not in before:
            self.client.set_experiment_tag(self.experiment, overview.PRIMARY_TAG, first)

    def _experiment(self, uri: str) -> str:
        study = self.manifest.name
        if found := self.client.get_experiment_by_name(study):
            return found.experiment_id
        where = sqlite_file(uri).parent / "mlartifacts" if uri.startswith("sqlite") else None
        location = {"artifact_location": where.as_uri()} if where else {}
        note = content.experiment_note(self.manifest)
        tags = {"mlflow.note.content": note, "study.figure": self.manifest.figure}
        return self.client.create_experiment(study, **location, tags=tags)

    def _runs(self, level: str) -> list[Any]:
        """This sweep's runs of a level (sweep, trial), all pages of them."""
        own = content.sweep_id(self.manifest)
        found, token = [], None
        for key in ("study.id", "study.sweep"):  # under the latter in stores of earlier versions
            where = f"tags.`{key}` = '{own}' and tags.`study.level` = '{level}'"
            while True:
                page = self.client.search_runs([self.experiment], where, max_results=PAGE, page_token=token)
                found += page
                if not (token := page.token):
                    break
        for run in found:
            if "study.id" not in run.data.tags:
                self.client.set_tag(run.info.run_id, "study.id", own)
                self.client.set_tag(run.info.run_id, "study.sweep", self.folder.name)
        return found

    def _once(self, level: str) -> dict[str, Any]:
        """The runs of a level by fingerprint ("" for the sweep's); a second one, or a half-written trial, is deleted.

        A call that hung may have been carried out after all, so the same run can stand there twice.
        """
        kept: dict[str, Any] = {}
        for run in sorted(self._runs(level), key=lambda r: (r.info.status == "RUNNING", r.info.start_time)):
            name = run.data.tags.get("study.fingerprint", "")
            if name in kept or (level == "trial" and run.info.status == "RUNNING"):
                self.client.delete_run(run.info.run_id)
            else:
                kept[name] = run
        return kept

    def _make_parent(self, wanted: dict[str, str]) -> str:
        from mlflow.entities import Param

        tags = content.shared_tags(self.folder, self.manifest) | {"study.level": "sweep"}
        started = int(self.manifest.created * 1000)
        run = self.client.create_run(self.experiment, run_name=self.folder.name, tags=tags, start_time=started)
        self._inputs(run.info.run_id)
        self.client.log_batch(run.info.run_id, params=[Param(key, value) for key, value in wanted.items()])
        return str(run.info.run_id)

    def _inputs(self, run: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        asked = self.manifest
        if asked.data:
            dataset = Dataset(name=asked.data, digest=asked.data_digest, source_type="local", source="{}")
            self.client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def answers(self) -> bool:
        """Whether the store is there at all."""
        try:
            self.client.get_run(self.parent)
        except Exception:  # in whatever way it is away
            return False
        return True

    def stands(self, trial: str) -> bool:
        """Whether a trial's run says what the folder says now, by its status and attempts."""
        state = self.known.get(trial)
        if state is None or state.parent != self.parent:
            return False
        if (note := content.failure(self.folder, trial)) is not None:
            return (state.status, state.attempts) == ("failed", str(note.get("attempts", 1)))
        return state.status in ("ok", "diverged")

    def complete(self, trial: str) -> bool:
        """Whether nothing of a trial is left to be delivered; one with a model is looked at again."""
        return self.stands(trial) and not layout.model_path(self.folder, trial).is_dir()

    def deliver(self, trial: str) -> None:
        """The trial as one child run, read from its table, and its model; left alone where they stand already."""
        if not self.stands(trial):
            self._write(trial)
        path = layout.model_path(self.folder, trial)
        if path.is_dir() and trial in self.known:
            view = content.trial_view(self.folder, self.manifest, trial, self.parent, self.arms)
            assert view is not None
            models.deliver(self.client, self.experiment, self.known[trial].run, path, view)

    def _write(self, trial: str) -> None:
        from mlflow.entities import Metric, Param

        view = content.trial_view(self.folder, self.manifest, trial, self.parent, self.arms)
        if view is None:
            raise FileNotFoundError(f"{self.folder} holds neither a table nor a failure note of trial {trial}")
        if old := self.known.pop(trial, None):
            self.client.delete_run(old.run)
        run = self.client.create_run(self.experiment, start_time=view.start, run_name=view.name, tags=view.tags)
        name = run.info.run_id
        params = [Param(key, value) for key, value in view.params.items()]
        metrics = [Metric(*metric) for metric in view.metrics]
        for at in range(0, max(1, len(metrics)), CHUNK):
            self.client.log_batch(name, metrics=metrics[at : at + CHUNK], params=[] if at else params)
        self._inputs(name)
        self.client.set_terminated(name, view.status, end_time=view.end)
        self.known[trial] = State(name, self.parent, view.tags["study.status"], view.tags["study.attempts"], view.end)

    def close(self, status: str, artifacts: Path | None) -> None:
        """Look once more for runs made twice, attach the report and the figures, and end the sweep's run.

        It ends with the last of its trials: a rebuild next year must not make it a year long.
        """
        self._once("trial")
        if artifacts and artifacts.is_dir():
            self._sum_up(artifacts)
            for path in sorted(p for pattern in REPORTS for p in artifacts.glob(pattern)):
                with contextlib.suppress(FileNotFoundError):
                    self.client.log_artifact(self.parent, str(path), layout.FIGURES if path.suffix == ".png" else None)
        self.client.set_terminated(self.parent, status, max((s.end for s in self.known.values()), default=None))

    def _sum_up(self, folder: Path) -> None:
        """The sweep's own metrics, and a tag on each trial of a search's front."""
        from mlflow.entities import Metric

        metrics, words = overview.summary(folder)
        self._describe()
        ends = max((s.end for s in self.known.values()), default=int(self.manifest.created * 1000))
        had = self.client.get_run(self.parent).data.metrics
        news = [Metric(name, value, ends, 0) for name, value in metrics.items() if had.get(name) != value]
        self.client.log_batch(self.parent, metrics=news)
        on = set(words.get("front", "").split())
        for name, state in self.known.items():
            if name in on and not state.front:
                self.client.set_tag(state.run, FRONT_TAG, ON)
            elif state.front and name not in on:
                self.client.delete_tag(state.run, FRONT_TAG)
            self.known[name] = replace(state, front=ON if name in on else "")
