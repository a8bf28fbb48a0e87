"""`export`: a trained net in one file, read by a process that knows nothing else, and by another library."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from study.exported import load_exported
from study.nets.net import Net
from study.spec.config import Accuracy, Build, Cost, Factorize, Load, Prune, Quantize, Remove, Train, Trial
from study.spec.errors import UsageError
from study.store import layout
from study.sweep import evaluate
from study.sweep.export import files, go, to_onnx
from study.sweep.plan.request import Request, make_plan
from study.sweep.worker.attempt import Attempt
from tests.attempts import finish, job
from tests.helpers import ROOT

OLD = ROOT / "tests/data/written_by_0.1.0/search"
MASKED = "9c43cf22960ebccc"
KINDS = {
    "removed": (Remove(ratio=0.5),),
    "masked": (Prune(keep_prob=0.2),),
    "masked, 1 bit": (Prune(keep_prob=0.5), Quantize(bits=1)),
    **{f"{bits} bits": (Quantize(bits=bits),) for bits in (8, 4, 2, 1)},
    "low rank": (),
}


def trial(kind):
    first = (Load(test_size=60), Build(width=24, depth=2), *([Factorize(rank=4)] if kind == "low rank" else []))
    stages = (*first, Train(epochs=4, frobenius=1.0), *KINDS[kind])
    return Trial(seed=0, stages=stages, measures=(Accuracy(), Cost(repeats=1)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The trials with their weights, as a sweep with --keep-weights leaves them."""
    out = tmp_path_factory.mktemp("export") / "out"
    for kind in KINDS:
        assert finish(Attempt(job(out, trial(kind), weights=True)))["status"] == "ok"
    return out


@pytest.fixture
def old(tmp_path):
    shutil.copytree(OLD, tmp_path / "search")
    return tmp_path


class Said:
    """A console that keeps what it is told."""

    def __init__(self):
        self.text = ""

    def print(self, text, markup=True):
        self.text += text + "\n"


def export(folder, kind, to, path, **more):
    out = Said()
    name = job(folder, trial(kind)).fingerprint
    given = {"data_dir": "data", "force": False, "retrain": False} | more
    assert go.go(folder, name, to, str(path), out=out, **given) == 0
    return out.text, evaluate.state(folder, name, "data")


def logits(net, x):
    with torch.no_grad():
        return net.eval()(x)


