"""Notes of a wrong shape, texts that would act on a terminal, names that no disk takes: one line each, no traceback."""

import copy
import io
import json
import os
import socket
import sys

import pytest

from study.launch import main
from study.spec.errors import LONGEST, brief, visible
from study.store import layout, places, results
from study.store.manifest import Manifest, load
from study.sweep import watch
from study.sweep.worker import heartbeat
from study.tracking.__main__ import main as tracking
from tests.folders import make_folder
from tests.helpers import ROOT, launch

OLD = ROOT / "tests/data" / "written_by_0.1.0"
WRONG = [None, 1, -1.5, "x", True, [], {}, [None], [1], ["x"], {"x": None}, {"x": 1}, {"x": {}}, [[]], [{}], "../x"]


@pytest.fixture
def folder(tmp_path):
    """Two finished trials and a failed one."""
    make_folder(tmp_path / "out", 3, failed=1)
    return tmp_path / "out"


def places_of(found, at=()):
    """Every path of keys into a JSON object, lists by their first entry."""
    yield at
    if isinstance(found, dict | list) and found:
        for key in list(found) if isinstance(found, dict) else [0]:
            yield from places_of(found[key], (*at, key))


def changed(found, at, wrong):
    if not at:
        return wrong
    out = copy.deepcopy(found)
    inner = out
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = wrong
    return out


@pytest.mark.parametrize("kind", ["grid", "search"])
def test_a_study_json_with_one_wrong_part_is_refused_or_read(kind):
    """Never another exception than the ValueError that says so; and what was read can be written."""
    found = json.loads((OLD / kind / "study.json").read_text())
    refused = 0
    for at in places_of(found):
        for wrong in WRONG:
            try:
                json.dumps(Manifest.of(changed(found, at, wrong)).record())
            except ValueError as error:
                refused += 1
                assert str(error).startswith(("it lacks ", "its parts have another shape: "))  # noqa: PT017
    assert refused > 300


@pytest.mark.parametrize(
    "wrong",
    [{"trials": ["../../x"]}, {"trials": [1]}, {"seeds": ["a"]}, {"created": "now"}, {"axes_off": []},
     {"arms": [{"name": "n", "family": "f", "axes": {"alpha": [[]]}}]},
     {"configuration": {"study": 5, "settings": {}}}, {"configuration": {"settings": {"width": "wide"}}}],
    ids=str,
)  # fmt: skip
def test_whoever_reads_it_says_so_in_a_line(wrong, folder, here):
    path = folder / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    for words in (["status", "out"], ["report", "out"], ["evaluate", "out", "0"]):
        done = here(*words, cwd=folder.parent)
        assert done.returncode == 2
        assert done.stderr.startswith(f"study: {path} cannot be read (its parts have another shape: ")
        assert done.stderr.count("\n") == 1


def test_notes_of_a_wrong_shape_are_damaged(folder, caplog):
    """Failures, signs of life, the list of processes."""
    (failed,) = (folder / "failed").iterdir()
    note = json.loads(failed.read_text())
    changes = [changed(note, at, wrong) for at in ((), ("identity",), ("cause",), ("attempts",), ("identity", "seed"))
               for wrong in ([], None, [1], {"x": {}})]  # fmt: skip
    for wrong in changes:
        failed.write_text(json.dumps(wrong))
        found = results.failures(folder)
        assert (found == {}) == ("is damaged and not used" in caplog.text)
        assert len(results.read(folder)) == 6 + len(found)
        caplog.clear()
    results.note_failure(folder, failed.stem, note)
    assert results.failures(folder)[failed.stem]["attempts"] == 1
    beating = heartbeat.Heartbeat(folder, "t", limit=9)
    for at in ((), *((key,) for key in beating.note)):
        for wrong in ([], None, {}):
            (folder / layout.RUNNING / "t.json").write_text(json.dumps(changed(beating.note, at, wrong)))
            assert at == ("node",) or heartbeat.read(folder) == {}
    listed = {"host": socket.gethostname(), "processes": [{"pid": 2**22 + 1, "started": 1.0}]}
    for at in places_of(listed):
        for wrong in WRONG:
            (folder / layout.PROCESSES).write_text(json.dumps(changed(listed, at, wrong)))
            assert watch.end_left(folder) == []


