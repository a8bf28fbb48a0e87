"""The command line as a user meets it: statuses, messages, and that bad input leaves nothing behind."""

import json
import socket

import pytest

from study.sweep import listing
from study.sweep.plan import costs
from tests.helpers import SHARED, launch

BAD = [
    (["no_such_study"], "unknown study 'no_such_study'"),
    (["nomodule:x"], "study nomodule:x: cannot import it"),
    (["compressibility_sweep", "--model", "nomodule:x"], "--model nomodule:x: cannot import it"),
    (["compressibility_sweep", "--set", "lr=1"], "did you mean learning_rate?"),
    (["compressibility_sweep", "--set", "alpha=0..1"], "write FIRST..LAST:COUNT"),
    (
        ["pareto_search", "--model", "swin_t", "--set", "prune_ratio=0.5"],
        "--set prune_ratio: it goes with model fcn, cnn, cnn8, resnet18, wrn50_2, wrn101_2, vgg16, vit, vit_b8, "
        "vit_tiny, got ",
    ),
    (["compresibility_sweep"], "did you mean compressibility_sweep?"),
    ([], "which study?"),
    (["compressibility_sweep", "--preset", "labtop"], "did you mean laptop?"),
    (["compressibility_sweep", "--set", "alpa=1"], "did you mean alpha?"),
    (["compressibility_sweep", "--set", "alpha=-1"], "--set alpha: '-1' is not accepted; give numbers from 0"),
    (["compressibility_sweep", "--set", "alpha=nan"], "--set alpha: 'nan' is not accepted"),
    (["compressibility_sweep", "--set", "rank=2.5"], "whole numbers from 0 to 100000, or full"),
    (["compressibility_sweep", "--set", "alpha"], "write --set AXIS=V1,V2"),
    (["compressibility_sweep", "--set", "seeds=0,1"], "--set seeds: it is an option of its own; write --seeds 0,1"),
    (["compressibility_sweep", "--seeds", "many"], "which ones (0,3,7"),
    (["compressibility_sweep", "--seeds", "0"], "give how many (5;"),
    (["compressibility_sweep", "--seeds", "9999999"], "at most 1000"),
    (["compressibility_sweep", "--seeds", "0," + "9" * 30], "each at most 2147483647"),
    (["compressibility_sweep", "--set", "rank=1e12"], "whole numbers from 0 to 100000, or full"),
    (["compressibility_sweep", "--set", "width=" + "9" * 400], "whole numbers from 1 to 100000"),
    (["compressibility_sweep", "--set", "judged_linf=0.2"], "0.2 is none of the budgets"),
    (["compressibility_sweep", "--set", "test_size=355"], "give 10 to 350, or 0 for all"),
    (["compressibility_sweep", "--set", "train_size=9"], "give 10 to 1427, or 0 for all"),
    (["compressibility_sweep", "--set", "validation=0.001"], "too few for the 10 classes"),
    (["compressibility_sweep", "--time-budget", "soon"], "give 90s, 10m or 2h"),
    (["compressibility_sweep", "--max-concurrent", "-1"], "--max-concurrent must be at least 0"),
    (["compressibility_sweep", "--cpus-per-trial", "0"], "--cpus-per-trial must be above 0"),
    (["compressibility_sweep", "--cpus-per-trial", "two"], "--cpus-per-trial"),
    (["compressibility_sweep", "--presett", "smoke"], "Did you mean --preset?"),
    (["statsu", "x"], "unknown study or command 'statsu'; did you mean status?"),
    (["bound_validation", "--set", "attack=apgd_dlr", "--set", "attack_backend=art"], "needs three classes"),
    (["compressibility_sweep", "--set", "certify=1", "--set", "attack=pgd"], "certificates go with attack=apgd"),
    (["compressibility_sweep", "--set", "certify=1", "--model", "resnet18"], "got apgd, native, resnet18"),
    (["compressibility_sweep", "--set", "adversarial_ratio=1.5"], "numbers from 0 to 1"),
    (["operator_norm_study", "--data", "mnist"], "works without data and model"),
    (["operator_norm_study", "--set", "ascended_norm=l1"], "give one of linf, l2"),
    (["compressibility_sweep", "--data", "nosuch"], "unknown data 'nosuch'; choose from digits"),
    (["compressibility_sweep", "--data", "mnist", "--data-dir", "nowhere"], "give --download"),
    (["compressibility_sweep", "--data", "imagefolder:empty"], "is empty"),
    (["compressibility_sweep", "--data", "imagefolder:torn"], "torn/cat/x.png cannot be read"),
    (["compressibility_sweep", "--data", "mine:nothing"], "cannot import it"),
    (["compressibility_sweep", "--data", "mine:short_data"], "must return"),
    (["compressibility_sweep", "--data", "raises:data"], "RuntimeError: not today"),
    (["compressibility_sweep", "--model", "math:sqrt"], "no Python source"),
    (["compressibility_sweep", "--set", "train_size=5000"], "--set train_size: 5000 is more than the 1437 images"),
    (
        ["compressibility_sweep", "--set", "train_size=300", "--data", "mine:small_data"],
        "300 is more than the 40 images",
    ),
    (
        [
            "compressibility_sweep",
            "--set",
            "eps_l2=9",
            "--set",
            "train_size=0",
            "--set",
            "test_size=0",
            "--data",
            "mine:small_data",
        ],
        "9 is above 8, the diagonal of",
    ),
    (["compressibility_sweep", "--set", "eps_linf=8", "--dry-run"], "give for example --set eps_linf=8/255"),
    (["compressibility_sweep", "--model", "nosuch"], "unknown model 'nosuch'"),
    (["compressibility_sweep", "--model", "mine:no_module"], "must return a torch.nn.Module"),
    (["compressibility_sweep", "--model", "mine:three"], "it returned a tensor (2, 3) of torch.float32 for N = 2; it"),
    (["compressibility_sweep", "--model", "mine:broken"], "RuntimeError: mat1 and mat2"),
    (["compressibility_sweep", "--gpus-per-trial", "0.5"], "there is no GPU here"),
    (["compressibility_sweep", "--preset", "paper", "--data", "digits"], "there is no GPU here"),
    (["compressibility_sweep", "--address", "127.0.0.1:1"], "no Ray answers there"),
    (["compressibility_sweep", "--address", "nonsense"], "give host:port"),
    (["compressibility_sweep", "--tracking-uri", "http://127.0.0.1:1"], "no MLflow server answers there"),
    (["compressibility_sweep", "--tracking-uri", "sqlite:///no/such/folder/x.db"], "there is no folder"),
    (["compressibility_sweep", "--tracking-uri", "mlruns"], "is not accepted"),
    (["compressibility_sweep", "--tracking-uri", "sqlite:///mine.py"], "is not a database"),
    (["compressibility_sweep", "--tracking-uri", "sqlite:///empty"], "is a folder"),
    (["compressibility_sweep", "--tracking-uri", "postgresql://me:secret@127.0.0.1:1/x"], "cannot be used"),
    (["compressibility_sweep", "--output", "mine.py"], "is a file; choose a folder"),
    (["compressibility_sweep", "--output", "mine.py/x"], "cannot be written"),
    (["compressibility_sweep", "--output", "/proc/x"], "cannot be written"),
    (["compressibility_sweep", "--output", "torn"], "is not empty and holds no results"),
    (["status", "torn"], "is not a folder of results"),
    (["report", "torn"], "is not a folder of results"),
    (["report"], "which folder?"),
    (["report", "held", "--csv", "nowhere/x.csv"], "give a file in a folder that exists"),
]
MINE = """
from torch import nn
def short_data(): return 1
def small_data():
    import numpy as np
    return np.zeros((40, 64)), np.arange(40) % 2, np.zeros((2000, 64)), np.arange(2000) % 2
def good(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, classes))
def no_module(shape, classes): return 3
def three(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 3))
def broken(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(63, 8), nn.Linear(8, classes))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with one module of the user's, an empty and a damaged image folder."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "raises.py").write_text("raise RuntimeError('not today')")
    (tmp_path / "empty").mkdir()
    (tmp_path / "held").mkdir()
    (tmp_path / "held/study.json").write_text(
        '{"configuration": {"settings": {}}, "arms": [], "seeds": [], "trials": []}'
    )
    for name in ("cat", "dog"):
        (tmp_path / "torn" / name).mkdir(parents=True)
        for image in ("x.png", "y.png"):
            (tmp_path / "torn" / name / image).write_bytes(b"not a picture")
    for variable in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI", "STUDY_DATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entries(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if "__pycache__" not in str(p))


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(w) or "nothing" for w, _ in BAD])
def test_bad_input_is_one_message_and_leaves_nothing(words, message, folder, capsys):
    from study.launch import main

    before = entries(folder)
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.startswith("study: ")
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert "secret" not in said.err
    assert entries(folder) == before


def test_the_same_from_a_shell(folder):
    done = launch("compressibility_sweep", "--set", "alpha=nan", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("study: --set alpha")


def test_an_address_from_the_environment_is_used(folder):
    done = launch("compressibility_sweep", cwd=folder, RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 2
    assert "--address 127.0.0.1:1: no Ray answers there" in done.stderr


def test_a_listener_that_is_no_mlflow_is_refused(folder, capsys):
    from study.launch import main

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        server.close()
        assert main(["compressibility_sweep", "--tracking-uri", f"http://127.0.0.1:{port}"]) == 2
    assert "no MLflow server answers" in capsys.readouterr().err


def test_nothing_is_downloaded_for_a_plan_or_before_all_else_is_sound(folder, capsys, monkeypatch):
    from study.launch import main
    from study.nets import data

    fetched = []
    monkeypatch.setattr(data, "download", lambda name, root: fetched.append(name))
    assert main(["compressibility_sweep", "--data", "mnist", "--download", "--dry-run"]) == 0
    assert main(["compressibility_sweep", "--data", "mnist", "--download", "--set", "alpha=x"]) == 2
    assert fetched == []
    assert main(["compressibility_sweep", "--data", "mnist", "--download"]) == 2
    assert fetched == ["mnist"]
    assert "no file" in capsys.readouterr().err


def test_the_estimate_follows_what_will_run(folder, capsys):
    from study.launch import main

    def seconds(*words):
        assert main(["compressibility_sweep", "--dry-run", "--json", *words]) == 0
        return json.loads(capsys.readouterr().out)

    alone, two = seconds("--in-process"), seconds("--max-concurrent", "1")
    assert alone["workers"] == two["workers"] == 1
    assert seconds("--cpus-per-trial", "0.1")["seconds"] < alone["seconds"]
    assert seconds("--address", "auto")["workers"] == 0


def test_what_a_function_returns_is_part_of_the_data_identity(folder):
    from study.nets import sources

    (folder / "drifts.py").write_text(
        "import os, numpy as np\n"
        "def data():\n"
        "    x = np.full((20, 4), float(os.environ['DRIFT']))\n"
        "    return x, np.arange(20) % 2, x, np.arange(20) % 2\n"
    )
    import os

    found = set()
    for value in ("0.1", "0.2", "0.2"):
        os.environ["DRIFT"] = value
        found.add(sources.digest("drifts:data", ""))
    del os.environ["DRIFT"]
    assert len(found) == 2


def test_list_as_json_covers_the_rows(folder, capsys):
    from study.launch import main

    assert main(["--list", "--json"]) == 0
    (study,) = [s for s in json.loads(capsys.readouterr().out) if s["name"] == "compressibility_sweep"]
    assert study["covers"] == ["A2"]
    assert study["presets"]["laptop"]["trials"] == 110
    assert study["presets"]["paper"]["dollars"] > 0


def test_list_and_dry_run_as_text(folder, capsys):
    from study.launch import main

    assert main(["--list"]) == 0
    text = capsys.readouterr().out
    assert "Does compressibility lower robust accuracy" in text
    assert "(paper A, Figure 5 top; row A2)" in text
    assert main(["compressibility_sweep", "--dry-run", "--seeds", "2", "--set", "alpha=0,8/255"]) == 0
    text = capsys.readouterr().out
    assert "control_neuron" in text
    assert "0.0313725" in text
    assert entries(folder) == entries(folder)
    assert not (folder / "results").exists()


def test_lines_for_people_are_short_and_no_estimate_pretends_to_minutes(folder, capsys, monkeypatch):
    from study.launch import main

    monkeypatch.setenv("COLUMNS", "120")
    assert main(["--list"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 120
    given = (45, 200, 7500, 24.9 * 3600, 99 * 3600, 96445.4 * 3600)
    assert [costs.duration(s) for s in given] == ["45 s", "3 min 20 s", "2 h 5 min", "25 h", "99 h", "4,019 days"]
    assert (listing._rounded(97024.3), listing._rounded(60.6), listing._size(54452)) == (97000, 61, "54 GB")


def test_a_dry_run_needs_no_data(folder, capsys):
    from study.launch import main

    assert main(["compressibility_sweep", "--preset", "paper", "--dry-run"]) == 0
    assert "Note: cifar10 is not on this machine" in capsys.readouterr().out

    assert main(["compressibility_sweep", "--preset", "paper", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["trials"] == len(plan["points"]) == 110
    assert {"alpha", "rank", "frobenius", "seed"} <= set(plan["points"][0])


def test_version(folder, capsys):
    from study import __version__
    from study.launch import main

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_the_command_that_goes_on():
    from study.sweep.typed import again

    assert again(["compressibility_sweep", "--set", "alpha=0,1"]).endswith(
        "compressibility_sweep --set alpha=0,1 --resume"
    )
    assert again(["x", "--resume"]).count("--resume") == 1
    assert again(["x", "--retry-failed"]).endswith("x --retry-failed --resume")


@pytest.mark.skipif(not (SHARED / "data/MNIST").is_dir(), reason="MNIST is not beside the checkout")
def test_truncated_mnist_is_refused(folder, capsys):
    from study.launch import main

    raw = folder / "d/MNIST/raw"
    raw.mkdir(parents=True)
    for path in (SHARED / "data/MNIST/raw").iterdir():
        (raw / path.name).write_bytes(path.read_bytes()[: 5000 if "train-images" in path.name else None])
    assert main(["compressibility_sweep", "--data", "mnist", "--data-dir", "d"]) == 2
    assert "data mnist" in (said := capsys.readouterr().err)
    assert "damaged" in said