def test_a_fresh_process_computes_the_same_logits_from_a_file_of_the_size_that_is_said(folder, tmp_path):
    wanted = {}
    for kind in KINDS:
        for to, suffix in (("safetensors", "st"), ("torch", "pt")):
            path = tmp_path / f"{kind}.{suffix}"
            text, (finished, _, state) = export(folder, kind, to, path)
            total, weights, constants, rest, table = map(int, re.findall(r"(?<=[ :])\d+", text.splitlines()[0])[-5:])
            assert (total, total) == (path.stat().st_size, weights + constants + rest)
            counted = next(r["value"] for r in finished.rows if r["measure"] == "stored_bytes")
            assert (weights, table, constants) == (counted, counted, 8)
            assert rest < 6000, "of a small net: names, shapes, architecture"
            wanted[path.name] = logits(state.net, state.data.test.x).numpy()
            x = state.data.test.x
    np.save(tmp_path / "images.npy", x.numpy())
    code = (
        "import numpy as np, torch; from pathlib import Path; from study.exported import load_exported\n"
        "torch.set_num_threads(1); x = torch.from_numpy(np.load('images.npy'))\n"
        "files = [p for p in Path('.').iterdir() if p.suffix in ('.st', '.pt')]\n"
        "np.savez('logits.npz', **{p.name: load_exported(p)(x).detach().numpy() for p in files})"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300)
    found = np.load(tmp_path / "logits.npz")
    assert set(found) == set(wanted)
    for name in wanted:
        assert np.array_equal(found[name], wanted[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntime_predicts_the_same(kind, folder, tmp_path):
    for name in to_onnx.NEEDED:
        pytest.importorskip(name, reason="the extra `export` brings it")
    text, (_, _, state) = export(folder, kind, "onnx", tmp_path / "net.onnx")
    assert "predictions in onnxruntime on " in text
    x = state.data.test.x
    content = (tmp_path / "net.onnx").read_bytes()
    for n in (1, 7, 60):
        here, there = to_onnx.logits(content, x[:n]), logits(state.net, x[:n])
        alike = go.agreeing(there, here) / n
        if "bit" in kind:  # a tie between two levels may fall to either side: another library sums in another order
            assert alike >= (0.95 if n > 7 else 0.8)
        else:
            assert alike == 1
            torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-6)


class Routed(nn.Module):
    """A net whose layers are chosen by the images."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(64, 8), nn.Linear(8, 10)

    def forward(self, x):
        z = self.first(x.flatten(1))
        return self.head(z if z.sum() > 0 else -z)


def test_a_net_that_torch_cannot_export_is_one_line(capfd):
    for name in to_onnx.NEEDED:
        pytest.importorskip(name, reason="the extra `export` brings it")
    with pytest.raises(UsageError, match=r"cannot be exported to ONNX: \w+: .*; --to safetensors works$") as raised:
        to_onnx.program(Net(Routed(), (0.0,), (1.0,), ("first",), classes=10).eval(), (1, 8, 8))
    assert "\n" not in str(raised.value)
    assert "x1b" not in repr(str(raised.value))
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cnn", "resnet18"])
def test_onnxruntime_predicts_the_same_of_convolutions(model):
    for name in to_onnx.NEEDED:
        pytest.importorskip(name, reason="the extra `export` brings it")
    from study.nets.compression.quantize import quantize
    from tests.nets.test_shipped import COMPRESSED, SHAPE, built, images

    x = images(40, 2)
    for kind, bits in (("removed", 32), ("masked", 32), ("low rank", 32), ("dense", 8), ("dense", 1)):
        net = COMPRESSED[kind][0](built(model))
        net = (quantize(net, bits, [images(64, 1)]) if bits < 32 else net).eval()
        here, there = to_onnx.logits(to_onnx.program(net, SHAPE), x), logits(net, x)
        assert go.agreeing(there, here) / len(x) >= (1 if bits == 32 else 0.95), (kind, bits)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tucker", "tt", "cp"])
def test_onnxruntime_predicts_the_same_of_factors(method):
    for name in to_onnx.NEEDED:
        pytest.importorskip(name, reason="the extra `export` brings it")
    from study.nets.compression.decompose import decompose
    from tests.nets.test_shipped import SHAPE, built, images

    x, net = images(40, 2), decompose(built("cnn"), 0.5, method, 0)[0].eval()
    here, there = to_onnx.logits(to_onnx.program(net, SHAPE), x), logits(net, x)
    assert go.agreeing(there, here) == len(x)
    torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-6)


def test_of_classes_that_tie_either_is_the_prediction():
    there = torch.tensor([[1.0, 2.0, 2.0], [1.0, 2.0, 1.9], [3.0, 0.0, 0.0]])
    here = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    assert go.agreeing(there, here) == 2


def test_of_an_old_folder_on_the_command_line(old, here):
    done = here("export", "search", MASKED[:8], "--to", "safetensors", cwd=old)
    assert done.returncode == 0, done.stderr
    assert "gives the net's logits on 40 test images (largest difference 0)" in done.stdout
    before = (old / f"{MASKED}.safetensors").read_bytes()
    net = load_exported(old / f"{MASKED}.safetensors")
    assert all(0 < float(mask.mean()) < 1 for mask in net.masks.values())
    assert net.masks
    again = here("export", "search", MASKED, "--to", "safetensors", cwd=old)
    assert again.returncode == 2
    assert "is there already; --force writes over it" in again.stderr
    assert here("export", "search", MASKED, "--to", "safetensors", "--force", cwd=old).returncode == 0
    assert (old / f"{MASKED}.safetensors").read_bytes() == before, "the same net, the same bytes"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch", "--to", "torch"], "0 finished trials of search are called 'nosuch'"),
        (["", "--to", "torch"], "finished trials of search are called ''"),
        ([MASKED, "--to", "pickle"], "pickle"),
        ([MASKED], "--to"),
        ([MASKED, "--to", "torch", "--out", "no/such/place.pt"], "give a file in a folder that exists"),
        ([MASKED, "--to", "torch", "--out", "search"], "give a file in a folder that exists"),
        ([MASKED, "--to", "torch", "--out", "/proc/net.pt"], "nothing can be written in /proc"),
        (["3ddac7330ba0ac03", "--to", "torch"], "a sweep keeps them with --keep-weights"),
    ],
)
def test_what_is_refused(words, said, old, here):
    before = sorted(old.rglob("*"))
    done = here("export", "search", *words, cwd=old)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split()).replace(str(old) + "/", "")
    assert sorted(old.rglob("*")) == before, "nothing was begun"


def test_an_ambiguous_prefix_and_damaged_weights(old, here):
    first = sorted(layout.finished(old / "search"))[0]
    (old / "search/trials" / f"{first}.parquet").rename(old / "search/trials" / f"{MASKED[:4]}{first[4:]}.parquet")
    done = here("export", "search", MASKED[:4], "--to", "torch", cwd=old)
    assert (done.returncode, "2 finished trials" in done.stderr, "write more of it" in done.stderr) == (2, True, True)
    weights = old / "search/models" / f"{MASKED}.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    done = here("export", "search", MASKED, "--to", "torch", cwd=old)
    assert (done.returncode, "is damaged" in done.stderr, "--retrain" in done.stderr) == (2, True, True)


def test_without_the_extra_one_message_names_it(old, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'needs onnx, onnxruntime, onnxscript.*-e "\.\[export\]"'):
        go.go(old / "search", MASKED, "onnx", "", "", False, False, None)


def test_weights_that_were_not_kept_are_trained_again(tmp_path):
    out, asked = tmp_path / "out", trial("4 bits")
    finish(Attempt(job(out, asked)))
    name = job(out, asked).fingerprint
    assert go.go(out, name, "torch", str(tmp_path / "net.pt"), "data", False, True, Said()) == 0
    finish(Attempt(job(tmp_path / "kept", asked, weights=True)))
    assert go.go(tmp_path / "kept", name, "torch", str(tmp_path / "other.pt"), "data", False, False, Said()) == 0
    ours, theirs = (load_exported(tmp_path / n).state_dict() for n in ("net.pt", "other.pt"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("to", files.PACKED)
def test_a_damaged_file_gives_one_message(to, folder, tmp_path):
    path = tmp_path / "net"
    export(folder, "masked, 1 bit", to, path)
    whole = path.read_bytes()
    cut = [whole[:n] for n in (0, 1, 7, 8, 100, len(whole) // 2, len(whole) - 1)]
    flipped = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in range(3, len(whole), len(whole) // 40)]
    said = []
    for content in [*cut, b"something else", *flipped]:
        try:
            files.decoded(content, "net")
        except UsageError as error:
            said.append(str(error))
    assert all(text.startswith("net ") for text in said)
    slack = 0 if to == "safetensors" else 20  # a zip has names twice, padding, dates: there a bit changes nothing
    assert len(said) >= len(cut) + 1 + len(flipped) - slack
    with pytest.raises(UsageError, match="cannot be read"):
        load_exported(tmp_path / "nosuch")


def test_a_flipped_bit_of_a_weight_is_noticed(folder, tmp_path):
    path = tmp_path / "net"
    export(folder, "8 bits", "safetensors", path)
    whole = bytearray(path.read_bytes())
    whole[-5] ^= 4
    with pytest.raises(UsageError, match="does not hold what was written"):
        files.decoded(bytes(whole), "net")


def test_no_file_has_a_module_imported(folder, tmp_path):
    _, (_, asked, state) = export(folder, "masked", "torch", tmp_path / "net")
    stages = [replace(s, model="evil:net") if isinstance(s, Build) else s for s in asked.stages]
    content, _ = files.content("torch", state, replace(asked, stages=tuple(stages)))
    with pytest.raises(UsageError, match=r"a net of evil:net, which no file can have imported.*model='evil:net'"):
        files.decoded(content, "net")
    assert "evil" not in sys.modules


def test_a_net_that_gives_other_logits_is_not_written(folder, tmp_path, monkeypatch):
    real = files.decoded

    def other(content, path, model=""):
        net = real(content, path, model)
        net.mean += 0.1
        return net

    monkeypatch.setattr(files, "decoded", other)
    with pytest.raises(UsageError, match="packed, the net gives other logits"):
        export(folder, "masked", "torch", tmp_path / "net.pt")
    assert list(tmp_path.iterdir()) == []


def test_every_trial_keeps_its_weights_where_that_is_asked():
    plans = [make_plan(Request(study="compressibility_sweep", preset="smoke", keep_weights=kept)) for kept in (0, 1)]
    assert [{j.weights for j in plan.jobs.values()} for plan in plans] == [{False}, {True}]
    assert list(plans[0].jobs) == list(plans[1].jobs), "the trials are the same"
    with pytest.raises(UsageError, match="leave --data, --model and --keep-weights away"):
        make_plan(Request(study="operator_norm_study", preset="smoke", keep_weights=True))