def test_a_note_nested_deeper_than_a_parser_goes_is_damaged(folder, here, caplog):
    deep = "[" * 100_000
    (failed,) = (folder / "failed").iterdir()
    for path in (failed, folder / layout.PROCESSES, folder / layout.RUNNING / "t.json"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(deep)
    assert (results.failures(folder), heartbeat.read(folder), watch.end_left(folder)) == ({}, {}, [])
    assert f"{failed} is damaged and not used" in caplog.text
    (folder / "study.json").write_text(deep)
    done = here("status", "out", cwd=folder.parent)
    assert (done.returncode, "cannot be read (it is nested too deep)" in done.stderr) == (2, True)


def test_pipes_and_links_among_the_notes_are_set_aside_and_not_waited_for(folder, here, caplog):
    for name in ("failed/pipe.json", "checkpoints/pipe.pt", "bases/pipe.pt"):
        (folder / name).parent.mkdir(exist_ok=True)
        os.mkfifo(folder / name)
    (folder / "failed" / "dangling.json").symlink_to("nothing")
    assert len(results.failures(folder)) == 1
    results.mend(folder)
    assert sorted(p.name for p in (folder / "damaged").iterdir()) == ["dangling.json", "pipe.json", "pipe.pt"]
    (folder / "study.json").unlink()
    os.mkfifo(folder / "study.json")
    done = here("status", "out", cwd=folder.parent)
    assert (done.returncode, "cannot be read (it is not a file)" in done.stderr) == (2, True)


def test_a_table_without_rows_or_record_is_damaged(tmp_path):
    places.publish(tmp_path / "trials" / "t.parquet", results.encode([], {}))
    assert results.scan(tmp_path) == {}
    with pytest.raises(results.Damaged, match="it has no rows"):
        results.read_trial(tmp_path / "trials" / "t.parquet")


def test_evaluate_names_a_damaged_table(folder, here):
    trial = load(folder).trials[1]
    path = layout.trial_path(folder, trial)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    done = here("evaluate", "out", trial, cwd=folder.parent)
    assert done.returncode == 2
    assert done.stderr.startswith(f"study: the table of trial {trial} is damaged (cannot be read")
    path.write_bytes(whole)
    done = here("evaluate", "out", trial, cwd=folder.parent)
    assert (done.returncode, "does not say how it was made" in done.stderr) == (2, True)
    assert "Go on with" not in done.stderr


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("line", ['{"op_code": 99, "worker_id": "w"}', '{"op_code": -1, "worker_id": "w"}', "[]", "7"])
def test_a_journal_with_an_unknown_operation_is_begun_anew(line, tmp_path, caplog):
    from study.sweep.plan.request import Request, make_plan
    from study.sweep.search.view import open_view

    search = make_plan(Request(study="pareto_search", preset="smoke", output=str(tmp_path))).preset.search
    (tmp_path / layout.JOURNAL).write_text(f"{line}\n")
    view = open_view(search, tmp_path, name="n", maximise=[True, False], key="k", tried=0)
    assert view.names() == set()
    assert f"{layout.JOURNAL} cannot be read" in caplog.text
    assert (tmp_path / f"{layout.JOURNAL}.damaged").read_text() == f"{line}\n"


# Texts


EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\ud800 boom"
HARMLESS = r"\x1b]0;owned\x07\x1b[2J\x9b31m\r\ud800 boom"


def test_a_cause_never_acts_on_a_terminal(folder, here):
    assert visible(EVIL) == HARMLESS
    assert visible("a\tb\nc é ∞") == "a\tb\nc é ∞"
    assert brief(EVIL + "\nmore") == brief(brief(EVIL)) == r"\x1b]0;owned\x07\x1b[2J\x9b31m"
    (failed,) = (folder / "failed").iterdir()
    note = json.loads(failed.read_text())
    failed.write_text(json.dumps(note | {"cause": EVIL.replace("\r", ""), "log": EVIL}))
    for words in (["status", "out"], ["report", "out"], ["status", "\x1b[2Jx"], ["\x1b[2Jx"], ["report", "--\x1b[2J"]):
        done = here(*words, cwd=folder.parent)
        assert not [c for c in done.stdout + done.stderr if c in "\x1b\x07\x9b\r"]
    assert HARMLESS.replace(r"\r", "") in here("status", "out", cwd=folder.parent).stdout
    assert HARMLESS.replace(r"\r", "") in (folder / "report.html").read_text()


def test_a_long_message_is_cut_where_it_is_noted(folder, here):
    note = {"identity": json.loads(next((folder / "failed").iterdir()).read_text())["identity"]}
    results.note_failure(folder, "long", note | {"cause": "x" * 20_000_000, "log": "y" * 20_000_000 + "the end"})
    found = results.failures(folder)["long"]
    assert found["cause"] == "x" * LONGEST + "... (20000000 characters)"
    assert found["log"].endswith("the end")
    assert len(found["log"]) < 110_000
    (folder.parent / "mine.py").write_text("def data():\n    raise RuntimeError('z' * 20_000_000)\n")
    done = here("compressibility_sweep", "--data", "mine:data", cwd=folder.parent)
    assert (done.returncode, len(done.stderr) < 30_000) == (2, True)
    path = folder / layout.note_name("long")
    path.write_text(json.dumps(found | {"cause": "z" * 20_000_000}))  # as an earlier version wrote it
    assert len(results.failures(folder)["long"]["cause"]) < LONGEST + 40


# Names, and the environment


@pytest.mark.parametrize(
    "words",
    [["status", "LONG"], ["report", "LONG"], ["report", "out", "--csv", "LONG"], ["evaluate", "out", "LONG"],
     ["evaluate", "LONG", "x"], ["compressibility_sweep", "--output", "LONG"], ["LONG"],
     ["compressibility_sweep", "--output", "DEEP"], ["compressibility_sweep", "--data", "LONG"],
     ["compressibility_sweep", "--data", "imagefolder:LONG"], ["compressibility_sweep", "--data-dir", "LONG", "--data",
     "mnist"], ["compressibility_sweep", "--tracking-uri", "sqlite:///LONG"], ["pareto_search", "--warm-start", "LONG"],
     ["compressibility_sweep", "--model", "LONG:f"], ["compressibility_sweep", "--data", "LONG:f"], ["status", "loop"],
     ["status", "out/study.json/x"], ["compressibility_sweep", "--preset", "LONG"]],
    ids=" ".join,
)  # fmt: skip
def test_a_name_that_no_disk_takes_is_bad_input(words, folder, here):
    (folder.parent / "loop").symlink_to("loop")
    before = sorted(folder.parent.rglob("*"))
    words = [w.replace("LONG", "é" * 200).replace("DEEP", "/".join(["d" * 200] * 30)) for w in words]
    done = here(*words, cwd=folder.parent)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("study: ")
    assert done.stderr.count("\n") == 1
    assert sorted(folder.parent.rglob("*")) == before


def test_an_ascii_terminal_is_told_all(folder, monkeypatch):
    (failed,) = (folder / "failed").iterdir()
    failed.write_text(json.dumps(json.loads(failed.read_text()) | {"cause": "λ = ∞, \udcff"}))
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["status", str(folder)]) == 0
    sys.stdout.flush()
    assert rb"\u03bb = \u221e, \udcff (1 attempts)" in raw.getvalue()


