"""The search: a real Optuna under it, the tables as its truth, both back ends, kills, damage, warm starts."""

import csv
import itertools
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import optuna
import pytest
from mlflow import MlflowClient
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from search_spaces.pareto_search import STUDY
from study.spec.domains import Choice, LogUniform, Uniform, asked
from study.spec.expand import axes_of, fit
from study.spec.identity import fingerprint
from study.spec.knobs import AXES
from study.spec.objectives import dominates
from study.spec.studies import Search
from study.store import layout, results
from study.sweep.search import journal
from study.sweep.search import view as search
from study.sweep.search.asking import asked_first
from tests.folders import digests
from tests.helpers import launch

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
KNOBS = STUDY.presets["laptop"].search.knobs
OWN = 1000  # the seed that a search trains at
TINY = ["pareto_search", "--preset", "smoke", "--set", "sampler=random", "--set", "evaluations=5", "--set",
        "finalists=2", "--set", "width=16", "--set", "floor=0"]  # fmt: skip


def view(storage=None, name="s", key="", knobs=KNOBS, **options):
    wanted = Search(family="compressed", knobs=knobs, options=options)
    return search.View(wanted, storage or InMemoryStorage(), name=name, maximise=(True, False), key=key)


def stored(folder):
    """The trials of the one search in a folder's journal."""
    storage = JournalStorage(JournalFileBackend(str(folder / layout.JOURNAL)))
    return optuna.load_study(study_name=None, storage=storage).trials


@pytest.fixture(scope="module")
def finished(tmp_path_factory, here):
    """A small search in one process, done."""
    folder = tmp_path_factory.mktemp("search")
    done = here(*TINY, "--in-process", "--output", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "out", done


# Knobs


def test_fit_finds_the_choice_behind_any_axes_that_the_knobs_reach():
    stream = random.Random(0)
    for _ in range(300):
        chosen = search.draw(KNOBS, stream)
        assert fit(KNOBS, axes_of(chosen)) == chosen
    assert fit(KNOBS, axes_of({"rank": 2})) is None, "below the least rank"
    assert fit(KNOBS, axes_of({"rank": 8, "keep_prob": 0.5})) is None, "one kind of compression at a time"
    assert fit(KNOBS, axes_of({"plant_rows": 0.5})) is None, "no knob moves it"


def test_a_knob_is_asked_only_where_its_condition_holds():
    one = view(sampler="tpe")
    seen = set()
    for i in range(60):
        ticket, chosen = one.ask()
        assert set(chosen) == {name for name, d in KNOBS.items() if asked(d, chosen)}
        assert ("rank" in chosen) == (chosen["compression"] == "low_rank")
        assert ("finetune" in chosen) == (chosen["compression"] != "none" or chosen["bits"] > 0)
        seen.add(chosen["compression"])
        one.tell(ticket, (i % 7 / 7, 100.0 + i))
    assert len(seen) == 5


def test_domains_are_optunas_distributions():
    knobs = {"rank": LogUniform(low=4, high=64), "keep_prob": Uniform(low=0.1, high=0.9), "bits": Choice(values=(8, 4))}
    found = search.to_optuna(knobs)
    assert found["rank"] == optuna.distributions.IntDistribution(4, 64, log=True)
    assert found["keep_prob"] == optuna.distributions.FloatDistribution(0.1, 0.9)
    assert found["bits"] == optuna.distributions.CategoricalDistribution((8, 4))


def test_every_draw_of_every_preset_is_a_trial_that_its_family_takes():
    from study.spec.studies import Point
    from study.sweep.plan.plan import job_of
    from study.sweep.plan.request import Request, make_plan

    stream = random.Random(1)
    for name, preset in STUDY.presets.items():
        plan = make_plan(Request(study="pareto_search", preset=name), need_data=False)
        for _ in range(100):
            axes = axes_of(search.draw(preset.search.knobs, stream))
            job = job_of(plan, Point(family="compressed", arms=(), seed=0, axes=axes, settings=plan.settings))
            assert set(job.axes) == set(AXES)


# The view


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "qmc", "random"])
def test_every_sampler_asks_the_same_again_and_other_things_once_more_is_tried(sampler):
    def first(tried):
        wanted = Search(family="compressed", knobs=KNOBS, options={"sampler": sampler, "evaluations": 60})
        one = search.View(wanted, InMemoryStorage(), name="s", maximise=(True, False), key="", tried=tried)
        out = []
        for i in range(5):
            ticket, chosen = one.ask()
            one.tell(ticket, (i / 5, 10.0 - i))
            out.append(chosen)
        return out

    assert first(0) == first(0)
    assert first(0) != first(3)


