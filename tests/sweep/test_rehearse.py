"""`--rehearse`: every kind of trial takes one step; what fails is named; the record is read by --list and --dry-run."""

import json
import sys
from dataclasses import replace

import pytest

from study.launch import main
from study.spec.config import Accuracy, Load, Prunability, Quantize, Robustness, Train, Trial
from study.spec.rehearsal import kind, small
from study.sweep import rehearse
from study.sweep.plan import rehearsed
from study.sweep.plan.catalogue import study_names
from study.sweep.plan.request import Request, make_plan


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with modules of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("broken_parts", None)


def test_a_small_trial_has_one_step_of_everything_and_what_is_off_stays_off():
    trial = Trial(
        seed=3,
        stages=(Load(data="mnist", train_size=500, digest="x"), Train(epochs=40, batch_size=64, train_steps=10)),
        measures=(Robustness(norm="l2", eps=(0.5, 1.0), iterations=100, restarts=5, audit_queries=0),),
    )
    load, train, attack = (*small(trial).stages, *small(trial).measures)
    assert (load.train_size, load.digest, load.data) == (0, "", "mnist")
    assert (train.epochs, train.batch_size, train.train_steps) == (1, 64, 1)
    assert (attack.iterations, attack.restarts, attack.gap_iterations, attack.audit_queries) == (1, 1, 1, 0)
    assert (attack.eps, attack.gap_eps) == ((1.0,), ())
    judged = replace(trial, measures=(Robustness(norm="l2", eps=(0.5, 1.0), gap_eps=(0.5,)),))
    assert [(m.eps, m.gap_eps) for m in small(judged).measures] == [((0.5,), (0.5,))]
    assert kind(judged) == kind(small(judged)) != kind(trial)


def test_a_kind_is_what_is_on_and_not_how_strong():
    def of(**given):
        return kind(Trial(seed=0, stages=(Load(), Train(**given)), measures=(Accuracy(),)))

    assert of(penalty="l", alpha=0.1) == of(penalty="l", alpha=0.2, epochs=7, learning_rate=0.1)
    assert of(penalty="l", alpha=0.1) != of(penalty="m", alpha=0.1)
    assert of(frobenius=1.0) != of()
    assert of(batch_size=50) != of()

    def quantized(bits):
        return kind(Trial(seed=0, stages=(Load(), Quantize(bits=bits)), measures=(Accuracy(),)))

    assert quantized(16) == quantized(2) != quantized(1), "one bit is computed otherwise"


def test_the_passes_of_an_attack_are_counted_by_hand():
    attack = Robustness(norm="l2", eps=(0.5, 1.0), iterations=10, restarts=3, gap_eps=(1.0,), gap_iterations=7)
    assert rehearsed.attack_passes(attack, 50) == 2 * 10 * 3 * 2 + 7
    assert rehearsed.attack_passes(attack, 400) == 2 * 10 * 3 * 1.25 + 7, "the checks attack 100 images"
    some = replace(attack, audit_queries=20, audit_images=100)
    assert rehearsed.attack_passes(some, 400) == 2 * 10 * 3 * 1.25 + 7 + 20 / 4
    assert rehearsed.attack_passes(Prunability(), 50) == 0


def test_the_seconds_of_a_trial_are_its_steps_times_those_of_a_step():
    load = Load(data="mnist", train_size=1000, test_size=50, validation=0.1)
    train = Train(epochs=4, batch_size=100, adversarial_ratio=0.5, train_steps=10, train_eps=0.1)
    attack = Robustness(norm="l2", eps=(0.5,), iterations=10, checks=False)
    trial = Trial(seed=0, stages=(load, train), measures=(attack,))
    step = {"images": 50, "batch": 100, "seconds": 0.3}  # of half a batch, with one step of the adversary
    entry = {"trainings": [step], "attack_images": 50, "attack_seconds": 0.1, "measure_seconds": 5.0}
    # 4 epochs of 9 batches of twice as many images, 1 + 0.5 * 10 passes in place of 1 + 0.5; 10 passes over 50 images
    assert rehearsed.seconds(trial, entry) == pytest.approx(4 * 9 * 2 * 0.3 * 6 / 1.5 + 10 * 0.1 + 5.0)


def test_a_small_study_is_rehearsed_and_kept_where_it_is_asked_for(folder, capsys):
    assert main(["compressibility_sweep", "--rehearse", "--preset", "smoke", "--output", "kept.json,page.md"]) == 0
    found = json.loads((folder / "kept.json").read_text())
    plan = make_plan(Request(study="compressibility_sweep", preset="smoke"), need_data=False)
    assert {e["kind"] for e in found["entries"]} == {k.name for k in rehearsed.kinds(plan)}
    assert {e["error"] for e in found["entries"]} == {""}
    assert all(0 < e["peak_megabytes"] < 24_000 for e in found["entries"])
    for entry in found["entries"]:
        assert all(t["images"] == t["batch"] == 100 and t["seconds"] > 0 for t in entry["trainings"])
    page = (folder / "page.md").read_text()
    assert page.count("| ok |") == len(found["entries"])
    assert sorted(path.name for path in folder.iterdir()) == ["kept.json", "page.md"]


