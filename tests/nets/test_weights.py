"""Weights that a net begins with: the same logits from any form of the file, one message where they cannot be had."""

import logging

import pytest
import safetensors.torch
import timm
import torch
import torchvision

from study.nets import net as nets
from study.nets import weights
from study.nets.build import build
from study.nets.sources import file_digest
from study.spec.config import Build
from study.spec.errors import UsageError
from study.spec.expand import knob_values
from study.spec.identity import canonical, canonical_trial, fingerprint, trial_of
from study.store import results
from study.sweep.plan.request import Request, make_plan

STATS = ((0.5,) * 3, (0.25,) * 3)
NARROW = {"model": "resnet18", "width_multiplier": 0.125}
FAST = ("--preset", "smoke", "--in-process", "--seeds", "1", "--set", "epochs=1", "--set", "train_size=40",
        "--set", "test_size=20", "--set", "attack_iterations=1", "--set", "gap_iterations=1", "--set", "alpha=0",
        "--set", "rank=full")  # fmt: skip


def made(classes=10, seed=0, **fields):
    return build(Build(**fields), (3, 32, 32), classes, STATS, seed).eval()


def of_file(path):
    return {"weights": f"file:{file_digest(str(path))}", "weights_file": str(path)}


def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def saved(path, tensors):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file({name: W.contiguous() for name, W in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    return path


FORMS = {
    "body.pt": lambda net: net.body.state_dict(),
    "net.safetensors": lambda net: net.state_dict(),
    "kept.safetensors": lambda net: (
        {f"net.{n}": W for n, W in net.state_dict().items()} | {"training.0.x": torch.ones(1)}
    ),
    "parallel.pth": lambda net: {f"module.{name}": W for name, W in net.body.state_dict().items()},
    "script.pt": lambda net: {"epoch": torch.tensor(3), "state_dict": net.body.state_dict()},
}


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fields", [NARROW, {"model": "vit", "width": 32, "depth": 1}, {"model": "fcn", "width": 8}])
def test_a_file_of_weights_gives_the_net_that_was_saved(form, fields, tmp_path):
    net = made(seed=1, **fields)
    path = saved(tmp_path / form, FORMS[form](net))
    assert not torch.equal(made(seed=2, **fields)(images()), net(images()))
    assert torch.equal(made(seed=2, **fields, **of_file(path))(images()), net(images()))


@torch.no_grad()
def test_fused_queries_keys_and_values_of_a_file_are_cut_in_three(tmp_path):
    torch.manual_seed(0)
    own = timm.models.VisionTransformer(img_size=32, patch_size=4, num_classes=10, embed_dim=64, depth=2, num_heads=2)
    path = saved(tmp_path / "timm.safetensors", own.state_dict())
    net = made(model="vit", width=64, depth=2, **of_file(path))
    assert torch.equal(net(images()), own.eval()((images() - 0.5) / 0.25))


def test_a_head_of_other_classes_stays_as_it_is_drawn_and_that_is_said(tmp_path, caplog):
    path = saved(tmp_path / "a.pt", made(classes=7, seed=1, **NARROW).body.state_dict())
    with caplog.at_level(logging.WARNING):
        net = made(seed=2, **NARROW, **of_file(path))
    assert "a.pt has other classes: a fresh one is drawn" in caplog.text
    fresh, old = made(seed=2, **NARROW), made(classes=7, seed=1, **NARROW)
    assert torch.equal(nets.head(net).weight, nets.head(fresh).weight)
    assert torch.equal(net.body.layer4[1].conv2.weight, old.body.layer4[1].conv2.weight)


def test_published_vgg_has_another_head_altogether(tmp_path, caplog):
    net = made(model="vgg16", width_multiplier=0.125)
    found = net.body.state_dict()
    wide = {f"classifier.{i}.{n}": torch.zeros(1) for i in (0, 3, 6) for n in ("weight", "bias")}
    rest = {name: W for name, W in found.items() if not name.startswith("classifier")}
    weights.place(net, rest | wide, "the published ones")
    assert "a fresh one is drawn" in caplog.text


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda p: saved(p, made(model="vit", width=32, depth=1).body.state_dict()), "are those of another net"),
        (
            lambda p: saved(p, made(model="resnet18", width_multiplier=0.25).body.state_dict()),
            "of another shape: conv1",
        ),
        (lambda p: p.write_bytes(b"nothing"), "is no state dict of tensors"),
        (lambda p: p.write_bytes(b""), "is no state dict of tensors"),
        (lambda p: torch.save([1, 2], p), "holds no state dict"),
        (lambda p: torch.save(torch.nn.Linear(2, 2), p), "is no state dict of tensors"),
    ],
)
def test_what_is_no_state_dict_of_this_net_is_one_message(write, words, tmp_path):
    path = tmp_path / "a.pt"
    write(path)
    with pytest.raises(UsageError, match=words):
        made(**NARROW, **of_file(path))


