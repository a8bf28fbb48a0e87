"""`study.audit`: what `python -m study.launch audit` does, from Python, of a net and images that are in memory."""

import copy
import hashlib
import inspect
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn

from analysis import notebook
from analysis import report as reports
from study.nets import handed
from study.nets.build import Shape
from study.spec.errors import UsageError
from study.store import layout, manifest, results
from study.store.lease import lock
from study.sweep import listing, preflight, runner, typed
from study.sweep.console import Discreet
from study.sweep.export import go as exports
from study.sweep.plan.folder import against_folder
from study.sweep.plan.plan import Plan
from study.sweep.plan.request import Request, make_plan
from study.sweep.plan.source import FixedList
from study.sweep.worker.listener import Options

Builder = Callable[[Shape, int], nn.Module]
Arrays = Sequence[Any]  # of tensors, arrays or lists


@dataclass(frozen=True)
class Audit:
    """What an audit found: its `folder` (report.html lies there), the tidy table `frame`, the `verdict` in plain
    sentences, `notes` on what was left out and why, and the causes of trials that `failed`, by fingerprint."""

    folder: Path
    frame: pd.DataFrame
    verdict: tuple[str, ...]
    notes: tuple[str, ...]
    failed: Mapping[str, str]
    data_dir: str = ""

    def figures(self) -> dict[str, Figure]:
        """The figures of the report, by id."""
        return {name: notebook.draw(self.folder, name) for name in reports.named(manifest.load(self.folder))[1]}

    def export(self, trial: str, path: str | Path, to: str = "onnx") -> None:
        """Write the net of a trial (the beginning of its fingerprint) to a file: onnx, safetensors or torch, read again
        and compared before it is there. UsageError where it is there already, or cannot be written."""
        if to not in exports.SUFFIX:
            raise UsageError(f"to={to!r} is not accepted; give {', '.join(exports.SUFFIX)}")
        exports.go(self.folder, trial, to, str(path), self.data_dir, False, False, Discreet(stderr=True))

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{escape(sentence)}</li>" for sentence in (*self.verdict, *self.notes))
        return f"<ul>{said}</ul>"


def audit(
    net: nn.Module | Builder | str,
    data: str | Arrays,
    *,
    weights: str | Path = "",
    normalization: str = "",
    data_dir: str = "",
    preset: str = "laptop",
    output: str | Path = "",
    gpus_per_trial: float = 0.0,
    quiet: bool = False,
    **knobs: Any,
) -> Audit:
    """Audit a trained net in this process, without Ray or MLflow: the numbers and figures of the command line's audit.

    `net` is a module (a copy is taken), a function (shape, classes) -> module, or what --model takes. `data` is what
    --data takes, or test images and their labels (x, y): x of shape (N, C, H, W) in [0, 1], y of whole numbers (N,);
    as there are no others, the ranges of quantized activations are calibrated on them. (train_x, train_y, x, y) says
    which images to calibrate and fine-tune on. All test images count, unless `test_size` says how many.
    `weights`, `normalization`, `data_dir`, `preset` and `output` are the options of the command (docs/audit.md);
    `output` is a temporary folder where none is given. Images given as tensors go to the net as they are, unless
    `normalization` says otherwise. Further keywords are knobs, as --set has them: bits=(8, 4), finetune="standard".

    UsageError for anything that is not accepted, for a net at the level of chance, and for a folder with results.
    """
    tensors = not isinstance(data, str)
    if tensors and len(data) == 2 and str(knobs.get("finetune", "none")) != "none":
        raise UsageError("finetune needs images to train on: give data as (train_x, train_y, x, y)")
    with torch.random.fork_rng(), _threads():
        request = Request(
            study="audit",
            preset=preset,
            overrides=_words({"test_size": 0} | knobs if tensors else knobs)
            | typed.net(str(weights), normalization or ("none" if tensors else "")),
            data=_images(data) if not isinstance(data, str) else data,
            data_dir=typed.data_dir(data_dir),
            model=net if isinstance(net, str) else _model(net),
            output=str(output) or tempfile.mkdtemp(prefix="audit-"),
            gpus_per_trial=gpus_per_trial,
        )
        plan = make_plan(request)
        if (plan.folder / layout.STUDY).exists():
            raise UsageError(f"output {output} holds results already: study.results.read has them; give another folder")
        plan, _ = against_folder(plan, resume=False)
        preflight.check_trials(plan)
        return _run(plan, data_dir, quiet)


def _run(plan: Plan, data_dir: str, quiet: bool) -> Audit:
    console = Discreet(stderr=True)
    console.quiet = quiet
    for note in listing.notes(plan):
        console.print(f"Note: {note}", markup=False)
    with lock(plan.folder, plan.place):
        runner.write_manifest(plan, None)
        options = Options(cpus_per_trial=plan.cpus_per_trial, gpus_per_trial=plan.gpus_per_trial)
        report = runner.run(plan, FixedList(plan.jobs), options, console, ray_backend=False, workers=1)
        summary = reports.write(plan.folder, str(plan.place), "", plan.study.claims, plan.study.figures)
    console.print(f"Report: {plan.folder / layout.REPORT}", markup=False)
    return Audit(
        folder=plan.folder, frame=results.read(plan.folder), verdict=tuple(summary.given), notes=plan.notes,
        failed=report.failed, data_dir=typed.data_dir(data_dir),
    )  # fmt: skip


@contextmanager
def _threads() -> Iterator[None]:
    """Trials compute at the number of threads that they are planned with: the caller's own comes back."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _words(knobs: Mapping[str, Any]) -> dict[str, str]:
    """Knobs as --set writes them."""
    return {name: ",".join(map(_word, v)) if isinstance(v, (tuple, list)) else _word(v) for name, v in knobs.items()}


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _model(net: Any) -> str:
    """A module, or a function that returns one, under a name: identified by its weights, or its source."""
    if isinstance(net, nn.Module):
        own = copy.deepcopy(net).cpu()
        whole = hashlib.sha256(repr(own).encode())
        for name, W in own.state_dict().items():
            whole.update(f"\0{name} {W.dtype} {tuple(W.shape)}\0".encode() + _bytes(W))
        return handed.over(type(net).__name__, lambda shape, classes: copy.deepcopy(own), whole.hexdigest()[:16])
    if not callable(net):
        raise UsageError(
            "net: a torch.nn.Module, a function (shape, classes) that returns one, or a model's name is accepted, got "
            f"{type(net).__name__}"
        )
    name = getattr(net, "__name__", type(net).__name__)
    try:
        source = inspect.getsource(net)
    except (OSError, TypeError):  # typed where no source is kept
        source = repr(net)
    return handed.over(name, net, hashlib.sha256(source.encode()).hexdigest()[:16])


def _bytes(W: torch.Tensor) -> bytes:
    return W.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes() if W.numel() else b""


def _images(data: Arrays) -> str:
    """Images and labels under a name; UsageError unless there are two parts, or four."""
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 4):
        raise UsageError(
            "data: a data set's name, (x, y), or (train_x, train_y, x, y) is accepted, got "
            f"{type(data).__name__}{f' of {len(data)}' if isinstance(data, (tuple, list)) else ''}"
        )
    parts = tuple(p.detach().cpu().numpy() if isinstance(p, torch.Tensor) else np.asarray(p) for p in data)
    whole = parts if len(parts) == 4 else (*parts, *parts)
    return handed.over("images", lambda: whole, "images")  # what it returns is part of the digest of data anyway