def test_a_record_keeps_what_was_rehearsed_on_other_data(folder, capsys):
    for data in ("digits", "mnist", "digits"):
        typed = ["depth_sweep", "--rehearse", "--preset", "smoke", "--output", "kept.json"]
        assert main([*typed, "--data", data, "--set", "depth=1", "--set", "keep_prob=0.5"]) == 0
    found = json.loads((folder / "kept.json").read_text())
    assert sorted(e["data"] for e in found["entries"]) == ["digits", "digits", "mnist", "mnist"], "a kind of each arm"


def test_the_table_names_the_depth_of_each_kind_of_trial(folder, capsys):
    typed = ["depth_sweep", "--rehearse", "--preset", "smoke", "--output", "kept.json"]
    assert main([*typed, "--set", "depth=1,3", "--set", "width=8", "--set", "keep_prob=0.5"]) == 0
    entries = json.loads((folder / "kept.json").read_text())["entries"]
    weights = {"fcn 1 x 8": 64 * 8 + 8 * 10, "fcn 3 x 8": 64 * 8 + 2 * 8 * 8 + 8 * 10}
    assert {e["model"]: e["parameters"] for e in entries} == weights
    assert all(e["parameters"] == weights[e["model"]] for e in entries)
    assert "fcn 3 x 8" in capsys.readouterr().out


def test_a_study_that_trains_nothing_has_no_step_in_its_table(folder, capsys):
    assert main(["audit", "--rehearse", "--preset", "smoke", "--model", "fcn"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines
    assert all(line[-1] == "ok" for line in lines)


def test_a_kind_that_fails_is_named_and_is_the_exit_status(folder, capsys):
    (folder / "broken_parts.py").write_text("def never(net, data):\n    raise ValueError('no such luck')\n")
    code = main(["compressibility_sweep", "--rehearse", "--preset", "smoke", "--set", "measures=broken_parts:never"])
    assert code == 1
    assert "Own: ValueError: no such luck" in capsys.readouterr().out


def test_a_process_that_ends_by_itself_is_an_error_and_the_next_trial_is_rehearsed(folder):
    (folder / "broken_parts.py").write_text("import os\ndef never(net, data):\n    os.kill(os.getpid(), 9)\n")
    plan = make_plan(
        Request(study="compressibility_sweep", preset="smoke", overrides={"measures": "broken_parts:never"}),
        need_data=False,
    )
    trial = small(next(iter(plan.jobs.values())).trial)
    well = small(next(iter(make_plan(Request(study="operator_norm_study", preset="smoke")).jobs.values())).trial)
    server = rehearse.Server(1)
    try:
        assert server.ask(trial)["error"] == "its process ended by itself (SIGKILL)"
        assert server.ask(well)["error"] == ""
    finally:
        server.end()


@pytest.mark.parametrize("typed", [["--output", "results"], ["--output", "no/such.md"], ["all", "--set", "width=8"]])
def test_what_a_rehearsal_does_not_take_is_refused(typed, folder, capsys):
    assert main([*typed, "--rehearse"]) == 2
    assert "rehears" in capsys.readouterr().err


def test_the_committed_record_is_of_the_presets_as_they_are():
    entries = rehearsed.record()["entries"]
    assert {e["study"] for e in entries} <= set(study_names())
    assert {e["error"] for e in entries} == {""}


def test_list_says_what_was_run_and_what_was_only_rehearsed(monkeypatch, capsys):
    plan = make_plan(Request(study="operator_norm_study", preset="paper"))
    names = [k.name for k in rehearsed.kinds(plan)]
    entries = [{"study": plan.study.name, "preset": "paper", "kind": name, "error": ""} for name in names]
    monkeypatch.setattr(rehearsed, "record", lambda: {"machine": "M", "date": "D", "entries": entries[:1]})
    assert rehearsed.mark_text(rehearsed.marks(plan)) == "only rehearsed: 1 of 2 kinds of trial on a M CPU, D"
    laptop = rehearsed.marks(make_plan(Request(study="operator_norm_study")))
    assert rehearsed.mark_text(laptop).startswith("run: 10 seeds, 20 trials on a CPU, ")
    smoke = rehearsed.marks(make_plan(Request(study="operator_norm_study", preset="smoke")))
    assert smoke == {"rehearsed": "", "run": ""}


def test_a_preset_whose_kinds_are_all_rehearsed_is_estimated_by_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plan = make_plan(Request(study="operator_norm_study", preset="paper"))
    one = {"study": plan.study.name, "preset": "paper", "error": "", "clock": "processor", "trainings": []}
    one |= {"measure_seconds": 2.0}
    entries = [one | {"kind": k.name, "ascent_seconds": 0.5} for k in rehearsed.kinds(plan)]
    facts = {"machine": "M", "threads": 1, "date": "D", "entries": entries}
    monkeypatch.setattr(rehearsed, "record", lambda: facts)
    assert rehearsed.trial_seconds(plan) == pytest.approx(400 * 0.5 + 2.0)
    assert main(["operator_norm_study", "--preset", "paper", "--dry-run"]) == 0
    assert "at most, from a rehearsal on CPU: M, 1 thread, D" in capsys.readouterr().out
    monkeypatch.setattr(rehearsed, "record", lambda: {**facts, "entries": entries[1:]})
    assert rehearsed.trial_seconds(plan) == 0


@pytest.mark.slow
def test_every_study_of_the_project_is_rehearsed(folder, capsys):
    assert main(["all", "--rehearse"]) == 0