def test_a_truncated_safetensors_file_is_one_message(tmp_path):
    path = saved(tmp_path / "a.safetensors", made(**NARROW).body.state_dict())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match="is no state dict of tensors"):
        made(**NARROW, **of_file(path))


def plan(tmp_path, **overrides):
    request = Request(
        study="compressibility_sweep", preset="smoke", seeds=(0,), model="resnet18", output=str(tmp_path / "out"),
        overrides={"alpha": "0", "rank": "full", **overrides},
    )  # fmt: skip
    return make_plan(request)


def test_a_trial_is_what_its_file_of_weights_holds_wherever_it_lies(tmp_path):
    first = saved(tmp_path / "a.pt", {"x": torch.ones(2)})
    moved = tmp_path / "elsewhere.pt"
    moved.write_bytes(first.read_bytes())
    other = saved(tmp_path / "b.pt", {"x": torch.zeros(2)})
    made = [next(iter(plan(tmp_path, weights=f"file:{p}").jobs.items())) for p in (first, moved, other)]
    assert made[0][0] == made[1][0] != made[2][0]
    assert made[0][0] not in plan(tmp_path).jobs
    text = str(canonical_trial(made[0][1].trial))
    assert str(tmp_path) not in text
    assert file_digest(str(first)) in text
    assert fingerprint(trial_of(canonical_trial(made[0][1].trial))) == made[0][0]
    assert [v["weights"] for v in map(knob_values, plan(tmp_path, weights=f"file:{first}").points)] == [f"file:{first}"]


def test_defaults_are_left_out_of_an_identity():
    given = {"width_multiplier": 1.0, "stem": "published", "patch_size": 4, "weights": "", "weights_file": "/a"}
    assert canonical(Build(model="resnet18", **given)) == {"type": "Build", "model": "resnet18"}


def test_a_file_that_changes_under_a_sweep_fails_its_trials(tmp_path):
    path = saved(tmp_path / "a.pt", made(seed=1, **NARROW).body.state_dict())
    planned = of_file(path)
    saved(path, made(seed=2, **NARROW).body.state_dict())
    with pytest.raises(UsageError, match="were changed since this trial was planned"):
        made(**NARROW, **planned)


