"""Nets logged as MLflow models: they load without pickle and give the same logits, once under their trial's run."""

import os

import numpy as np
import pytest
import torch
from mlflow import MlflowClient, pytorch
from mlflow.models import Model
from safetensors.torch import load_file

from study.nets.compression.mask import mask_weights
from study.nets.compression.quantize import quantize
from study.nets.fcn import fcn
from study.nets.net import Net
from study.tracking import Tracker, models
from study.tracking.__main__ import main
from tests.folders import make_folder

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder of two trials, the first one's net kept as a model and delivered."""
    folder = tmp_path_factory.mktemp("kept") / "out"
    manifest, names = make_folder(folder, 2)
    torch.manual_seed(0)
    body, hidden = fcn(SHAPE, 10, 16, 2)
    net = Net(body, (0.5,), (0.3,), tuple(hidden))
    tracker = Tracker(os.environ["MLFLOW_TRACKING_URI"], folder, manifest)
    for name in names:
        tracker.trial(name)
    path = tracker.model(names[0], net, SHAPE)
    assert tracker.model(names[0], net, SHAPE) == path
    assert tracker.close() == ""
    return folder, manifest, names, net.eval(), path


def test_the_model_loads_without_pickle_and_gives_the_same_logits(kept, monkeypatch):
    _, _, _, net, path = kept
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    loaded = pytorch.load_model(path.as_uri())
    x = torch.rand(5, *SHAPE)  # another batch size than the one that was traced
    with torch.no_grad():
        assert torch.allclose(loaded(x), net(x), atol=1e-6)
    files = {p.name for p in path.rglob("*") if p.is_file()}
    assert {"MLmodel", "model.pt2", "weights.safetensors"} <= files
    assert not [f for f in files if f.endswith((".pth", ".pkl", ".pickle"))]
    assert len({p.stat().st_mode for p in path.rglob("*") if p.is_file()}) == 1, "as the umask says, all of them"
    assert not any(b"cloudpickle" in p.read_bytes() for p in path.rglob("*") if p.is_file())
    weights = load_file(next(path.rglob("weights.safetensors")))
    assert all(torch.equal(t, weights[name]) for name, t in net.state_dict().items())


@pytest.mark.parametrize("bits", [4, 1])
def test_masked_and_quantized_nets_are_exported_as_they_are(bits, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    torch.manual_seed(0)
    body, hidden = fcn(SHAPE, 10, 16, 2)
    net = Net(body, (0.5,), (0.3,), tuple(hidden))
    small = quantize(mask_weights(net, 0.5, "magnitude", 0), bits, [torch.rand(50, *SHAPE)])
    before = {name: W.clone() for name, W in small.state_dict().items()}
    path = models.save(tmp_path, "trial", small.train(), SHAPE)
    assert small.training
    assert all(torch.equal(before[name], W) for name, W in small.state_dict().items())
    x = torch.rand(300, *SHAPE)
    with torch.no_grad():
        wanted = small.eval()(x)
        assert torch.equal(pytorch.load_model(path.as_uri())(x), wanted)
        assert not torch.equal(net(x), wanted)
    weights = load_file(next(path.rglob("weights.safetensors")))
    levels = [len(W.unique()) for W in weights.values() if W.dim() == 2]
    assert len(levels) == 3
    assert max(levels) <= 2**bits + 1, "the levels, and the mask's zeros"


def test_the_signature_says_what_goes_in_and_out(kept):
    signature = Model.load(str(kept[-1])).signature
    (images,), (logits,) = signature.inputs.inputs, signature.outputs.inputs
    assert (images.shape, images.type) == ((-1, *SHAPE), np.dtype("float32"))
    assert (logits.shape, logits.type) == ((-1, 10), np.dtype("float32"))


def test_the_model_stands_once_under_its_trial_and_a_rebuild_leaves_it_alone(kept):
    folder, manifest, names, _, _ = kept
    uri = os.environ["MLFLOW_TRACKING_URI"]
    client = MlflowClient(tracking_uri=uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "compressibility_sweep"]

    def logged():
        where = f"tags.`study.id` = '{manifest.sweep}' and tags.`study.fingerprint` = '{names[0]}'"
        (run,) = client.search_runs([experiment.experiment_id], where)
        (model,) = client.search_logged_models([experiment.experiment_id], f"source_run_id = '{run.info.run_id}'")
        assert [o.model_id for o in run.outputs.model_outputs] == [model.model_id]
        assert model.params == run.data.params
        assert {m.key: m.value for m in model.metrics} == {"clean_accuracy": run.data.metrics["clean_accuracy"]}
        assert {a.path for a in client.list_logged_model_artifacts(model.model_id)} >= {"MLmodel", "data"}
        return model.model_id

    first = logged()
    assert main(["rebuild", str(folder), "--tracking-uri", uri]) == 0
    assert logged() == first