def test_what_a_killed_driver_left_waiting_or_running_is_failed_on_the_next_start():
    storage = InMemoryStorage()
    first = view(storage)
    first.ask()
    first.study.enqueue_trial({"penalised": "no"})
    first.study.enqueue_trial({"penalised": "yes"})
    again = view(storage)
    assert [t.state for t in again.study.trials] == [TrialState.FAIL] * 3
    again.tell(again.ask()[0], (0.5, 1.0))


def test_points_below_the_floor_are_not_among_the_best():
    one = view(sampler="random", floor=0.8)
    for values, slack in (((0.9, 10.0), -0.1), ((0.5, 20.0), 0.0), ((0.4, 15.0), 0.1)):
        one.tell(one.ask()[0], values, slack)
    one.add("earlier", {}, (0.99, 1.0), -0.5)
    assert sorted(t.values[0] for t in one.study.best_trials) == [0.4, 0.5]


def test_a_space_that_is_used_up_ends_without_a_repeat():
    knobs = {"bits": Choice(values=(0, 8)), "frobenius": Choice(values=(0.0, 1.0))}
    one, known = view(knobs=knobs, sampler="tpe"), []
    while (found := one.propose(lambda chosen: chosen in known, random.Random(0))) is not None:
        known.append(found[1])
        one.tell(found[0], (0.5, 1.0))
    assert len(known) == 4
    assert len({tuple(c.items()) for c in known}) == 4


def test_a_known_proposal_gives_way_to_an_unknown_neighbour():
    stream, tried = random.Random(0), []
    few = {name: Choice(values=d.values[:2], when=d.when) if isinstance(d, Choice) else d for name, d in KNOBS.items()}
    few = {name: d for name, d in few.items() if isinstance(d, Choice)}
    one = view(sampler="tpe", knobs=few)
    for i in range(40):
        ticket, chosen = one.propose(lambda point: point in tried, stream)
        assert chosen not in tried
        assert set(chosen) == {name for name, d in few.items() if asked(d, chosen)}
        tried.append(chosen)
        one.tell(ticket, (i % 7 / 7, 100.0))
    states = [t.state for t in one.study.trials]
    assert states.count(TrialState.COMPLETE) == 40
    assert 0 < states.count(TrialState.FAIL) <= 40, "a repeat is asked for once"


def test_a_neighbour_moves_as_few_knobs_as_it_can_and_asks_anew_what_hangs_on_them():
    knobs = {
        "bits": Choice(values=(0, 8, 4)),
        "finetune": Choice(values=("none", "standard"), when=({"bits": (8, 4)},)),
        "finetune_epochs": Choice(values=(1, 2), when=({"finetune": ("standard",)},)),
        "frobenius": Choice(values=(0.0, 1.0)),
    }
    stream, start = random.Random(0), {"bits": 8, "finetune": "standard", "finetune_epochs": 1, "frobenius": 0.0}
    known = [start]
    kinds = []
    while (near := search.neighbour(knobs, start, lambda point: point in known, stream)) is not None:
        assert set(near) == {name for name, d in knobs.items() if asked(d, near)}
        known.append(near)
        kinds.append(_moved(start, near))
    assert len(known) == 2 * (1 + 2 * 3), "every point of the space, once"
    assert kinds == sorted(kinds)
    assert (kinds[0], kinds[-1]) == (1, 3)


def _moved(old, new):
    """How many knobs, at least, must be drawn anew to come from one point to another: not those that were not asked."""
    return sum(name in new and new[name] != value for name, value in old.items())


def test_other_objectives_make_the_view_anew():
    storage = InMemoryStorage()
    one = view(storage, key="a", sampler="random")
    one.tell(one.ask()[0], (1.0, 2.0))
    assert len(view(storage, key="a", sampler="random").study.trials) == 1
    assert len(view(storage, key="b", sampler="random").study.trials) == 0


