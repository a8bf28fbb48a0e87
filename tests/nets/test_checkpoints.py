"""Files of weights as people have them: read wherever they keep them, one message each where they are none."""

import argparse
import logging

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from study.nets import checkpoints, keyed, sources, weights
from study.nets.build import build
from study.spec.config import Build
from study.spec.errors import UsageError

STATS = ((0.5,) * 3, (0.25,) * 3)


def net(**fields):
    return build(Build(**({"model": "resnet18", "width_multiplier": 0.125} | fields)), (3, 32, 32), 10, STATS, 0)


OWN = net().body.state_dict()
BARE = {name: W.clone() for name, W in OWN.items()}
OPTIMIZER = torch.optim.SGD(nn.Linear(2, 2).parameters(), momentum=0.9).state_dict()
WRITTEN = []


class Writes:
    """What a hostile file may hold: unpickling it calls a function."""

    def __reduce__(self):
        return WRITTEN.append, ("run",)


def named(prefix):
    return {f"{prefix}{name}": W for name, W in BARE.items()}


KEPT = {
    "bare": BARE,
    "state_dict": {"state_dict": BARE, "epoch": 3},
    "model_state_dict": {"model_state_dict": BARE, "optimizer_state_dict": OPTIMIZER, "loss": 0.5},
    "model": {"model": BARE, "optimizer": OPTIMIZER},
    "net": {"net": BARE, "acc": 93.1, "epoch": 199},
    "ema": {"ema": BARE, "epoch": 7},
    "one in another": {"model": {"state_dict": BARE}, "epoch": 1},
    "parallel": named("module."),
    "compiled": {"state_dict": named("_orig_mod.")},
    "compiled and parallel": named("module._orig_mod."),
    "lightning": {
        "state_dict": named("model.") | {"criterion.weight": torch.ones(10)},
        "pytorch-lightning_version": "2",
    },
    "half precision": {name: W.half() if W.is_floating_point() else W for name, W in BARE.items()},
}


@pytest.mark.parametrize("form", KEPT)
def test_weights_are_found_wherever_scripts_keep_them(form, tmp_path):
    path = tmp_path / "a.pt"
    torch.save(KEPT[form], path)
    found = checkpoints.bare(checkpoints.read(path)[0], OWN, str(path))
    assert set(found) == set(OWN)
    assert all(torch.equal(found[n].float(), W.float()) or form == "half precision" for n, W in OWN.items())
    weights.place(net(), found, str(path))


def test_what_is_taken_off_and_what_is_chosen_is_said(tmp_path, caplog):
    path = tmp_path / "a.pt"
    torch.save({"model": named("module._orig_mod."), "ema": BARE}, path)
    with caplog.at_level(logging.WARNING):
        tensors, said = checkpoints.read(path, own=OWN)
        found = checkpoints.bare(tensors, OWN, str(path))
    assert set(found) == set(OWN)
    assert said == f"{path} holds model and ema; those under model are taken; {path}#ema takes those under ema"
    assert "'module._orig_mod.' was taken off the names" in caplog.text


def cut(content, share):
    return content[: int(share * len(content))]


def bytes_of(what, suffix, tmp_path):
    path = tmp_path / f"whole{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(what, path)
    else:
        torch.save(what, path)
    return path.read_bytes()


def without(name):
    return {n: W for n, W in BARE.items() if n != name}


BROKEN = BARE | {"layer1.0.conv1.weight": torch.full_like(BARE["layer1.0.conv1.weight"], float("nan"))}
FOREIGN = [
    ("a.pt", b"", r"is no state dict of tensors: it is empty \(0 bytes\)"),
    ("a.pt", b"not a checkpoint at all", "is no state dict of tensors: it is text, which begins with 'not a ch"),
    ("a.pt", (BARE, 0.5), "is no state dict of tensors: it is cut off or damaged"),
    ("a.pt", (BARE, 0.999), "is no state dict of tensors: it is cut off or damaged"),
    ("a.safetensors", (BARE, 0.5), "is no state dict of tensors: it is cut off or damaged"),
    ("a.safetensors", b"", "is no state dict of tensors: it is empty"),
    ("a.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{broken}", "is no state dict of tensors"),
    ("a.pt", Writes(), "pickled Python objects"),
    ("a.pt", {"state_dict": BARE, "args": argparse.Namespace(lr=0.1)}, r"\(argparse.Namespace\), which are never run"),
    ("a.pt", {"state_dict": BARE, "best": np.float64(0.9)}, "pickled Python objects .*numpy"),
    ("a.pt", nn.Linear(2, 2), r"\(torch.nn.modules.linear.Linear\), which are never run"),
    ("a.pt", b"cos\nsystem\n(S'true'\ntR.", "is no state dict of tensors"),
    ("a.pt", OPTIMIZER, r"found state \(dict\), param_groups \(list\) \(of an optimizer\), expected a state dict"),
    ("a.pt", {"optimizer": OPTIMIZER, "epoch": 3}, r"found optimizer \(dict\), epoch \(int\), expected a state dict"),
    ("a.pt", {}, "found nothing in it, expected a state dict"),
    ("a.pt", {"state_dict": {}, "epoch": 1}, r"found state_dict \(dict\), epoch \(int\)"),
    ("a.pt", [1, 2], "found one list, expected a state dict"),
    ("a.pt", torch.ones(3), "found one Tensor, expected a state dict"),
    ("a.pt", BROKEN, r"has numbers that are NaN or infinite \(layer1.0.conv1.weight\)"),
    ("a.pt", without("layer2.0.conv1.weight"), r"121 of its 122 tensors fit \(missing: layer2.0.conv1.weight\)"),
    ("a.pt", BARE | {"extra.weight": torch.ones(2)}, r"not of this net: extra.weight\)"),
    (
        "a.pt",
        net(width_multiplier=0.25).body.state_dict(),
        r"of another shape: conv1.weight \(16, 3, 7, 7\), not \(8, ",
    ),
    ("a.pt", net(model="vgg16").body.state_dict(), r"another net: 0 of its 122 tensors fit \(missing: conv1.weight, "),
    ("a.pt", named("a.b."), r"0 of its 122 tensors fit .*not of this net: a.b.conv1.weight, "),
]


