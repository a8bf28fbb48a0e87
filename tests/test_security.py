"""What foreign files, foreign web pages and curious readers must not get: nothing runs, nothing leaks."""

import ast
import html.parser
import json
import os
import urllib.error
import urllib.request
from dataclasses import replace

import markupsafe
import pytest
import torch

from study.spec.errors import without_secrets
from study.store import layout, results
from study.store.manifest import ArmRecord
from study.sweep.worker import attempt, heartbeat
from tests.folders import make_folder
from tests.helpers import ROOT

UNSAFE_MODULES = {"pickle", "cloudpickle", "joblib", "dill", "marshal", "shelve"}
UNSAFE_CALLS = {"load_model", "eval", "exec", "full_load", "unsafe_load"}  # and Tuner.restore, yaml.load, see below


def calls():
    """Every call in our code: file, dotted name, keywords as source."""
    for package in ("study", "search_spaces", "analysis", "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield path.name, ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}


def test_nothing_that_could_run_code_is_loaded():
    wrong = []
    for file, name, words in calls():
        last = name.rpartition(".")[2]
        unsafe = (last in UNSAFE_CALLS and name not in ("net.eval", "model.eval")) and not name.endswith(".eval")
        unsafe |= name.endswith(("yaml.load", "Tuner.restore", "export.load", "jit.load"))
        unsafe |= name == "torch.load" and words.get("weights_only") != "True"
        unsafe |= words.get("allow_pickle") == "True" or words.get("weights_only") == "False"
        unsafe |= words.get("shell") == "True"
        wrong += [(file, name)] if unsafe else []
    assert wrong == []


def test_no_module_that_unpickles_is_imported():
    for package in ("study", "search_spaces", "analysis"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not UNSAFE_MODULES & {n.partition(".")[0] for n in names}, path


class Evil:
    """Unpickling it runs a command."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


def test_an_evil_checkpoint_runs_nothing(tmp_path, caplog):
    path = tmp_path / "checkpoints" / "t.pt"
    path.parent.mkdir()
    plain = tmp_path / "evil.pt"
    torch.save({"epoch": Evil(tmp_path / "it ran")}, plain)
    path.write_bytes(results.seal(plain.read_bytes()))
    assert attempt._read_snapshot(path) is None
    assert not (tmp_path / "it ran").exists()
    assert "holds more than tensors" in caplog.text
    torch.load(plain, weights_only=False)
    assert (tmp_path / "it ran").exists(), "the file was no threat, so this test shows nothing"


STRINGS = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</script><script>", "{{7*7}}", "<b>'\"&"]


class Tags(html.parser.HTMLParser):
    """Counts elements and attributes."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def handle_starttag(self, tag, attrs):
        for name in (tag, *(f"{tag}.{a}" for a, _ in attrs)):
            self.seen[name] = self.seen.get(name, 0) + 1


def report_with(folder, text):
    """The report of a folder in which every string that a file holds is `text`."""
    from analysis import report

    manifest, names = make_folder(folder, 3, failed=1)
    path = folder / "failed" / f"{names[0]}.json"
    note = json.loads(path.read_text())
    path.write_text(json.dumps(note | {"cause": text, "log": text}))
    settings = {
        **manifest.settings,
        "attack": text,
        text: text,
        "judged_linf": 0.1,
        "judged_l2": 0.5,
        "eps_linf": [0.1],
        "eps_l2": [0.5],
    }
    said = dict.fromkeys(("data", "data_digest", "model", "question", "figure", "commit", "version"), text)
    arm = ArmRecord(name="neuron", family=text, axes={"alpha": (0.0, 1.0), "penalty": (text, "b")})
    manifest = replace(manifest, settings=settings, arms=(arm,), **said)
    (folder / "study.json").write_text(json.dumps(manifest.record()))
    report.write(folder)
    return (folder / "report.html").read_text()


@pytest.fixture
def blank_figures(monkeypatch):
    """Figures are pictures: what they show cannot run; their names and titles still come from the folder."""
    from matplotlib.figure import Figure

    from analysis import figures

    blank = {name: (title, lambda frame, study, judged: Figure()) for name, (title, _) in figures.FIGURES.items()}
    monkeypatch.setattr(figures, "FIGURES", blank)


@pytest.mark.usefixtures("blank_figures")
def test_no_string_becomes_markup_in_the_report(tmp_path):
    def elements(page):
        tags = Tags()
        tags.feed(page)
        return tags.seen

    plain = elements(report_with(tmp_path / "plain", "word"))
    assert "script" not in plain
    for i, text in enumerate(STRINGS):
        page = report_with(tmp_path / str(i), text)
        assert elements(page) == plain, text
        assert str(markupsafe.escape(text)) in page
        assert "default-src 'none'" in page


@pytest.mark.usefixtures("blank_figures")
def test_no_string_of_a_folder_leaves_the_folder(tmp_path):
    (tmp_path / "in").mkdir()
    report_with(tmp_path / "in/side", "/../../../../out")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["side"]
    assert all(p.suffix in (".png", ".pdf", ".svg") for p in (tmp_path / "in/side/figures").iterdir())


@pytest.mark.parametrize("name", ["..", "../x", "/etc/passwd", "a/b", "a\0b", "", "%2e%2e/x", "x" * 200, "a b", ".x"])
def test_a_trial_is_no_path(name, tmp_path):
    with pytest.raises(ValueError, match="no fingerprint of a trial"):
        layout.trial_path(tmp_path, name)


def test_odd_files_among_the_results_are_named_and_not_waited_for(tmp_path, caplog):
    folder = tmp_path / "out"
    make_folder(folder, 2)
    os.mkfifo(folder / "trials" / "pipe.parquet")
    (folder / "trials" / "folder.parquet").mkdir()
    (folder / "trials" / "environment.parquet").symlink_to("/proc/self/environ")
    (folder / "trials" / "dangling.parquet").symlink_to(tmp_path / "nothing")
    assert len(results.scan(folder, set_aside=True)) == 2
    assert len(caplog.records) == 4
    assert len(list((folder / "damaged").iterdir())) == 4
    assert len(list((folder / "trials").iterdir())) == 2


@pytest.mark.parametrize("data", ["../../etc", "/etc/passwd", "digits/../x", "digits\0", "%2e%2e"])
def test_a_data_set_is_no_path(data, here, tmp_path):
    done = here("compressibility_sweep", "--data", data, "--data-dir", "d", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("study: unknown data")
    assert list(tmp_path.iterdir()) == []


def answer(uri, **headers):
    """The status of a search for experiments asked with these headers."""
    body = json.dumps({"max_results": 1}).encode()
    asked = urllib.request.Request(
        f"{uri}/api/2.0/mlflow/experiments/search", body, {"Content-Type": "application/json"} | headers
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as found:
            return found.status
    except urllib.error.HTTPError as error:
        return error.code


def test_foreign_pages_cannot_talk_to_the_tracking_server(mlflow_server):
    assert answer(mlflow_server.uri) == 200
    assert answer(mlflow_server.uri, Host="evil.example") == 403, "DNS rebinding"
    assert answer(mlflow_server.uri, Origin="http://evil.example") == 403
    assert answer(mlflow_server.uri, Origin=mlflow_server.uri) == 200


CANARY = "canary5d41402a"


def test_no_secret_stands_in_any_file_or_line(here, mlflow_server, tmp_path):
    uri = mlflow_server.uri.replace("://", f"://me:{CANARY}@")
    words = ["compressibility_sweep", "--preset", "smoke", "--in-process", "--seeds", "1", "--set", "test_size=50",
             "--set", "alpha=0", "--set", "rank=full", "--output", "out"]  # fmt: skip
    environment = {"MLFLOW_TRACKING_URI": uri, "AWS_SECRET_ACCESS_KEY": CANARY, "MY_TOKEN": CANARY}
    done = here(*words, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert "MLflow did not take everything" not in done.stderr
    assert "://me:***@" in done.stdout
    refused = here(*words, "--tracking-uri", f"http://me:{CANARY}@127.0.0.1:1", cwd=tmp_path)
    assert refused.returncode == 2
    for text in (done.stdout, done.stderr, refused.stdout, refused.stderr):
        assert CANARY not in text
    files = [p for folder in (tmp_path, mlflow_server.folder) for p in folder.rglob("*") if p.is_file()]
    assert len(files) > 5
    assert [p for p in files if CANARY.encode() in p.read_bytes()] == []


ADDRESSES = [
    ("http://me:{}@host:5000", "http://me:***@host:5000"),
    ("http://me:a@{}@host", "http://me:***@host"),
    ("postgresql+psycopg2://me:{}/x@host/db", "postgresql+psycopg2://me:***@host/db"),
    ("redis://:{}@host", "redis://:***@host"),
    ("postgresql://host/db?user=me&password={}&port=1", "postgresql://host/db?user=me&password=***&port=1"),
    ("postgresql://host/db?sslpassword={}", "postgresql://host/db?sslpassword=***"),
    ("mysql://host/db?PASSWD={}&x=1", "mysql://host/db?PASSWD=***&x=1"),
    ("mssql://host/db?Pwd={}#x", "mssql://host/db?Pwd=***#x"),
    ("https://host/api?access_token={}", "https://host/api?access_token=***"),
]


@pytest.mark.parametrize(("address", "shown"), ADDRESSES)
def test_a_password_is_masked_wherever_an_address_holds_one(address, shown):
    from study.sweep.typed import again

    assert without_secrets(f"no answer at {address.format(CANARY)} (refused)") == f"no answer at {shown} (refused)"
    assert CANARY not in again(["x", "--tracking-uri", address.format(CANARY)])
    assert CANARY not in again(["x", f"--search-storage={address.format(CANARY + chr(39) + CANARY)}"]), "quoted"


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:5000/a@b", "sqlite:////tmp/a:b@c.db", "s3://bucket/a:b@c", "http://h/?passed=1&key=x"]
)
def test_an_address_without_a_password_is_shown_whole(address):
    assert without_secrets(address) == address


def test_a_heartbeat_tells_no_more_than_it_says(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", CANARY)
    heartbeat.Heartbeat(tmp_path, "t", limit=9)
    said = {"pid", "process_started", "host", "node", "began", "phase", "epoch", "seen"}
    assert set(heartbeat.read(tmp_path)["t"]) == said
