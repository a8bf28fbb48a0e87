"""A net that somebody already has: its numbers are those of a sweep, what it lacks is said, the verdict is by rule."""

import pytest
import torch
from torch import nn

import study
from analysis import ladder
from study.exported import load_exported
from study.launch import main
from study.nets.build import build
from study.nets.data import load
from study.spec.config import Build, Load
from study.spec.errors import UsageError
from study.spec.families import FAMILIES
from study.spec.knobs import KNOBS
from study.store import manifest, results
from study.sweep import preflight, typed
from study.sweep.plan import given, tryout
from study.sweep.plan.folder import manifest as of_plan
from study.sweep.plan.request import Request, make_plan
from study.trial.run import run

FAST = ("--preset", "smoke", "--in-process")
MODULE = """
from torch import nn


def net(shape, classes):
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1),
                         nn.ReLU(), nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, classes))


def upwards(shape, classes):
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 8, 3), nn.ReLU(),
                         nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, classes))


class Few(nn.Sequential):
    def forward(self, x):
        assert len(x) <= 32, "our deployment takes at most 32 images"
        return super().forward(x)


def few(shape, classes):
    return Few(*net(shape, classes))


def grouped(shape, classes):
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1, groups=2),
                         nn.ReLU(), nn.Flatten(), nn.Linear(256, classes))
"""


def trained(model, images, labels, steps=150):
    """A net that knows the digits, trained by nobody's loop but this."""
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(steps):
        at = torch.randperm(len(labels), generator=torch.Generator().manual_seed(step))[:128]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[at]), labels[at]).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def digits():
    return load(Load(data="digits"), 0)


