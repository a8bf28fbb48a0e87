"""A finished trial's net again, from its saved weights or from the beginning, and its numbers against its table."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.nets import keyed
from study.nets.sources import file_digest
from study.spec import datasets
from study.spec.attack_names import KEPT, differing
from study.spec.config import Build, Robustness, Train, Trial
from study.spec.errors import UsageError, closest
from study.spec.identity import fingerprint, trial_of
from study.spec.models import FILE
from study.spec.names import metric_name
from study.store import layout, manifest, results, shapes

if TYPE_CHECKING:
    from rich.console import Console

    from study.nets.net import Net
    from study.trial.state import State

IDENTITY = ("measure", "attack", "layer", "norm", "eps", "kept", "pruning", "k", "draw", "on", "split", "step", "n")
KNOWN = {"threads": shapes.whole, "device": shapes.text, "configuration": shapes.named(lambda found: True)}


@dataclass
class Comparison:
    """What was measured again: rows compared, those that differ, and whether the net was trained again for it; the
    numbers worth showing by flat name, and over how many images those are taken that are shares of images.

    `added` counts rows of measures that the table has none of, since an older version did not know them.
    """

    trained: bool
    rows: int = 0
    added: int = 0
    different: list[str] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Every deterministic row has the same value, bit for bit."""
        return self.rows > 0 and not self.different


def again(folder: Path, wanted: str, data_dir: str, retrain: bool = False) -> Comparison:
    """Measure the trial whose fingerprint begins with `wanted`; UsageError where that is none, or more than one.

    From the weights in models/ where they are kept (training curves are then not compared), else by training again.
    Equal numbers are promised on one CPU build at one thread count.
    """
    import torch

    from study.sweep.worker import weights
    from study.trial.run import run

    name = named(folder, wanted)
    finished, trial = _read(folder, name, data_dir)
    for measure in trial.measures:
        if isinstance(measure, Robustness):
            _check_revisions(name, measure)
    torch.set_num_threads(finished.provenance["threads"])
    path = folder / weights.name_of(name)
    kept = None
    if path.exists() and not retrain:
        try:
            kept = weights.load(path)
        except ValueError as error:
            raise UsageError(f"{error}; measure it by training again: --retrain") from None
    device = "cpu" if finished.provenance["device"] == "cpu" else "cuda"
    *_, outcome = run(trial, resume=kept[1] if kept else None, device=device)
    found = Comparison(trained=kept is None)
    if kept:
        assert outcome.state.net is not None
        net = outcome.state.net.state_dict()
        same = net.keys() == kept[0].keys() and all(torch.equal(net[k].cpu(), W) for k, W in kept[0].items())
        found.different += [] if same else ["weights"]
    _compare(found, finished.rows, outcome.rows)
    return found


def net(folder: Path, name: str, data_dir: str) -> "tuple[Net, tuple[int, int, int]]":
    """The measured net of a finished trial from its saved weights, on the CPU, and the shape of one image; UsageError
    as `state` raises it."""
    _, _, found = state(folder, name, data_dir)
    assert found.net is not None
    assert found.data is not None
    return found.net, found.data.shape


def state(folder: Path, name: str, data_dir: str, retrain: bool = False) -> "tuple[results.Finished, Trial, State]":
    """A finished trial's table, the trial, and its state with the measured net on the CPU: from its saved weights, or
    to `retrain` where there are none (the same net on one CPU build at one thread count).

    UsageError where the trial or its weights are not there or damaged, or its GPU is not.
    """
    import torch

    from study.sweep.worker import weights
    from study.trial.run import run

    finished, trial = _read(folder, name, data_dir)
    path = folder / weights.name_of(name)
    kept = None
    retrain |= not path.exists() and not any(isinstance(stage, Train) for stage in trial.stages)  # nothing to train
    if not retrain and not path.exists():
        raise UsageError(
            f"no weights of trial {name} are kept in {folder} (a sweep keeps them with --keep-weights, a search those "
            "of its finalists); --retrain trains it again"
        )
    if not retrain:
        try:
            kept = weights.load(path)
        except ValueError as error:
            raise UsageError(f"{error}; --retrain trains it again") from None
    device = "cpu" if kept or finished.provenance["device"] == "cpu" else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"trial {name} was trained on {finished.provenance['device']}; train it again where a GPU is")
    torch.set_num_threads(finished.provenance["threads"])
    *_, outcome = run(replace(trial, measures=()), resume=kept[1] if kept else None, device=device)
    found = outcome.state
    assert found.net is not None
    found.net.cpu()
    if kept:  # what an older version did not keep, the stages have made again
        found.net.load_state_dict(kept[0], strict=False)
    return finished, trial, found