def test_the_journal_is_usable_after_a_cut_at_every_byte_of_its_last_record(tmp_path):
    one = view(search.storage_of("", tmp_path), sampler="random")
    for i in range(3):
        one.tell(one.ask()[0], (0.1 * i, 1.0))
    one.ask()
    path = tmp_path / layout.JOURNAL
    whole = path.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    assert len(whole) - last > 50
    for size in range(last, len(whole)):
        path.write_bytes(whole[:size])
        (tmp_path / f"{layout.JOURNAL}.lock").touch()  # as its killed writer left it
        again = view(search.storage_of("", tmp_path), sampler="random")
        assert path.read_bytes().startswith(whole[:last])
        assert [t.state for t in again.study.trials] == [TrialState.COMPLETE] * 3 + [TrialState.FAIL]
        again.tell(again.ask()[0], (0.5, 1.0))
        assert len(stored(tmp_path)) == 5
    assert journal.repair(path) == 0


def test_a_failed_append_is_taken_back(tmp_path, monkeypatch):
    one = view(search.storage_of("", tmp_path), sampler="random")
    path = tmp_path / layout.JOURNAL
    before = path.read_bytes()
    real = os.fsync
    with monkeypatch.context() as patch:
        fails = iter([True])

        def full(descriptor):
            if next(fails, False):
                raise OSError(28, "No space left on device")
            real(descriptor)

        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            one.ask()
    assert path.read_bytes() == before
    assert view(search.storage_of("", tmp_path), sampler="random").study.trials == []


# Whole searches


def test_a_search_tries_what_was_asked_and_trains_its_finalists_anew_at_every_seed(finished):
    folder, done = finished
    found = json.loads((folder / "study.json").read_text())
    points = found["points"]
    assert found["complete"]
    assert sum(p["seed"] == OWN for p in points) == 5
    front = list(csv.DictReader((folder / "front.csv").open()))
    assert front
    assert {row["n"] for row in front} == {"2"}
    anew = {seed: [json.dumps(p["axes"]) for p in points if p["seed"] == seed] for seed in (0, 1)}
    assert anew[0] == anew[1]
    assert len(anew[0]) == len(set(anew[0])) >= 2
    assert {p["seed"] for p in points} == {OWN, 0, 1}
    assert "random (seed 0)" in done.stderr
    assert f"{len(front)} non-dominated models" in done.stdout
    assert "<h2>The front:" in (folder / "report.html").read_text()
    assert "was not logged" not in done.stderr
    assert "Downloading" not in done.stderr, "MLflow's own bars"
    assert {row["trial"] for row in front} == models_in_mlflow(found["sweep"])
    (note,) = [r.data.tags["mlflow.note.content"] for r in runs_in_mlflow(found["sweep"], "sweep")]
    assert "robust_accuracy (more is better) against stored_bytes (less is better); 5 evaluations by random" in note
    assert "at seed 1000 on validation images, then finalists trained anew" in note
    assert re.search(r"native/apgd\S*, native/autoattack\S*, native/square\S*: the lowest robust accuracy counts", note)
    assert "adversarial_ratio 0, 0.5" in note
    trials = stored(folder)
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 5
    table = results.scan(folder)
    for t in trials:
        rows = table[t.user_attrs["trial"]].rows
        assert t.values[1] == next(r["value"] for r in rows if r["measure"] == "stored_bytes")
        assert axes_of(t.params) | {"penalty": rows[0]["penalty"]} == {a: rows[0][a] for a in AXES}