@pytest.mark.parametrize(("name", "what", "words"), FOREIGN, ids=[str(i) for i in range(len(FOREIGN))])
def test_a_damaged_or_foreign_file_is_one_message_and_nothing_of_it_is_run(name, what, words, tmp_path):
    path = tmp_path / name
    whole, share = what if isinstance(what, tuple) else (what, 1.0)
    content = whole if isinstance(whole, bytes) else bytes_of(whole, path.suffix, tmp_path)
    path.write_bytes(cut(content, share))
    mine = net()
    before = {n: W.clone() for n, W in mine.body.state_dict().items()}
    with pytest.raises(UsageError, match=words) as raised:
        weights.place(mine, checkpoints.read(path)[0], str(path))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert WRITTEN == []
    assert all(torch.equal(W, before[n]) for n, W in mine.body.state_dict().items())


def test_a_file_that_is_not_there_or_not_ours_to_read(tmp_path):
    with pytest.raises(UsageError, match=r"b.pt cannot be read \(No such file"):
        checkpoints.read(tmp_path / "b.pt")


def test_of_several_state_dicts_that_which_fits_is_taken_or_the_one_that_is_named(tmp_path):
    path, other = tmp_path / "a.pt", {n: W + 1 for n, W in BARE.items()}
    torch.save({"state_dict": named("x."), "model": BARE, "ema": {"state_dict": other}, "best": other, "n": 1}, path)
    found, said = checkpoints.read(path, own=OWN)
    assert torch.equal(found["fc.weight"], BARE["fc.weight"])
    assert f"{path}#ema.state_dict takes those under ema.state_dict" in said
    assert "#state_dict takes" not in said
    for name in ("ema", "ema.state_dict", "best"):
        found, said = checkpoints.read(path, name, OWN)
        assert torch.equal(found["fc.weight"], other["fc.weight"])
        assert said == ""
    with pytest.raises(UsageError, match=r"has nothing under worst: found state_dict \(dict\), model \(dict\), ema "):
        checkpoints.read(path, "worst", OWN)
    torch.save({"generator": BARE, "epoch": 1}, path)
    with pytest.raises(UsageError, match=r"no state dict: found .*; name the one to take: .*a.pt#generator$"):
        checkpoints.read(path, own=OWN)


def test_a_file_that_holds_itself_is_no_state_dict(tmp_path):
    ring: dict = {"epoch": 1}
    ring["model"] = ring
    torch.save(ring, tmp_path / "a.pt")
    with pytest.raises(UsageError, match="holds no state dict"):
        checkpoints.read(tmp_path / "a.pt")


def test_a_name_behind_the_path_is_of_the_file_and_of_its_digest(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"model": BARE, "ema": {n: W + 1 for n, W in BARE.items()}}, path)
    digests = {sources.file_digest(f"{path}{name}") for name in ("", "#model", "#ema")}
    assert len(digests) == 3
    mine, config = net(), Build(weights=f"file:{sources.file_digest(f'{path}#ema')}", weights_file=f"{path}#ema")
    weights.begin(mine, config)
    assert mine.notes == ()
    assert torch.equal(mine.body.fc.weight, BARE["fc.weight"] + 1)
    weights.begin(mine, Build(weights=f"file:{sources.file_digest(str(path))}", weights_file=str(path)))
    assert mine.notes == (mine.beside,)
    assert "#ema takes those under ema" in mine.beside
    own = tmp_path / "b#c.pt"
    own.write_bytes(path.read_bytes())
    assert keyed.split(str(own)) == (own, "")
    assert keyed.split(f"{own}#ema") == (own, "ema")
    assert keyed.split(str(tmp_path / "no#such/a.pt")) == (tmp_path / "no#such/a.pt", "")


def test_prefixes_are_said_of_all_files_but_our_own(tmp_path, caplog):
    foreign = checkpoints.bare(named("net.body."), OWN, "theirs.pt")
    ours = named("net.body.") | {"net.mean": torch.zeros(1), "net.std": torch.ones(1)}
    assert set(foreign) == set(OWN) == set(checkpoints.bare(ours, OWN, "ours.pt")) - {"mean", "std"}
    assert "'net.body.' was taken off the names in theirs.pt" in caplog.text
    assert "ours.pt" not in caplog.text
