"""An audit of a residual net with BatchNorm and of a transformer: its numbers are those of a sweep that trained the
same net, and each of its rungs can be shipped."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import layers
from study.exported import load_exported
from study.spec.models import MODELS
from study.store import layout, manifest, results
from study.sweep import evaluate, typed
from study.sweep.export import go, to_onnx
from study.sweep.plan.request import Request, make_plan
from study.sweep.worker import weights
from tests.audit_cases import TINY, WAYS
from tests.helpers import ROOT

SLOW = pytest.mark.slow
SMALL = ("--set", "width_multiplier=0.0625", "--set", "stem=small")
NETS = {
    "resnet": ("tests.audit_cases:resnet", (), "ALL"),
    "vit": ("tests.audit_cases:vit", (), "SOME"),
    "resnet18": ("resnet18", SMALL, "ALL"),
    "timm's vit": ("vit", ("--set", "width=32", "--set", "depth=1", "--set", "patch_size=8"), "ALL"),
}
# What the study trains with learns nothing of so narrow a transformer, whose audit would be refused.
SLOWER = {"timm's vit": ("--set", "epochs=20", "--set", "learning_rate=0.001")}
BOTH = [
    "resnet",
    pytest.param("vit", marks=SLOW),
    pytest.param("resnet18", marks=SLOW),
    pytest.param("timm's vit", marks=SLOW),
]


def knobs(**values):
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, here):
    """A net's name -> the folder of a sweep that trained and compressed it (in `sweep`), and its state dict, net.pt."""
    made = {}

    def of(name):
        if name not in made:
            model, own, study = NETS[name]
            folder = made[name] = tmp_path_factory.mktemp("net")
            done = here(f"tests.audit_cases:{study}", "--model", model, *own, *SLOWER.get(name, ()), "--in-process",
                        "--keep-weights", "--output", "sweep", cwd=folder)  # fmt: skip
            assert done.returncode == 0, done.stderr
            tensors, _ = weights.load(folder / "sweep" / weights.name_of(as_it_is(folder / "sweep")))
            torch.save(body(tensors), folder / "net.pt")
        return made[name]

    return of


def body(tensors):
    return {name.removeprefix("body."): W for name, W in tensors.items() if name.startswith("body.")}


def as_it_is(folder):
    frame = results.read(folder)
    off = (
        (frame["keep_prob"] == 1) & (frame["prune_ratio"] == 0) & (frame["factorize_ratio"] == 0) & (frame["bits"] == 0)
    )
    (name,) = frame.loc[off, "trial"].unique()
    return name


