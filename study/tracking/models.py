"""Nets worth keeping, as MLflow models: an exported program with a signature, and plain weights. Nothing pickled.

models/TRIAL of a results folder holds MLflow's model folder: MLmodel, data/model.pt2 (from torch.export; MLflow loads
it with MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false) and extra_files/weights.safetensors. The store gets a copy.
"""

import copy
import importlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from study.store import layout
from study.tracking.content import TrialView

if TYPE_CHECKING:
    from torch import nn

N = TypeVar("N", bound="nn.Module")


def save(folder: Path, trial: str, net: "nn.Module", shape: tuple[int, int, int]) -> Path:
    """Write a net's model folder, complete or absent; the first one stays.

    `shape` is (channels, height, width); the signature takes images (n, *shape) in [0, 1], n free, and gives logits
    (n, classes). Whatever torch.export cannot trace raises its error.
    """
    path = layout.model_path(folder, trial)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=".tmp-"))
    try:
        _write(temporary, net, shape)
        if not path.exists():
            os.rename(temporary / "model", path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def plain(net: N) -> N:
    """A copy on the CPU, in evaluation mode, whose masked or quantized weights are plain numbers."""
    nn = importlib.import_module("torch.nn")
    net = copy.deepcopy(net).eval().cpu()
    for module in [m for m in net.modules() if nn.utils.parametrize.is_parametrized(m)]:
        names: Any = module.parametrizations
        values = {name: getattr(module, name).detach().clone() for name in names}
        # By hand: torch's own removal edits the class, which the copy shares with the original.
        module.__class__ = nn.utils.parametrize.type_before_parametrizations(module)
        del module.parametrizations
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value))
    return net


def _write(temporary: Path, net: "nn.Module", shape: tuple[int, int, int]) -> None:
    torch = importlib.import_module("torch")
    safetensors = importlib.import_module("safetensors.torch")
    from mlflow import pytorch
    from mlflow.models import infer_signature

    net = plain(net)
    weights = temporary / "weights.safetensors"
    safetensors.save_file({name: t.detach().contiguous().clone() for name, t in net.state_dict().items()}, weights)
    example = torch.zeros(2, *shape).numpy()  # two of them: torch.export takes a batch of one for a constant
    with torch.no_grad():
        logits = net(torch.from_numpy(example)).numpy()
    pytorch.save_model(
        net,
        str(temporary / "model"),
        signature=infer_signature(example, logits),
        input_example=example,
        serialization_format="pt2",
        pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}"],
        extra_files=[str(weights)],
    )
    for path in (temporary / "model").rglob("*"):  # safetensors and MLflow make some for this user alone
        shutil.copymode(temporary / "model" if path.is_dir() else temporary / "model" / "MLmodel", path)


def deliver(client: Any, experiment: str, run: str, path: Path, view: TrialView) -> None:
    """Log a model folder under its trial's run, with the trial's parameters and the finished net's numbers to compare;
    one that stands there whole is left alone."""
    from mlflow.entities import LoggedModelOutput, Metric

    for model in client.search_logged_models([experiment], f"source_run_id = '{run}'"):
        if str(model.status) == "READY":
            return
        client.delete_logged_model(model.model_id)
    tags = {"study.fingerprint": path.name, "study.sweep": view.tags["study.sweep"]}
    model = client.create_logged_model(experiment, f"net-{path.name}", source_run_id=run, tags=tags, params=view.params)
    last = [Metric(*metric, model_id=model.model_id) for metric in view.metrics if not metric[3]]
    client.log_batch(run, metrics=[m for m in last if not m.key.startswith("system/")])
    client.log_model_artifacts(model.model_id, str(path))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
