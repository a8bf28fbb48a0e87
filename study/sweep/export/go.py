"""`export DIR TRIAL`: a finished trial's net to one file, read again and compared before it is there."""

from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from study.nets.net import Net
from study.spec.config import Build, Trial
from study.spec.errors import UsageError, brief
from study.store import places
from study.store.table import Finished
from study.sweep import evaluate
from study.sweep.export import files, to_onnx
from study.trial.state import State

SUFFIX = {"onnx": ".onnx", "safetensors": ".safetensors", "torch": ".pt"}
IMAGES = 256  # test images that the file's net is compared on
EQUAL, TIE = 1e-6, 1e-5  # of the largest logit
AGREE = 0.95  # of the predictions: another library rounds otherwise, and a tie may tip over a quantized input


def go(
    folder: Path, trial: str, to: str, out_file: str, data_dir: str, force: bool, retrain: bool, out: Console
) -> int:
    """Write the file and say how large it is and that its net is the one that was measured; the exit status.

    UsageError before anything is computed where it cannot be written, and before anything is written where its net is
    another one.
    """
    if to == "onnx":
        to_onnx.check()
    name = evaluate.named(folder, trial)
    path = _target(out_file or f"{name}{SUFFIX[to]}", force)
    finished, asked, state = evaluate.state(folder, name, data_dir, retrain)
    assert state.net is not None
    assert state.data is not None
    net, images = state.net.eval(), state.data.test[:IMAGES][0]
    with torch.no_grad():
        there = net(images)
    if to == "onnx":
        content = to_onnx.program(net, state.data.shape)
        told = _same_predictions(there, to_onnx.logits(content, images))
        size = f"{len(content)} bytes, weights as float32"
    else:
        content, size = _packed(to, state, asked, finished, path)
        told = _same_logits(there, files.decoded(content, str(path), _model(asked)), images)
    if force:
        places.replace(path, content)
    elif not places.publish(path, content):
        raise UsageError(_taken(path))
    out.print(f"{path}: {size}", markup=False)
    out.print(f"Read again it {told}", markup=False)
    return 0


def _target(text: str, force: bool) -> Path:
    """The file to write; UsageError where it is there already or cannot be written."""
    path = Path(text)
    folder = path.resolve().parent
    if not folder.is_dir() or path.is_dir():
        raise UsageError(f"--out {text}: give a file in a folder that exists")
    if path.exists() and not force:
        raise UsageError(_taken(path))
    if why := places.unwritable(folder):
        raise UsageError(f"--out {text}: nothing can be written in {why[0]} ({why[1]})")
    return path.resolve()


def _taken(path: Path) -> str:
    return f"{path} is there already; --force writes over it, --out names another file"


def _model(trial: Trial) -> str:
    return next((s.model for s in trial.stages if isinstance(s, Build)), "")


def _packed(to: str, state: State, trial: Trial, finished: Finished, path: Path) -> tuple[bytes, str]:
    """The file's content, and how its size comes about beside the table's stored_bytes."""
    try:
        content, tensors = files.content(to, state, trial)
    except ValueError as error:
        raise UsageError(f"the net cannot be packed: {brief(str(error))}") from None
    assert state.net is not None
    constants = sum(c.numel() * c.element_size() for c in (state.net.mean, state.net.std))
    rest = len(content) - tensors
    parts = f"weights {tensors - constants}, normalisation {constants}, header and architecture {rest}"
    row = next((r["value"] for r in finished.rows if r["measure"] == "stored_bytes"), None)
    table = "the table has no stored_bytes" if row is None else f"stored_bytes in the table {row:.0f}"
    return content, f"{len(content)} bytes: {parts}; {table}"


def _same_logits(there: Tensor, net: Net, images: Tensor) -> str:
    with torch.no_grad():
        apart = float((net(images) - there).abs().max())
    if not apart <= EQUAL * max(1.0, float(there.abs().max())):
        raise UsageError(f"packed, the net gives other logits (by {apart:.2g}): it cannot be exported so")
    return f"gives the net's logits on {len(images)} test images (largest difference {apart:.2g})"


def agreeing(there: Tensor, here: Tensor) -> int:
    """How many predictions of logits `here` are those of `there`, (N, classes) both; of classes that tie there, as of
    nets with few levels some do exactly, either is."""
    best, chosen = there.max(1).values, there.gather(1, here.argmax(1, keepdim=True))[:, 0]
    return int((best - chosen <= TIE * max(1.0, float(there.abs().max()))).sum())


def _same_predictions(there: Tensor, here: Tensor) -> str:
    alike = agreeing(there, here)
    if alike < AGREE * len(there):
        raise UsageError(
            f"in onnxruntime the net predicts another class for {len(there) - alike} of {len(there)} test images: it "
            "cannot be exported so"
        )
    return f"gives the net's predictions in onnxruntime on {alike} of {len(there)} test images"
