"""`study.audit`: the command's audit of a net and images that are in memory, in this process."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import study
from study.exported import load_exported
from study.nets.data import load
from study.spec.config import Load
from study.spec.errors import UsageError
from study.store import results
from tests import audit_cases

SMOKE = {"preset": "smoke", "quiet": True}
LEAST = SMOKE | {"attack_iterations": 1, "second_attack": "none", "audit_queries": 0, "gap_iterations": 1}


@pytest.fixture(scope="module")
def digits():
    return load(Load(data="digits"), 0)


def normalised(x, digits):
    return (x - torch.tensor(digits.mean)) / torch.tensor(digits.std)


@pytest.fixture(scope="module")
def net(digits):
    """A residual net that knows the digits, normalised by their mean and deviation."""
    torch.manual_seed(0)
    made = audit_cases.resnet((1, 8, 8), 10)
    optimizer = torch.optim.AdamW(made.parameters(), 1e-2)
    x, y = digits.train[:]
    for step in range(100):
        at = torch.randperm(len(y), generator=torch.Generator().manual_seed(step))[:64]
        optimizer.zero_grad()
        nn.functional.cross_entropy(made(normalised(x[at], digits)), y[at]).backward()
        optimizer.step()
    return made.eval()


def numbers(frame):
    kept = frame[frame["deterministic"]].drop(columns=["model", "trial"]).dropna(axis=1, how="all")
    keys = [c for c in kept.columns if c != "value"]
    return kept.sort_values(keys, kind="stable").reset_index(drop=True)


def test_the_numbers_and_figures_are_those_of_the_command(net, here, tmp_path):
    torch.save(net.state_dict(), tmp_path / "net.pt")
    threads = torch.get_num_threads()
    before = {name: W.clone() for name, W in net.state_dict().items()}
    net.train()
    found = study.audit(net, "digits", **SMOKE)
    assert net.training
    net.eval()
    assert torch.get_num_threads() == threads
    assert all(torch.equal(W, before[name]) for name, W in net.state_dict().items())
    done = here("audit", "--model", "tests.audit_cases:resnet", "--weights", "net.pt", "--preset", "smoke",
                "--in-process", "--output", "out", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(numbers(found.frame), numbers(results.read(tmp_path / "out")))
    figures = found.figures()
    assert set(figures) == {"ladder", "layers", "bytes"}
    assert all(isinstance(figure, Figure) and figure.axes for figure in figures.values())
    assert (found.folder / "report.html").is_file()
    assert found.verdict[0].startswith("As it is: clean accuracy ")
    assert found.verdict[0] in done.stdout.replace("l∞", "l_inf")
    assert f"<li>{found.verdict[0]}</li>" in found._repr_html_()
    assert not found.failed


def test_images_in_memory_go_to_the_net_as_they_are_and_all_of_them_count(net, digits):
    x, y = digits.test[:30]
    found = study.audit(net, (x, y), **SMOKE, normalization=f"{digits.mean[0]}/{digits.std[0]}")
    clean = found.frame[(found.frame["measure"] == "clean_accuracy") & (found.frame["split"] == "test")]
    assert set(clean["n"]) == {30}
    first = clean[(clean["keep_prob"] == 1) & (clean["bits"] == 0)]["value"].item()
    with torch.no_grad():
        assert first == float((net(normalised(x, digits)).argmax(1) == y).double().mean())


def test_a_builder_and_a_file_and_its_rungs_in_files(net, digits, tmp_path):
    """With its own normalisation inside, as many nets have it; a file of it is read by whoever has the architecture."""

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = audit_cases.resnet((1, 8, 8), 10)

        def forward(self, x):
            return self.net(normalised(x, digits))

    whole = Whole()
    whole.net.load_state_dict(net.state_dict())
    torch.save(whole.state_dict(), tmp_path / "net.pt")
    x, y = digits.test[:40]
    found = study.audit(lambda shape, classes: Whole(), (x.numpy(), y.tolist()), weights=tmp_path / "net.pt", **LEAST,
                        output=tmp_path / "out")  # fmt: skip
    trial = found.frame.loc[found.frame["bits"] == 4, "trial"].iloc[0]
    assert any(
        f'.export("{name}", "net.onnx")' in s for s in found.verdict for name in found.frame["trial"].unique()
    ) or (not any("To ship" in s for s in found.verdict))
    found.export(trial, tmp_path / "net.st", "safetensors")
    with pytest.raises(UsageError, match="given:<lambda>, which no file can have imported"):
        load_exported(tmp_path / "net.st")
    with pytest.raises(UsageError, match="is there already"):
        found.export(trial, tmp_path / "net.st", "safetensors")
    with pytest.raises(UsageError, match=r"holds results already"):
        study.audit(
            lambda shape, classes: Whole(), (x, y), weights=tmp_path / "net.pt", **LEAST, output=tmp_path / "out"
        )


def test_a_file_of_a_net_that_was_handed_over_is_read_by_a_function_that_builds_it(net, tmp_path):
    found = study.audit(net, "digits", **LEAST)
    trial = found.frame.loc[found.frame["keep_prob"] == 0.5, "trial"].iloc[0]
    found.export(trial, tmp_path / "net.st", "safetensors")
    again = load_exported(tmp_path / "net.st", model="tests.audit_cases:resnet")
    kept = sum(int((W != 0).sum()) for name, W in again.body.named_parameters() if W.ndim == 4)
    assert 0.4 < kept / sum(W.numel() for W in net.parameters() if W.ndim == 4) < 0.6


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"net": 3}, "a torch.nn.Module, a function .* got int"),
        ({"data": (torch.zeros(2, 1, 8, 8),)}, r"\(x, y\), or \(train_x, train_y, x, y\) is accepted, got tuple of 1"),
        ({"data": (torch.zeros(40, 1, 8, 8) - 1, torch.arange(40) % 10)}, "data given:images cannot be read"),
        ({"data": (torch.zeros(40, 1, 8, 8), torch.arange(40) % 10), "finetune": "standard"}, "finetune needs images"),
        ({"bitz": 4}, "bitz"),
        ({"weights": "nowhere.pt"}, "there is no such file"),
        ({"data": (torch.rand(40, 1, 8, 8), torch.arange(40) % 10)}, "clean accuracy on 40 test images is"),
    ],
)
def test_what_is_not_accepted_is_said_before_anything_is_started(given, words, net):
    with pytest.raises(UsageError, match=words):
        study.audit(**({"net": net, "data": "digits"} | SMOKE | given))


def test_importing_study_imports_nothing_heavy():
    code = (
        "import sys, study; assert not {'torch', 'numpy', 'pandas', 'matplotlib', 'ray'} & set(sys.modules); dir(study)"
    )
    root = Path(study.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
    with pytest.raises(AttributeError, match="no attribute 'audits'"):
        _ = study.audits


def test_statistics_taken_anew_move_the_numbers_and_the_verdict_says_so(net):
    old, new = (study.audit(net, "digits", **LEAST, recalibrate=on) for on in (0, 1))
    assert old.verdict[0].startswith("As it is: clean accuracy ")
    assert new.verdict[0].startswith("With its BatchNorms' statistics taken anew: clean accuracy ")
    clean = [
        f.frame[(f.frame.measure == "clean_accuracy") & (f.frame.split == "test")].value.tolist() for f in (old, new)
    ]
    assert len(clean[0]) == len(clean[1])
    assert clean[0] != clean[1]