@pytest.mark.parametrize("words", [["status", "out", "--json"], ["compressibility_sweep", "--dry-run"], ["--list"]])
def test_only_a_sweep_is_told_to_go_on(words, folder, here, monkeypatch):
    def full(*args, **more):
        raise OSError(28, "No space left on device", "x")

    for name in ("study.launch.told.show", "study.launch.listing.show", "study.launch.listing.show_plan"):
        monkeypatch.setattr(name, full)
    done = here(*words, cwd=folder.parent)
    assert (done.returncode, done.stderr) == (1, "study: the disk of x is full\n")


def test_a_home_without_room_for_rays_token_is_said_before_the_sweep(here, tmp_path):
    words = ["compressibility_sweep", "--preset", "smoke", "--output", "out"]
    done = here(*words, cwd=tmp_path, HOME="/proc/nowhere")
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert done.stderr.startswith("study: Ray keeps its token in /proc/nowhere/.ray, and /proc cannot be written (")
    done = here("status", "s3://studies/x", cwd=tmp_path, HOME="/proc/nowhere", XDG_CACHE_HOME="")
    assert done.returncode == 2
    assert "set XDG_CACHE_HOME to a folder that can be written" in done.stderr


def test_a_home_that_cannot_be_written_costs_a_sweep_nothing(tmp_path):
    done = launch(
        "compressibility_sweep", "--preset", "smoke", "--in-process", "--seeds", "1", "--set", "epochs=1", "--set",
        "rank=full", "--set", "alpha=0", "--output", "out", cwd=tmp_path, HOME="/proc/nowhere", LC_ALL="C",
        PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", MPLCONFIGDIR="", XDG_CACHE_HOME="", XDG_CONFIG_HOME="",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_what_stands_in_the_way_of_a_folder_or_a_lock_is_named(folder, here):
    (folder / "figures").write_text("in the way")
    done = here("report", "out", cwd=folder.parent)
    assert (done.returncode, done.stderr) == (2, f"study: {folder}/figures: it is no folder; move it away\n")
    (folder / "figures").unlink()
    (folder / "report.html").unlink(missing_ok=True)
    (folder / "report.html").mkdir()
    done = here("report", "out", cwd=folder.parent)
    assert (done.returncode, done.stderr) == (2, f"study: {folder}/report.html: it is a folder; move it away\n")
    (folder / ".lock").unlink(missing_ok=True)
    (folder / ".lock").mkdir()
    assert here("status", "out", cwd=folder.parent).returncode == 0


def test_a_folder_that_no_disk_takes_is_refused_by_tracking_too(capsys):
    assert tracking(["rebuild", "a" * 5000]) == 2
    assert capsys.readouterr().err.startswith("study.tracking: aaa")


@pytest.mark.parametrize(
    ("source", "status", "words"),
    [
        ("raise KeyboardInterrupt", 130, "study: interrupted\n"),
        ("__name__ = 3\ndef model(shape, classes): pass", 2, "study: 'model' has no Python source to identify it by\n"),
    ],
)
def test_a_module_that_ends_or_renames_itself_is_answered(source, status, words, folder, here, monkeypatch):
    (folder.parent / "odd_module.py").write_text(source)
    monkeypatch.delitem(sys.modules, "odd_module", raising=False)
    done = here("compressibility_sweep", "--dry-run", "--model", "odd_module:model", cwd=folder.parent)
    assert (done.returncode, done.stderr) == (status, words)