@pytest.mark.parametrize(
    ("model", "overrides", "words"),
    [
        (
            "fcn",
            "width_multiplier=0.5",
            "width_multiplier: it goes with model cnn, cnn8, resnet18, wrn50_2, wrn101_2, vgg16",
        ),
        ("vit", "stem=small", "stem: it goes with model resnet18, wrn50_2, wrn101_2, got vit"),
        ("resnet18", "patch_size=8", "patch_size: it goes with model attention_block, vit, got resnet18"),
        ("vit_b8", "patch_size=16", "patch_size: it goes with model attention_block, vit, got vit_b8"),
        ("fcn", "weights=IMAGENET1K_V1", "IMAGENET1K_V1 are not of model fcn; give none or file:PATH"),
        ("swin_t", "weights=IMAGENET1K_V2", "not of model swin_t; give IMAGENET1K_V1, none or file:PATH"),
        ("resnet18", "weights=IMAGENET1K_V1 stem=small", "are those of the published net; leave stem away"),
        ("resnet18", "weights=nosuch", "give one of IMAGENET1K_V1, IMAGENET1K_V2, augreg_in21k_ft_in1k, or file:PATH"),
        ("resnet18", "weights=file:nosuch.pt", "the file nosuch.pt cannot be read (No such file or directory)"),
        ("resnet18", "width_multiplier=0", "width_multiplier"),
    ],
)
def test_what_does_not_go_with_a_model_is_refused_while_it_is_planned(model, overrides, words, here, tmp_path):
    sets = [word for pair in overrides.split() for word in ("--set", pair)]
    done = here("compressibility_sweep", "--model", model, *sets, "--dry-run", cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("model", "name", "places"),
    [
        ("resnet18", "IMAGENET1K_V1", ("hub/checkpoints/resnet18-f37072fd.pth", "https://download.pytorch.org")),
        ("swin_t", "IMAGENET1K_V1", ("hub/checkpoints/swin_t-704ceda3.pth",)),
        ("vit_b8", "augreg_in21k_ft_in1k", ("models--timm--vit_base_patch8_224.augreg_in21k_ft_in1k", "https://hugg",
                                            "hub/checkpoints/vit_base_patch8_224.augreg_in21k_ft_in1k.safetensors")),
    ],
)  # fmt: skip
def test_weights_that_are_not_here_without_a_network_are_one_message(model, name, places, here, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    lost = {"TORCH_HOME": str(tmp_path / "torch"), "https_proxy": "http://127.0.0.1:9"}  # nothing listens there
    done = here(
        "compressibility_sweep", *FAST, "--model", model, "--set", f"weights={name}", "--output", "out",
        cwd=tmp_path, **lost,
    )  # fmt: skip
    assert done.returncode == 2
    message = done.stderr.strip().splitlines()[-1]
    assert f"weights {name} of model {model} are not here and cannot be fetched" in message
    assert all(place in message for place in places)
    assert not (tmp_path / "out").exists()


@torch.no_grad()
def test_weights_in_torchs_hub_folder_are_taken_from_there(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(3)
    own = torchvision.models.resnet18(weights=None)
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(own.state_dict(), tmp_path / "hub/checkpoints/resnet18-f37072fd.pth")
    net = made(model="resnet18", weights="IMAGENET1K_V1")
    own.fc = nets.head(net)
    assert torch.equal(net(images()), own.eval()((images() - 0.5) / 0.25))
    assert nets.head(net).weight.shape == (10, 512)


def begun(folder):
    """The words of a sweep of two hidden layers on digits, and weights of such a net of width 8 in `folder`."""
    net = build(Build(width=8, depth=2), (1, 8, 8), 10, ((0.5,), (0.25,)), 1)
    saved(folder / "begun.pt", net.body.state_dict())
    return ("compressibility_sweep", *FAST, "--set", "depth=2", "--output", "out")


def test_weights_of_another_net_are_refused_before_anything_starts(here, tmp_path):
    """Of an fcn on digits, whose plain sweeps try nothing out before they start."""
    done = here(*begun(tmp_path), "--set", "width=16", "--set", "weights=none,file:begun.pt", cwd=tmp_path)
    assert done.returncode == 2
    assert "0 of its 3 tensors fit (of another shape: layer1.weight (8, 64), not (16, 64)" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_sweep_from_a_file_of_weights_by_the_command(here, tmp_path):
    done = here(*begun(tmp_path), "--set", "width=8", "--set", "weights=none,file:begun.pt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    frame = results.read(tmp_path / "out")
    assert set(frame["weights"]) == {"", "file:begun.pt"}
    assert frame["trial"].nunique() == 2