def audited(name, folder, here, output, *words):
    model, own, _ = NETS[name]
    done = here("audit", "--model", model, *own, "--weights", "net.pt", "--in-process", "--output", output, *words,
                cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def numbers(folder):
    """Every number of a folder that a trial computes alike each time, by what it is of."""
    frame = results.read(folder)
    kept = frame[frame["deterministic"] & frame["step"].isna() & (frame["measure"] != "training_passes")]
    kept = kept.drop(columns=["study", "arm", "trial"]).dropna(axis=1, how="all")
    keys = [c for c in kept.columns if c != "value"]
    return kept.sort_values(keys, kind="stable").reset_index(drop=True)


@pytest.mark.parametrize("name", BOTH)
def test_the_numbers_are_those_of_a_sweep_that_trained_the_same_net(name, trained, here):
    """Clean and robust accuracy, structure, bytes, of the net and of each way of compression; bit for bit."""
    folder = trained(name)
    levels = knobs(**{way: level for way, (level,) in WAYS.items()}, **TINY, train_size=700, eps_linf="8/255,16/255")
    done = audited(name, folder, here, "audit", *levels)
    assert ("prune_ratio is left out" in done.stderr) == (NETS[name][2] == "SOME")
    swept, given = numbers(folder / "sweep"), numbers(folder / "audit")
    pd.testing.assert_frame_equal(swept, given)
    assert {"clean_accuracy", "robust_accuracy", "operator_norm", "compress_eps_nu", "stored_bytes", "macs"} <= set(
        given["measure"]
    )
    page = (folder / "audit/report.html").read_text()
    assert ("prune_ratio is left out: " in page) == (NETS[name][2] == "SOME")
    study, frame = manifest.load(folder / "audit"), results.read(folder / "audit")
    found = layers.layers(frame, study)
    assert sum(layer.energy for layer in found) == pytest.approx(1)
    assert all(
        layer.l2 <= layer.l2_bound * (1 + 1e-6) and layer.linf <= layer.linf_bound * (1 + 1e-6) for layer in found
    )
    for said in (*(layer.name for layer in found), "of the energy of the", "to be believed", "asks for no gradient"):
        assert said in page


def test_the_energy_of_a_layer_is_its_share_of_the_squared_weights(trained, here):
    folder = trained("resnet")
    audited("resnet", folder, here, "smoke", "--preset", "smoke")
    found = {
        layer.name: layer for layer in layers.layers(results.read(folder / "smoke"), manifest.load(folder / "smoke"))
    }
    state = torch.load(folder / "net.pt", weights_only=True)
    squares = {n: float(state[f"{n}.weight"].double().square().sum()) for n in found}
    assert {*found} == {n.removesuffix(".weight") for n, W in state.items() if W.ndim == 4} - {"stem"}
    for name, layer in found.items():
        assert layer.energy == pytest.approx(squares[name] / sum(squares.values()), rel=1e-5)


LEAST = knobs(
    test_size=60, attack_iterations=1, gap_iterations=1, second_attack="none", audit_queries=0, eps_linf="8/255"
)


@pytest.fixture(scope="module")
def whole(trained, here):
    """A net's name -> its folder with the whole ladder in `ladder`, as few attacks as there may be."""
    made = set()

    def of(name):
        folder = trained(name)
        if name not in made:
            audited(name, folder, here, "ladder", *LEAST)
            made.add(name)
        return folder

    return of


class Silent:
    def print(self, *words, **options):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet", "vit", "timm's vit"])
def test_every_rung_gives_the_same_logits_in_a_fresh_process(name, whole, tmp_path, monkeypatch):
    folder = whole(name)
    monkeypatch.chdir(folder)
    wanted = {}
    for trial in layout.finished(folder / "ladder"):
        go.go(folder / "ladder", trial, "safetensors", str(tmp_path / f"{trial}.st"), "data", False, False, Silent())
        _, _, state = evaluate.state(folder / "ladder", trial, "data")
        with torch.no_grad():
            wanted[trial] = state.net.eval()(state.data.test.x).numpy()
    assert len(wanted) == (17 if NETS[name][2] == "ALL" else 13)
    np.save(tmp_path / "images.npy", state.data.test.x.numpy())
    code = (
        "import sys, numpy as np, torch; from pathlib import Path; from study.exported import load_exported\n"
        "torch.set_num_threads(1); x = torch.from_numpy(np.load('images.npy'))\n"
        "nets = {p.stem: load_exported(p, model=sys.argv[1]) for p in Path('.').glob('*.st')}\n"
        "np.savez('logits.npz', **{name: net(x).detach().numpy() for name, net in nets.items()})"
    )
    model = NETS[name][0] if NETS[name][0] not in MODELS else ""
    subprocess.run([sys.executable, "-c", code, model], cwd=tmp_path, check=True, timeout=300,
                   env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""})  # fmt: skip
    found = np.load(tmp_path / "logits.npz")
    assert set(found) == set(wanted)
    for trial, logits in wanted.items():
        assert np.array_equal(found[trial], logits), trial


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet", "vit", "timm's vit"])
def test_every_rung_predicts_the_same_in_onnxruntime(name, whole, tmp_path, monkeypatch):
    for library in to_onnx.NEEDED:
        pytest.importorskip(library, reason="the extra `export` brings it")
    folder = whole(name)
    monkeypatch.chdir(folder)
    for trial in layout.finished(folder / "ladder"):
        path = tmp_path / f"{trial}.onnx"
        go.go(folder / "ladder", trial, "onnx", str(path), "data", False, False, Silent())
        _, asked, state = evaluate.state(folder / "ladder", trial, "data")
        x = state.data.test.x
        with torch.no_grad():
            alike = go.agreeing(state.net.eval()(x), to_onnx.logits(path.read_bytes(), x)) / len(x)
        quantized = any(type(stage).__name__ == "Quantize" for stage in asked.stages)
        assert alike >= 0.95 if quantized else alike == 1, asked  # a tie between levels may fall to either side


def test_a_file_of_a_rung_names_the_function_that_it_needs(whole, tmp_path, monkeypatch):
    folder = whole("resnet")
    monkeypatch.chdir(folder)
    trial = as_it_is(folder / "ladder")
    go.go(folder / "ladder", trial, "safetensors", str(tmp_path / "net.st"), "data", False, False, Silent())
    net = load_exported(tmp_path / "net.st", model="tests.audit_cases:resnet")
    state = torch.load(folder / "net.pt", weights_only=True)
    assert all(torch.equal(W, state[name]) for name, W in net.body.state_dict().items() if W.is_floating_point())


@pytest.mark.parametrize("name", BOTH)
def test_a_search_from_the_net_has_every_knob_that_acts_on_it_and_names_the_others(name, trained, monkeypatch):
    folder = trained(name)
    monkeypatch.chdir(folder)
    model, own, study = NETS[name]
    overrides = typed.overrides(own[1::2]) | typed.net("net.pt", "") | {"epochs": "0"}
    plan = make_plan(Request(study="pareto_search", model=model, overrides=overrides, output="front"))
    knobs, said = plan.preset.search.knobs, " ".join(plan.notes)
    removal = {"prune_ratio"} if study == "ALL" else set()
    ways = {"keep_prob", "factorize_ratio", "bits", "mask"} | removal
    assert set(knobs) == {"penalised", "compression", "finetune", "finetune_epochs"} | ways
    for name in ("alpha", "rank", "adversarial_ratio", "penalty", "frobenius", "lam", *({"prune_ratio"} - removal)):
        assert name in said


@pytest.mark.slow
def test_a_search_from_a_given_net_to_its_report(trained, here):
    folder = trained("vit")
    few = knobs(epochs=0, evaluations=5, finalists=1, test_size=60, attack_iterations=2, final_iterations=2, floor=0.2)
    done = here("pareto_search", "--preset", "smoke", "--model", NETS["vit"][0], "--weights", "net.pt", *few,
                "--seeds", "1", "--in-process", "--output", "front", cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (folder / "front/report.html").read_text()
    for said in ("prune_ratio is left out of the search: ", "takes no lam", "which act in its training"):
        assert said in done.stderr
        assert said in page