def runs_in_mlflow(sweep, level):
    client = MlflowClient(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("pareto_search").experiment_id
    return client.search_runs([experiment], f"tags.`study.id` = '{sweep}' and tags.`study.level` = '{level}'")


def models_in_mlflow(sweep):
    """The trials of a sweep whose runs carry a model that is ready."""
    client = MlflowClient(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    runs = {r.info.run_id: r for r in runs_in_mlflow(sweep, "trial")}
    experiment = client.get_experiment_by_name("pareto_search").experiment_id
    found = [m for m in client.search_logged_models([experiment]) if m.source_run_id in runs and m.status == "READY"]
    assert all(m.tags["study.fingerprint"] == runs[m.source_run_id].data.tags["study.fingerprint"] for m in found)
    return {m.tags["study.fingerprint"] for m in found}


def test_finished_searches_are_left_alone_and_larger_ones_go_on(finished, tmp_path, here):
    folder = shutil.copytree(finished[0], tmp_path / "out")
    before = digests(folder)
    same = here(*TINY, "--in-process", "--output", "out", cwd=tmp_path)
    assert (same.returncode, "Nothing left to run." in same.stderr) == (0, True)
    more = [*TINY, "--in-process", "--output", "out", "--set", "evaluations=7"]
    refused = here(*more, cwd=tmp_path)
    assert (refused.returncode, "add --resume" in refused.stderr) == (2, True)
    done = here(*more, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = digests(folder)
    assert before.items() <= after.items()
    points = json.loads((folder / "study.json").read_text())["points"]
    assert sum(p["seed"] == OWN for p in points) == 7
    assert len(stored(folder)) == 7
    other = here(*more, "--set", "objectives=clean_accuracy,macs", "--resume", cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    points = json.loads((folder / "study.json").read_text())["points"]
    kept = {path.stem for path in (folder / "models").glob("*.safetensors")}
    assert kept == {p["trial"] for p in points if p["seed"] != OWN}, "finalists of before may stand on the front too"


def test_what_another_driver_did_between_a_plan_and_its_lock_is_kept(finished, tmp_path, here, monkeypatch):
    whole, folder = finished[0], shutil.copytree(finished[0], tmp_path / "out")
    manifest = json.loads((folder / "study.json").read_text())
    early = manifest | {k: manifest[k][:2] for k in ("trials", "points")} | {"complete": False}
    (folder / "study.json").write_text(json.dumps(early))
    for name in manifest["trials"][2:]:
        (folder / "trials" / f"{name}.parquet").unlink()

    def meanwhile(*plan):
        shutil.copytree(whole, folder, dirs_exist_ok=True)

    monkeypatch.setattr("study.sweep.go.preflight", meanwhile)  # the folder was read, its lock not yet had
    done = here(*TINY, "--in-process", "--output", "out", "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = json.loads((folder / "study.json").read_text())
    assert {k: after[k] for k in ("points", "trials", "complete")} == {
        k: manifest[k] for k in ("points", "trials", "complete")
    }
    assert digests(folder) == digests(whole)
    assert "Nothing left to run." in done.stderr


def test_a_damaged_journal_and_another_goal_are_made_from_the_tables(finished, tmp_path, here):
    folder = shutil.copytree(finished[0], tmp_path / "out")
    path = folder / layout.JOURNAL
    path.write_bytes(path.read_bytes()[:300] + b"\0" * 50 + path.read_bytes()[350:])
    other = [*TINY, "--in-process", "--output", "out", "--resume", "--set", "objectives=clean_accuracy,macs,parameters"]
    done = here(*other, "--set", "evaluations=6", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (folder / f"{layout.JOURNAL}.damaged").exists()
    trials = stored(folder)
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 6
    assert {len(t.values) for t in trials} == {3}
    assert "clean_accuracy_low" in (folder / "front.csv").read_text()


def test_diverged_points_are_failures_to_optuna_and_no_front_is_no_error(tmp_path, here):
    done = here(*TINY, "--in-process", "--output", "out", "--set", "learning_rate=1e30", "--set", "evaluations=2",
                cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "(2 diverged)" in done.stdout
    assert [t.state for t in stored(tmp_path / "out")] == [TrialState.FAIL] * 2
    assert (tmp_path / "out/front.csv").read_text().count("\n") <= 1


@pytest.mark.slow
def test_a_killed_search_goes_on_with_nothing_running_and_nothing_twice(tmp_path):
    words = [*TINY, "--in-process", "--output", "out", "--set", "sampler=tpe"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "study.launch", *words], cwd=tmp_path, text=True, stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    for line in process.stderr:
        if line.startswith("[2/"):
            break
    time.sleep(0.3)  # inside the third trial, most likely
    process.send_signal(signal.SIGKILL)
    process.wait()
    folder = tmp_path / "out"
    kept = digests(folder)
    asked_for = [p["trial"] for p in json.loads((folder / "study.json").read_text())["points"]]
    done = launch(*words, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    points = json.loads((folder / "study.json").read_text())["points"]
    names = [p["trial"] for p in points]
    assert names[: len(asked_for)] == asked_for, "what was under way is finished, not forgotten"
    assert len(names) == len(set(names))
    assert sum(p["seed"] == OWN for p in points) == 5
    assert set(digests(folder)) == set(names)
    assert kept.items() <= digests(folder).items()
    trials = stored(folder)
    assert TrialState.RUNNING not in {t.state for t in trials}
    complete = [t.user_attrs["trial"] for t in trials if t.state is TrialState.COMPLETE]
    assert sorted(complete) == sorted(p["trial"] for p in points if p["seed"] == OWN)


@pytest.mark.slow
def test_ray_gives_the_tables_of_one_process(finished, tmp_path):
    done = launch(*TINY, "--output", "out", "--max-concurrent", "2", cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out") == digests(finished[0])
    assert {t.state for t in stored(tmp_path / "out")} == {TrialState.COMPLETE}


def test_a_search_begins_with_the_earlier_front_above_the_floor():
    points = {  # robust accuracy up, bytes down; slack
        "small": ((0.2, 1.0), 0.0), "middle": ((0.5, 2.0), 0.1), "large": ((0.9, 3.0), 0.1),
        "beaten": ((0.4, 2.0), 0.3), "below the floor": ((0.95, 0.5), -0.01),
    }  # fmt: skip
    assert asked_first(points, (True, False), 60) == ["small", "middle", "large"]
    assert asked_first(points, (True, False), 8) == ["small", "middle"], "a third of the evaluations"
    assert asked_first({}, (True, False), 60) == []


def test_a_warm_start_enters_earlier_points_but_not_its_own_front(finished, tmp_path, here):
    words = [*TINY, "--in-process", "--output", "out", "--set", "evaluations=3", "--set", "sampler_seed=9",
             "--warm-start", str(finished[0])]  # fmt: skip
    done = here(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out"
    trials = stored(folder)
    warm = [t for t in trials if "warm_start" in t.user_attrs]
    assert len(warm) == 5, "one per point, whatever its seeds"
    assert len(trials) == 8
    sizes = sorted(t.values[1] for t in stored(finished[0]))
    assert sorted(t.values[1] for t in warm) == pytest.approx(sizes, rel=0.02), "means over seeds, where there are more"
    assert {p["trial"] for p in json.loads((folder / "study.json").read_text())["points"]} == set(digests(folder))
    beaten = [a for a in warm if any(dominates(b.values, a.values, (True, False)) for b in warm)]
    assert trials[5].params in [t.params for t in warm if t not in beaten], "the earlier front comes first"
    assert trials[6].params not in [t.params for t in warm], "for a third of the evaluations"
    again = here(*words, "--set", "evaluations=4", "--resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert sum("warm_start" in t.user_attrs for t in stored(folder)) == 5


def test_a_database_takes_the_place_of_the_journal(finished, tmp_path, here):
    url = f"sqlite:///{tmp_path / 'search.db'}"
    done = here(*TINY, "--in-process", "--output", "out", "--search-storage", url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out" / layout.JOURNAL).exists()
    assert len(optuna.load_study(study_name=None, storage=url).trials) == 5
    assert digests(tmp_path / "out") == digests(finished[0])


def test_evaluate_finds_the_same_numbers_and_notices_other_ones(finished, tmp_path, here):
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(finished[0], tmp_path / "out")
    row = next(csv.DictReader((folder / "front.csv").open()))
    same = here("evaluate", "out", row["trial"], cwd=tmp_path)
    assert same.returncode == 0, same.stdout
    assert re.search(r"equal: \d+ rows from the saved weights", same.stdout)
    assert here("evaluate", "out", row["trial"][:12], "--retrain", cwd=tmp_path).stdout.count("equal: ") == 1
    path = folder / row["weights"]
    with safe_open(str(path), "pt") as found:
        facts = found.metadata()
    tensors = load_file(path)
    name = max(n for n in tensors if n.startswith("training.") and tensors[n].dim() == 2)
    tensors[name] = torch.flip(tensors[name], [0]).contiguous()
    save_file(tensors, path, metadata=facts)
    other = here("evaluate", "out", row["trial"], cwd=tmp_path)
    assert other.returncode == 1
    assert "different: " in other.stdout
    path.write_bytes(path.read_bytes()[:100])
    torn = here("evaluate", "out", row["trial"], cwd=tmp_path)
    assert (torn.returncode, "is damaged" in torn.stderr) == (2, True)
    assert here("evaluate", "out", "nosuch", cwd=tmp_path).returncode == 2


def command_of(folder):
    """The words of the first command of a front, after `python -m study.launch`."""
    row = next(csv.DictReader((folder / "front.csv").open()))
    words = shlex.split(row["command"])
    assert words[:3] == ["python", "-m", "study.launch"]
    return words[3:]


def test_the_fronts_command_runs_where_the_search_was_started(tmp_path, here):
    from PIL import Image

    stream = random.Random(0)
    for part, label, i in itertools.product(("train", "test"), ("dark", "light"), range(20)):
        path = tmp_path / "my data" / "pictures" / part / label / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        level = 60 if label == "dark" else 160
        Image.frombytes("L", (8, 8), bytes(level + stream.randrange(40) for _ in range(64))).save(path)
    place = tmp_path / "deep" / "of a search"
    done = here(*TINY, "--in-process", "--output", "deep/of a search", "--data", "imagefolder:my data/pictures",
                "--seeds", "1", "--set", "evaluations=1", "--set", "epochs=2", "--set", "test_size=0",
                cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "was not logged" not in done.stderr
    words = command_of(place)
    assert words[1] == "deep/of a search"
    assert words[3:] == ["--data-dir", "my data/pictures"]
    again = here(*words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "from the saved weights" in again.stdout
    moved = place.rename(tmp_path / "copied")
    assert here("report", "copied", "--data-dir", "my data/pictures", cwd=tmp_path).returncode == 0
    assert command_of(moved) == ["evaluate", "copied", words[2], "--data-dir", "my data/pictures"]


def test_a_fresh_optuna_reads_the_journal(finished):
    code = (
        "import optuna, sys; from optuna.storages.journal import JournalFileBackend as B;"
        "s = optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(B(sys.argv[1])));"
        "print(len(s.trials), s.metric_names, len(s.best_trials) > 0)"
    )
    path = str(finished[0] / layout.JOURNAL)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert done.stdout == "5 ['robust_accuracy', 'stored_bytes'] True\n", done.stderr


def test_optunas_dashboard_shows_the_search(finished, tmp_path):
    pytest.importorskip("optuna_dashboard")
    path = shutil.copy(finished[0] / layout.JOURNAL, tmp_path / "search.journal")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-c", "from optuna_dashboard._cli import main; main()", str(path), "--host", "127.0.0.1",
         "--port", str(port), "--storage-class", "JournalFileStorage", "--quiet"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        end, answer = time.monotonic() + 60, b""
        while not answer and time.monotonic() < end and server.poll() is None:
            try:
                answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=5).read()
            except OSError:
                time.sleep(0.3)
    finally:
        server.terminate()
        said = server.communicate(timeout=20)[0]
    assert answer, said
    (study,) = json.loads(answer)["study_summaries"]
    assert study["study_name"].startswith("pareto_search-smoke")
    assert study["directions"] == ["maximize", "minimize"]


BAD = [
    (["--set", "objectives=robust_acuracy,macs"], "did you mean robust_accuracy?"),
    (["--set", "objectives=macs"], "give two or three of"),
    (["--set", "sampler=tpee"], "did you mean tpe?"),
    (["--set", "evaluatons=5"], "did you mean evaluations?"),
    (["--set", "evaluations=0"], "whole numbers from 1"),
    (["--set", "floor=2"], "numbers from 0 to 1"),
    (["--set", "validation=0"], "a search selects by validation images and reports on test images"),
    (["--set", "search_seed=1"], "--seeds: 1 is the search's own seed"),
    (["--seeds", "5,1000"], "--seeds: 1000 is the search's own seed"),
    (["--set", "final_attack=apgdd"], "is not accepted; give one of autoattack"),
    (["--set", "bits=3"], "is not accepted"),
    (["--set", "compression=mesk"], "did you mean mask?"),
    (["--warm-start", "nowhere"], "not a folder of results"),
    (["--search-storage", "postgresql://me:secret@127.0.0.1:1/x"], "the database cannot be used"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(b[0]) for b in BAD])
def test_bad_input_is_one_message_and_leaves_nothing(words, message, tmp_path, here):
    done = here("pareto_search", "--preset", "smoke", "--output", "out", *words, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "secret" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_grid_takes_no_options_of_a_search(tmp_path, here):
    for words in (["--set", "evaluations=5"], ["--warm-start", "x"], ["--search-storage", "sqlite:///x.db"]):
        done = here("compressibility_sweep", "--preset", "smoke", *words, cwd=tmp_path)
        assert done.returncode == 2


def test_narrowed_knobs_are_all_that_is_tried(tmp_path, here):
    done = here(*TINY, "--in-process", "--output", "out", "--set", "compression=low_rank,none", "--set", "bits=0",
                "--set", "evaluations=3", "--dry-run", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0
    assert "compression low_rank, none; rank 2 to 16 (log)" in " ".join(done.stdout.split())
    assert "bits 0;" in done.stdout


def test_every_point_of_the_benchmarks_grid_is_a_trial_of_its_own_and_is_tabulated():
    from benchmarks import pareto

    points = list(pareto.grid())
    assert len({fingerprint(pareto.trial_of(chosen)) for chosen in points}) == len(points)
    assert {pareto.key_of(chosen) for chosen in points} == set(pareto.read())