def show(out: "Console", found: Comparison) -> None:
    """The numbers with their intervals over images, and whether all are equal."""
    from analysis.intervals import over_images

    for name, value in found.values.items():
        images = found.images.get(name, 0)
        reach = over_images(value, images)
        spread = f" [{reach.low:.3f}, {reach.high:.3f}] over {images} images" if images else ""
        out.print(f"  {name} {value:g}{spread}", markup=False)
    how = "trained again" if found.trained else "from the saved weights"
    differing = f"; different: {', '.join(found.different[:8])}" if found.different else ""
    added = f"; {found.added} rows of measures that the table's version did not know" if found.added else ""
    out.print(f"{'equal' if found.equal else 'different'}: {found.rows} rows {how}{differing}{added}", markup=False)


def _read(folder: Path, name: str, data_dir: str) -> tuple[results.Finished, Trial]:
    """A finished trial's table and the trial that its configuration describes; UsageError where they do not agree."""
    try:
        finished = results.read_trial(layout.trial_path(folder, name))
    except results.Damaged as error:
        again = "the command of its sweep, with --resume, runs it again"
        raise UsageError(f"the table of trial {name} is damaged ({error}); {again}") from None
    if shapes.wrong(finished.provenance, KNOWN):
        raise UsageError(f"the table of trial {name} does not say how it was made: it cannot be measured again")
    if finished.rows[0]["status"] != "ok":
        raise UsageError(f"trial {name} {finished.rows[0]['status']}: there is nothing to measure")
    configuration = finished.provenance["configuration"]
    here = str(Path(data_dir).resolve())

    def root(data: str) -> str:  # the table has no path of it
        return here if data.startswith("imagefolder:") else datasets.folder(data, here)

    try:
        trial = trial_of(configuration, root)
    except (KeyError, TypeError, ValueError):  # a stage, measure or field that this version does not know
        trial = None
    if trial is None or fingerprint(trial) != name:
        raise UsageError(f"trial {name} was written by a version whose configurations this one does not read")
    stages = tuple(_found(folder, stage) if isinstance(stage, Build) else stage for stage in trial.stages)
    return finished, replace(trial, stages=stages)


def _found(folder: Path, stage: Build) -> Build:
    """The stage with the place of its file of weights: where the sweep was told that it lies, if it is still the same
    (a table has its digest alone); as it is where it is not there, which matters only if it has to be read."""
    if not stage.weights.startswith(FILE):
        return stage
    study = manifest.load(folder)
    told = [study.settings.get("weights", ""), *(v for arm in study.arms for v in arm.axes.get("weights", ()))]
    paths = [str(value).removeprefix(FILE) for value in told if str(value).startswith(FILE)]
    here = [p for p in paths if keyed.split(p)[0].is_file() and f"{FILE}{file_digest(p)}" == stage.weights]
    return replace(stage, weights_file=here[0]) if here else stage


def _check_revisions(name: str, config: Robustness) -> None:
    """UsageError where an attack of the measure was of another revision than what this version computes."""
    asked = {"attack_backend": config.backend, "attack": config.attack, "audit_queries": config.audit_queries}
    if told := differing(asked, {field: getattr(config, field) for field in KEPT}):
        raise UsageError(
            f"trial {name} was attacked by {told}: it cannot be measured again here; use the version that wrote it"
        )


def named(folder: Path, wanted: str) -> str:
    """The fingerprint that begins with `wanted`; UsageError where that is of no finished trial, or of more than one."""
    names = layout.finished(folder)
    fits = [name for name in names if name.startswith(wanted)]
    if len(fits) != 1 or not wanted:
        near = closest(wanted, names) if not fits else "; write more of it."
        raise UsageError(f"{len(fits)} finished trials of {folder} are called {wanted!r}{near}")
    return fits[0]


def _compare(found: Comparison, there: list[dict[str, Any]], here: list[dict[str, Any]]) -> None:
    """Deterministic rows against each other; without training those of its curves are left out."""

    def table(rows: list[dict[str, Any]]) -> dict[str, float]:
        chosen = [r for r in rows if r["deterministic"] and (found.trained or r.get("step") is None)]
        at = [[r.get(c) if c != "step" or r.get(c) is None else float(r[c]) for c in IDENTITY] for r in chosen]
        return {json.dumps(key): r["value"] for key, r in zip(at, chosen, strict=True)}

    old, new = table(there), table(here)
    known = {json.loads(key)[0] for key in old}
    later = {key for key in new if json.loads(key)[0] not in known}
    found.added, new = len(later), {key: value for key, value in new.items() if key not in later}
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key, math.inf), new.get(key, -math.inf)
        found.rows += 1
        if a != b and not (math.isnan(a) and math.isnan(b)):
            found.different.append(metric_name(dict(zip(IDENTITY, json.loads(key), strict=True))))
    for r in here:
        if r["measure"] in ("clean_accuracy", "robust_accuracy", "stored_bytes", "macs") and r.get("split") != "train":
            name = metric_name({c: r.get(c) for c in IDENTITY})
            found.values[name] = r["value"]
            if r["measure"].endswith("_accuracy") and r.get("n"):
                found.images[name] = r["n"]
