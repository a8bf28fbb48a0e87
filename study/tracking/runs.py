"""One sweep's runs in an MLflow store: looked for first, made once, made whole again."""

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.store import layout
from study.store.manifest import Manifest
from study.tracking import content, models
from study.tracking.stores import sqlite_file

PAGE = 1000
CHUNK = 900
REPORTS = (layout.REPORT, f"{layout.FIGURES}/*.png")


@dataclass(frozen=True)
class State:
    """What a trial's run in the store says."""

    run: str
    parent: str
    status: str
    attempts: str
    end: int


def _state(run: Any) -> State:
    tags = run.data.tags
    parent, status, attempts = (tags.get(key, "") for key in ("mlflow.parentRunId", "study.status", "study.attempts"))
    return State(run.info.run_id, parent, status, attempts, run.info.end_time or 0)


class Runs:
    """A sweep's run and its children. Opening it reads what is there and mends it: each trial stands once."""

    def __init__(self, uri: str, folder: Path, manifest: Manifest) -> None:
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        self.client = MlflowClient(tracking_uri=uri)
        self.folder, self.manifest = folder, manifest
        self.experiment = self._experiment(uri)
        parents = self._once("sweep")
        self.parent = parents[""].info.run_id if parents else self._make_parent()
        self.client.set_tag(self.parent, "mlflow.note.content", content.sweep_note(manifest))  # sweeps are extended
        self.client.update_run(self.parent, status="RUNNING")
        self.known = {name: _state(run) for name, run in self._once("trial").items()}

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
        where = f"tags.`study.sweep` = '{content.sweep_id(self.manifest)}' and tags.`study.level` = '{level}'"
        found, token = [], None
        while True:
            page = self.client.search_runs([self.experiment], where, max_results=PAGE, page_token=token)
            found += page
            if not (token := page.token):
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

    def _make_parent(self) -> str:
        tags = content.shared_tags(self.manifest) | {"study.level": "sweep"}
        started = int(self.manifest.created * 1000)
        run = self.client.create_run(self.experiment, run_name=self.folder.name, tags=tags, start_time=started)
        self._inputs(run.info.run_id)
        for key, value in content.settings(self.manifest).items():
            self.client.log_param(run.info.run_id, key, value)
        return run.info.run_id

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
            view = content.trial_view(self.folder, self.manifest, trial, self.parent)
            assert view is not None
            models.deliver(self.client, self.experiment, self.known[trial].run, path, view)

    def _write(self, trial: str) -> None:
        from mlflow.entities import Metric, Param

        view = content.trial_view(self.folder, self.manifest, trial, self.parent)
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
            for path in sorted(p for pattern in REPORTS for p in artifacts.glob(pattern)):
                with contextlib.suppress(FileNotFoundError):
                    self.client.log_artifact(self.parent, str(path), layout.FIGURES if path.suffix == ".png" else None)
        self.client.set_terminated(self.parent, status, max((s.end for s in self.known.values()), default=None))