@pytest.fixture(scope="module")
def mine(digits, tmp_path_factory):
    """A folder with a module of two nets and the checkpoint of the first, which normalises nothing itself."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "theirs.py").write_text(MODULE)
    names: dict = {}
    exec(MODULE, names)
    x, y = digits.train[:]
    x = (x - torch.tensor(digits.mean)) / torch.tensor(digits.std)
    for which in ("net", "grouped"):
        torch.manual_seed(0)
        net = trained(names[which]((1, 8, 8), 10), x, y)
        tensors = {f"module.{name}": W for name, W in net.state_dict().items()}
        torch.save({"model_state_dict": tensors, "epoch": 3}, folder / f"{which}.pt")
    return folder


def test_an_audit_from_a_checkpoint_to_its_report(mine, here, caplog):
    done = here("audit", "--model", "theirs:net", "--weights", "net.pt", *FAST, "--output", "out", cwd=mine)
    assert done.returncode == 0, done.stderr
    assert "'module.' was taken off the names" in done.stderr + caplog.text
    assert "As it is: clean accuracy " in done.stdout
    study, frame = manifest.load(mine / "out"), results.read(mine / "out")
    base, arms = ladder.ladder(frame, study)
    assert base.clean > 0.9
    assert {axis: [r.value for r in rungs] for axis, rungs in arms.items()} == {"keep_prob": [0.5], "bits": [4]}
    assert set(base.second) == {"native/square", "native/autoattack_pair@3"}
    assert base.second["native/autoattack_pair@3"][1] == 20
    assert "How far this net can be compressed" in (mine / "out/report.html").read_text()


def test_what_a_net_cannot_be_given_is_left_out_and_said(mine, monkeypatch):
    monkeypatch.chdir(mine)
    monkeypatch.syspath_prepend(str(mine))
    asked = {"model": "theirs:grouped", "overrides": typed.net("grouped.pt", ""), "output": str(mine / "none")}
    plan = make_plan(Request(study="audit", **asked))
    assert [arm.name for arm in plan.preset.arms] == ["as_it_is", "keep_prob", "factorize_ratio", "bits"]
    (told,) = plan.notes
    assert "prune_ratio is left out: filters can be removed from plain convolutions" in told


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ("audit", "prune_ratio is left out: filters can be removed from plain convolutions"),
        ("pareto_search", "prune_ratio is left out of the search: filters can be removed from plain"),
    ],
)
def test_a_dry_run_says_what_a_given_net_cannot_be_given(study, words, mine, monkeypatch, capsys):
    monkeypatch.chdir(mine)
    monkeypatch.syspath_prepend(str(mine))
    asked = [study, "--model", "theirs:grouped", "--weights", "grouped.pt", "--output", "none", "--dry-run"]
    asked += ["--set", "epochs=0"] if study == "pareto_search" else []
    assert main(asked) == 0
    assert words in " ".join(capsys.readouterr().out.split())
    assert not (mine / "none").exists()
    assert main([*asked, "--data", "mnist", "--data-dir", str(mine)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "what this net cannot be given shows when it is tried, which takes its data" in said
    assert words not in said


def test_a_name_behind_the_path_goes_with_it_to_the_report_and_to_an_export(mine, monkeypatch, tmp_path):
    monkeypatch.chdir(mine)
    monkeypatch.syspath_prepend(str(mine))
    found = torch.load("net.pt", weights_only=True)["model_state_dict"]
    torch.save({"model": {name: torch.zeros_like(W) for name, W in found.items()}, "ema": found}, "both.pt")
    asked = {"preset": "smoke", "quiet": True, "output": tmp_path / "out"}
    with pytest.raises(UsageError, match=r"clean accuracy .* is 0\.\d\d, .*both\.pt#ema takes those under ema$"):
        study.audit("theirs:net", "digits", weights="both.pt", **asked)
    done = study.audit("theirs:net", "digits", weights="both.pt#ema", **asked)
    assert "both.pt#ema" in (done.folder / "report.html").read_text()
    done.export(done.frame["trial"].iloc[0], tmp_path / "net.safetensors", "safetensors")
    exported = load_exported(tmp_path / "net.safetensors", model="theirs:net")
    assert torch.equal(exported.body[1].running_mean, found["module.1.running_mean"])


def test_a_net_that_raises_at_more_images_is_one_message(mine, monkeypatch):
    monkeypatch.chdir(mine)
    monkeypatch.syspath_prepend(str(mine))
    asked = Request(study="audit", preset="smoke", model="theirs:few", overrides=typed.net("net.pt", ""), output="few")
    words = "--model theirs:few cannot be used: AssertionError: our deployment takes at most 32 images"
    with pytest.raises(UsageError, match=words):
        make_plan(asked)


def test_what_compression_leaves_as_it_is_stands_in_the_notes_of_an_audit(mine, monkeypatch, caplog):
    monkeypatch.chdir(mine)
    monkeypatch.syspath_prepend(str(mine))
    names: dict = {}
    exec((mine / "theirs.py").read_text(), names)
    images = load(Load(data="digits"), 0)
    x, y = images.train[:]
    torch.manual_seed(0)
    net = trained(names["upwards"]((1, 8, 8), 10), (x - torch.tensor(images.mean)) / torch.tensor(images.std), y)
    torch.save(net.state_dict(), "upwards.pt")
    asked = {"model": "theirs:upwards", "overrides": typed.net("upwards.pt", ""), "output": str(mine / "none")}
    plan = make_plan(Request(study="audit", **asked))
    (told,) = plan.notes
    share = 100 * 8 * 8 * 9 / sum(p.numel() for p in net.parameters())
    assert told == (
        "theirs:upwards: compression, penalties and norms leave as it is what is no Linear or Conv2d layer: "
        f"2 (ConvTranspose2d), {share:.3g} % of its parameters"
    )
    preflight.check_trials(plan)
    assert "ConvTranspose2d" not in caplog.text, "it is said once"


def test_a_search_from_a_given_net_asks_nothing_of_its_training(tmp_path):
    plan = make_plan(Request(study="pareto_search", overrides={"epochs": "0"}, output=str(tmp_path / "o")))
    assert set(plan.preset.search.knobs) == {
        "penalised", "compression", "factorize_ratio", "keep_prob", "lam", "mask", "prune_ratio", "bits", "finetune",
        "finetune_epochs",
    }  # fmt: skip
    assert plan.preset.search.knobs["compression"].values == ("none", "mask", "trade_off", "removal", "factors")
    assert {"compression": ("mask", "trade_off", "removal", "factors")} in plan.preset.search.knobs["finetune"].when
    assert plan.preset.search.knobs["penalised"].values == ("no",)
    assert "alpha, rank, adversarial_ratio, penalty, frobenius, which act in its training" in plan.notes[0]
    with pytest.raises(UsageError, match="alpha: it acts in the first training"):
        make_plan(Request(study="pareto_search", overrides={"epochs": "0", "alpha": "0.1"}, output=str(tmp_path / "o")))


def test_a_search_whose_net_loses_no_rows_is_refused_before_it_starts(mine, monkeypatch, here):
    done = here("pareto_search", "--model", "theirs:grouped", *FAST, "--output", "refused", cwd=mine)
    assert done.returncode == 2
    assert "theirs:grouped cannot be given prune_ratio: filters can be removed from plain convolutions" in done.stderr
    assert not (mine / "refused").exists()


def test_a_search_from_a_given_net_leaves_out_what_the_net_cannot_be_given(mine, monkeypatch):
    monkeypatch.chdir(mine)
    monkeypatch.syspath_prepend(str(mine))

    def plan(**knobs):
        overrides = typed.net("grouped.pt", "") | {"epochs": "0"} | knobs
        return make_plan(Request(study="pareto_search", model="theirs:grouped", overrides=overrides, output="none"))

    found = plan()
    assert {"keep_prob", "factorize_ratio", "bits", "mask", "finetune"} <= set(found.preset.search.knobs)
    assert not {"prune_ratio", "lam", "rank"} & set(found.preset.search.knobs)
    assert found.preset.search.knobs["compression"].values == ("none", "mask", "factors")
    assert "rank, adversarial_ratio, penalty, frobenius, which act in its training" in found.notes[0]
    assert found.notes[1].startswith("theirs:grouped takes no lam")
    assert found.notes[2].startswith("prune_ratio is left out of the search: filters can be removed from plain")
    kept = manifest.Manifest.of(of_plan(found).record())
    assert kept.notes == found.notes
    with pytest.raises(UsageError, match="--set prune_ratio: theirs:grouped cannot be given it: filters can be"):
        plan(prune_ratio="0.5")
    strange = mine / "strange.pt"
    tensors = torch.load(mine / "grouped.pt", weights_only=True)["model_state_dict"]
    torch.save({name: torch.zeros_like(W) for name, W in tensors.items()}, strange)
    with pytest.raises(UsageError, match="clean accuracy on 360 test images is"):
        plan(**typed.net(str(strange), ""))


def test_a_head_for_other_classes_is_not_audited_as_drawn_afresh(mine, here):
    found = torch.load(mine / "net.pt", weights_only=True)["model_state_dict"]
    of_seven = {name: W[:7] if name.startswith("module.8") else W for name, W in found.items()}
    torch.save(of_seven, mine / "seven.pt")
    done = here("audit", "--model", "theirs:net", "--weights", "seven.pt", *FAST, "--output", "seven", cwd=mine)
    assert done.returncode == 2
    (message,) = [line for line in done.stderr.splitlines() if "seven.pt" in line and "taken off" not in line]
    assert "have a head of other classes (its 8.weight is (7, 32), here (10, 32)), and nothing would train" in message
    assert not (mine / "seven").exists()


def test_a_net_without_the_head_is_not_searched_untrained_and_is_trained_with_a_warning(mine, monkeypatch, caplog):
    monkeypatch.chdir(mine)
    monkeypatch.syspath_prepend(str(mine))
    found = torch.load(mine / "net.pt", weights_only=True)["model_state_dict"]
    torch.save({name: W for name, W in found.items() if not name.startswith("module.8")}, mine / "headless.pt")
    given_net = typed.net("headless.pt", "")["weights"]
    digest = {given_net: _digest(mine / "headless.pt")}
    point = {n: k.default for n, k in KNOBS.items()} | {
        "data": "digits", "data_digest": "", "data_dir": "", "model": "theirs:net", "model_digest": "",
        "sources": digest, "seed": 0, "weights": given_net, "frobenius": 0.0,
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"headless\.pt have a head of other classes \(it has no 8\.weight, here"):
        tryout.check_data_and_model(FAMILIES["compressed"](point | {"epochs": 0}))
    tryout.check_data_and_model(FAMILIES["compressed"](point | {"epochs": 1}))
    assert "has other classes: a fresh one is drawn" in caplog.text


def test_without_weights_there_is_no_net_to_audit(tmp_path):
    with pytest.raises(UsageError, match=r"audit: which net\? Give --weights FILE for --model fcn"):
        make_plan(Request(study="audit", output=str(tmp_path / "o")))


def rows_of(trial):
    *_, outcome = run(trial)
    kept = [r for r in outcome.rows if r["deterministic"] and r.get("step") is None]
    return {tuple(sorted((k, str(v)) for k, v in r.items() if k != "value")): r["value"] for r in kept}, outcome


@pytest.mark.parametrize("how", [{}, {"prune_ratio": 0.5}, {"bits": 4}, {"keep_prob": 0.3}])
def test_the_numbers_are_those_of_the_same_net_trained_in_a_sweep(how, digits, tmp_path):
    point = {n: k.default for n, k in KNOBS.items()} | {
        "data": "digits", "data_digest": "", "data_dir": "", "model": "cnn8", "model_digest": "", "sources": {},
        "seed": 0, "width_multiplier": 0.25, "epochs": 2, "frobenius": 0.0, "test_size": 40, "attack_iterations": 3,
        "gap_iterations": 3, "second_attack": "pgd", "second_images": 10, "audit_queries": 5,
    }  # fmt: skip
    whole, _ = rows_of(FAMILIES["compressed"](point | how))
    _, base = rows_of(FAMILIES["compressed"](point))
    path = tmp_path / "net.pt"
    torch.save(base.state.net.body.state_dict(), path)
    weights = typed.net(str(path), "")["weights"]
    given_net = point | how | {"epochs": 0, "weights": weights, "sources": {weights: _digest(path)}}
    again, _ = rows_of(FAMILIES["compressed"](given_net))
    lost = [key for key in whole if key not in again]
    assert all("training_passes" in str(k) for k in lost)
    assert {k: v for k, v in again.items() if "training_passes" not in str(k)} == {
        k: v for k, v in whole.items() if "training_passes" not in str(k)
    }


def _digest(path):
    from study.nets.sources import file_digest

    return file_digest(str(path))


class Channels(nn.Module):
    """Three channels that say different things: the first is the image, the others are dark."""

    def __init__(self, net, first):
        super().__init__()
        self.net, self.first = net, first

    def forward(self, x):
        return self.net(x[:, self.first : self.first + 1])


@torch.no_grad()
def test_a_net_at_the_level_of_chance_is_told_what_may_be_wrong(mine, digits):
    names: dict = {}
    exec(MODULE, names)
    x, y = digits.test[:]

    def net(**fields):
        made = build(Build(model="fcn", width=8, depth=1, **fields), (1, 8, 8), 10, (digits.mean, digits.std), 0)
        made.body = names["net"]((1, 8, 8), 10)
        tensors = torch.load(mine / "net.pt", weights_only=True)["model_state_dict"]
        made.body.load_state_dict({name.removeprefix("module."): W for name, W in tensors.items()})
        return made.eval()

    given.check(net(), x, y, 10)
    mixed = torch.randperm(10, generator=torch.Generator().manual_seed(3))
    with pytest.raises(
        UsageError, match=r"clean accuracy on 360 test images is 0\.\d\d.*with its classes in the order"
    ):
        given.check(net(), x, mixed[y], 10)
    itself = net()
    itself.body = nn.Sequential(Scaled(itself.mean.clone(), itself.std.clone()), itself.body)
    given.check(itself, x, y, 10)  # digits bear a second normalisation
    itself.std.fill_(1e4)
    with pytest.raises(UsageError, match=r"with --normalization none \(it normalises by itself\) it is 0\.9"):
        given.check(itself, x, y, 10)
    colours = build(Build(model="fcn", width=8, depth=1), (3, 8, 8), 10, ((0.0,) * 3, (1.0,) * 3), 0).eval()
    colours.body = nn.Sequential(Channels(nn.Sequential(Scaled(net().mean, net().std), net().body), 2))
    dark = torch.cat([x, torch.zeros_like(x), torch.zeros_like(x)], dim=1)
    with pytest.raises(UsageError, match=r"in the order blue, green, red it is 0\.9"):
        given.check(colours, dark, y, 10)
    with pytest.raises(UsageError, match="are these its weights, and its images"):
        given.check(
            build(Build(width=8), (1, 8, 8), 10, (digits.mean, digits.std), 0).eval(), torch.zeros_like(x), y, 10
        )


def test_a_net_that_gives_nan_is_told_so(digits):
    net = build(Build(model="fcn", width=8, depth=1), (1, 8, 8), 10, (digits.mean, digits.std), 0).eval()
    x, y = digits.test[:40]
    x = x.clone()
    x[:3] = float("nan")
    with pytest.raises(UsageError, match="its logits for 3 of 40 test images are NaN"):
        given.check(net, x, y, 10)


def test_a_net_at_the_level_of_chance_is_told_of_the_other_weights_in_its_file(digits):
    net = build(Build(model="fcn", width=8, depth=1), (1, 8, 8), 10, (digits.mean, digits.std), 0).eval()
    net.beside = "a.pt#ema takes those under ema"
    x, y = digits.test[:]
    with pytest.raises(UsageError, match=r"test images is .*; a\.pt#ema takes those under ema"):
        given.check(net, torch.zeros_like(x), y, 10)


class Scaled(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x):
        return (x - self.mean) / self.std


@pytest.mark.parametrize(
    ("weights", "normalization", "words"),
    [
        ("nowhere.pt", "", "there is no such file"),
        ("", "imagenet", "give dataset, none, or MEAN/STD"),
        ("", "0.5/", "give dataset, none, or MEAN/STD"),
        ("", "0.5/0", "--normalization '0.5/0' is not accepted: deviations, after the slash, must be above 0; give"),
        ("", "0.5/-1", "--normalization '0.5/-1' is not accepted: deviations, after the slash, must be above 0"),
        ("", "a/b", "--normalization 'a/b' is not accepted: means and deviations must be numbers"),
        ("", "0.1,0.2/1,2,3", "is not accepted: 2 means do not go with 3 deviations"),
        ("nowhere.pt#ema", "", "there is no such file"),
    ],
)
def test_words_that_are_no_weights_and_no_normalization(weights, normalization, words):
    with pytest.raises(UsageError, match=words):
        typed.net(weights, normalization)


def test_a_folder_is_no_file_of_weights(tmp_path):
    with pytest.raises(UsageError, match=r"that is a folder; give a file$"):
        typed.net(str(tmp_path), "")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UsageError, match=r"that is a folder; give a file, model\.safetensors in it say"):
        typed.net(str(tmp_path), "")


def test_numbers_of_another_count_than_the_channels_are_those_of_normalization():
    with pytest.raises(UsageError, match=r"--normalization \(input_mean\): one number or 3, .* got 2"):
        build(Build(input_mean=(0.1, 0.2), input_std=(0.3,)), (3, 8, 8), 10, ((0.0,), (1.0,)), 0)


def test_what_the_options_stand_for(tmp_path):
    (tmp_path / "a.pt").touch()
    assert typed.net(str(tmp_path / "a.pt#ema"), "") == {"weights": f"file:{tmp_path / 'a.pt'}#ema"}
    assert typed.net(str(tmp_path / "a.pt"), "dataset") == {"weights": f"file:{tmp_path / 'a.pt'}"}
    assert typed.net("IMAGENET1K_V1", "none") == {"weights": "IMAGENET1K_V1", "input_mean": "0", "input_std": "1"}
    assert typed.net("", "0.4,0.5/0.2,0.3") == {"input_mean": "0.4,0.5", "input_std": "0.2,0.3"}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"input_mean": "0.5"}, "input_mean and input_std go together"),
        ({"alpha": "0.1"}, "alpha acts in the first training, and epochs is 0"),
        ({"qat": "1"}, "qat=1 needs a first training"),
    ],
)
def test_what_a_given_net_is_refused(overrides, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        make_plan(Request(study="audit", preset="smoke", overrides=overrides, output=str(tmp_path / "o")))


def rung(words, clean, robust, doubt="", size=100.0):
    return ladder.Rung(
        axis="bits", value=4, words=words, trial=words, clean=clean, robust=robust, n=1000, second={}, doubt=doubt,
        stored_bytes=size, macs=10.0,
    )  # fmt: skip


BASE = rung("as it is", 0.95, 0.50, size=200.0)


SMALLER = "(100 bytes in place of 200)"
ALREADY = "A already costs 5.0 points of clean and 0.0 points of robust accuracy."


@pytest.mark.parametrize(
    ("rungs", "said"),
    [
        (
            [("a", 0.945, 0.495), ("b", 0.94, 0.46), ("c", 0.90, 0.30)],
            f"A is free {SMALLER}; b costs 1.0 point of clean and 4.0 points of robust accuracy {SMALLER}; c costs 5.0 "
            "points and 20.0 points.",
        ),
        ([("a", 0.90, 0.50)], ALREADY),
        ([("a", 0.97, 0.55)], f"A is free {SMALLER}."),
        ([("a", 0.90, 0.50), ("b", 0.95, 0.50)], ALREADY),
        ([("a", 0.90, 0.50, "masked"), ("b", 0.95, 0.50)], ALREADY),
        ([("a", 0.95, 0.50, "masked"), ("b", 0.95, 0.50)], "Of a no robust accuracy can be believed."),
    ],
)
def test_the_verdict_of_one_way_by_its_rule(rungs, said):
    """The last level up to which all are within the rule; a number that is not to be believed ends the walk."""
    assert ladder._arm(BASE, [rung(*r) for r in rungs]) == said


def test_the_reach_of_a_share_is_wilsons():
    assert ladder._reach(0.5, 100) == pytest.approx(0.0962, abs=1e-4)
    assert ladder._reach(1.0, 100) == pytest.approx(0.0185, abs=1e-4)


def test_an_audit_whose_rungs_are_fine_tuned_has_its_verdict_too(mine, here):
    """As the page for whoever has a net says; the net as it is is then fine-tuned as well."""
    tuned = ("--set", "finetune=standard", "--set", "finetune_epochs=1")
    done = here("audit", "--model", "theirs:net", "--weights", "net.pt", *FAST, *tuned, "--output", "tuned", cwd=mine)
    assert done.returncode == 0, done.stderr
    assert "As it is: clean accuracy " in done.stdout
    assert [r.axis for rungs in ladder.ladder(results.read(mine / "tuned"), manifest.load(mine / "tuned"))[1].values()
            for r in rungs] == ["keep_prob", "bits"]  # fmt: skip


@pytest.mark.parametrize("to", ["safetensors", "torch"])
def test_every_rung_can_be_exported_without_any_weights_kept(to, mine, here):
    """It is made again from the checkpoint; where that is gone, one message names its digest."""
    name = "shipped"
    if not (mine / name).exists():
        here("audit", "--model", "theirs:net", "--weights", "net.pt", *FAST, "--output", name, cwd=mine)
    _, arms = ladder.ladder(results.read(mine / name), manifest.load(mine / name))
    for rungs in arms.values():
        (rung,) = rungs
        out = f"{rung.axis}.{to}"
        done = here("export", name, rung.trial, "--to", to, "--out", out, cwd=mine)
        assert done.returncode == 0, done.stderr
        assert (mine / out).stat().st_size < (mine / "net.pt").stat().st_size
    (mine / "net.pt").rename(mine / "away.pt")
    lost = here("export", name, rung.trial, "--to", to, "--out", "other", cwd=mine)
    (mine / "away.pt").rename(mine / "net.pt")
    assert lost.returncode == 2
    assert "weights: where the file of digest" in lost.stderr
