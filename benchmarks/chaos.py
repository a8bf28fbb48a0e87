"""A sweep under fire against the same sweep left alone: trials killed, the driver killed twice, tracking hung.

    python -m benchmarks.chaos            # 66 trials, a quarter of an hour on 2 cores
    python -m benchmarks.chaos --quick    # 9 trials, two or three minutes

Then a search by Optuna under the same fire: what it proposes hangs on what it was told, so its rows are compared with
none, but nothing may be left running in Optuna, and no point may stand there twice.

All sweeps are `python -m study.launch` on a local Ray with a real MLflow server on loopback. Everything is killed
strictly by process id and start time, among the descendants of the driver that was started here. Each trial takes a few
seconds; the victims are drawn from a seeded stream: the process that runs a trial, and one time in WHOLE the Ray worker
around it. Afterwards the deterministic rows must equal those of the undisturbed sweep, each trial must stand once in
MLflow, and no trial may run on 10 s after its driver's death.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import psutil
from cyclopts import Parameter

from benchmarks.common import Figure, figure, show
from study.store import manifest, results
from study.sweep.worker import heartbeat

ORPHAN_SECONDS = 10.0
MOST_DEATHS = 3  # of one trial: a fourth is its failure
WHOLE = 6


@dataclass(frozen=True)
class Setting:
    """What is run and how hard it is hit: seconds between two deaths, seconds that the tracking server hangs, and
    how many trials are done at each of the driver's deaths."""

    words: tuple[str, ...]
    deaths: tuple[int, ...]
    every: float
    hang: float


def grid(seeds: int, epochs: int, every: float, hang: float) -> Setting:
    """Three points of the compressibility sweep at so many seeds; the driver dies at each third of the way."""
    words = ("compressibility_sweep", "--preset", "smoke", "--seeds", str(seeds), "--set", f"epochs={epochs}")
    return Setting(words, (seeds, 2 * seeds), every, hang)


def search(evaluations: int, epochs: int, every: float, hang: float) -> Setting:
    """A search of so many evaluations; the driver dies in the midst of them, and in the re-runs of the front."""
    words = ("pareto_search", "--preset", "smoke", "--set", f"evaluations={evaluations}", "--set", f"epochs={epochs}")
    return Setting(words, (evaluations // 2, evaluations + 1), every, hang)


FULL = (grid(22, 250, every=6.0, hang=60.0), search(20, 60, every=6.0, hang=20.0))
QUICK = (grid(3, 100, every=4.0, hang=15.0), search(6, 30, every=4.0, hang=10.0))


@dataclass
class Toll:
    """What was done to a sweep, and what was seen of its attempts."""

    processes: int = 0
    workers: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    drivers: int = 0
    attempts: set[tuple[str, float]] = field(default_factory=set)
    slowest_end: float = 0.0
    orphans: int = 0
    seconds: float = 0.0


class Server:
    """A tracking server of our own on loopback."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.uri, self.stopped = f"http://127.0.0.1:{port}", False
        words = ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--host", "127.0.0.1", "--port", str(port)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words, "--workers", "1"],
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while not self._answers():
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                sys.exit("the tracking server never answered")
            time.sleep(0.3)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return bool(answer.read() == b"OK")
        except OSError:
            return False

    def signal(self, number: int) -> None:
        """Send a signal to the server and its children."""
        root = psutil.Process(self.process.pid)
        for process in [root, *root.children(recursive=True)]:
            process.send_signal(number)


def start(setting: Setting, output: Path, uri: str, resume: bool = False) -> subprocess.Popen[bytes]:
    """The sweep's driver; what it says goes to OUTPUT.log."""
    words = [*setting.words, "--output", str(output), "--tracking-uri", uri, *(["--resume"] if resume else [])]
    with output.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "study.launch", *words], cwd=output.parent, stdout=log, stderr=log,
            env=os.environ | {"STUDY_CHECKPOINT_SECONDS": "1", "STUDY_HANG_SECONDS": "20"},
        )  # fmt: skip


def trial_processes(driver: int, folder: Path) -> dict[str, psutil.Process]:
    """The live descendants of the driver that run a trial, by the trials of the notes that they keep."""
    ours = {p.pid for p in psutil.Process(driver).children(recursive=True)}
    found = {}
    for name, note in heartbeat.read(folder).items():
        process = heartbeat.same(note["pid"], note["process_started"])
        if process is not None and process.pid in ours:
            found[name] = process
    return found


def ray_worker(process: psutil.Process) -> psutil.Process:
    """The Ray worker that a trial's process belongs to."""
    return next(p for p in process.parents() if p.cmdline() and p.cmdline()[0].startswith("ray::"))


def kill(process: psutil.Process, toll: Toll) -> None:
    """SIGKILL a trial's process, or one time in WHOLE the Ray worker around it, which it must not outlive."""
    whole = (toll.processes + toll.workers) % WHOLE == WHOLE - 1
    try:
        (ray_worker(process) if whole else process).kill()
    except psutil.NoSuchProcess:  # it was quicker
        return
    toll.workers += whole
    toll.processes += not whole


def end(driver: subprocess.Popen[bytes]) -> None:
    """SIGKILL a driver that was started here, if it still runs."""
    if driver.poll() is None:
        driver.kill()
    driver.wait()


def kill_driver(driver: subprocess.Popen[bytes], folder: Path, toll: Toll) -> None:
    """SIGKILL the driver and wait until its trials and workers are gone; after ORPHAN_SECONDS they are orphans."""
    processes = list(trial_processes(driver.pid, folder).values())
    processes += [ray_worker(process) for process in processes]
    end(driver)
    began = time.monotonic()
    _, alive = psutil.wait_procs(processes, timeout=ORPHAN_SECONDS)
    toll.slowest_end = max(toll.slowest_end, time.monotonic() - began)
    toll.orphans += len(alive)
    toll.drivers += 1


def disturbed(setting: Setting, folder: Path, server: Server) -> Toll:
    """Run the sweep to its end under fire."""
    toll, drivers = Toll(), [start(setting, folder, server.uri)]
    began = time.monotonic()
    try:
        _fire(setting, folder, server, toll, drivers)
        toll.seconds = time.monotonic() - began
    finally:
        end(drivers[-1])
        server.signal(signal.SIGCONT)
    if drivers[-1].returncode:
        said = folder.with_suffix(".log").read_text()
        sys.exit(f"the sweep under fire ended with {drivers[-1].returncode}:\n{said}")
    return toll


def _fire(setting: Setting, folder: Path, server: Server, toll: Toll, drivers: list[subprocess.Popen[bytes]]) -> None:
    """Kill and hang what is there until the last of the drivers ends by itself."""
    stream, deaths = random.Random(0), list(setting.deaths)
    next_kill, next_done, hung_since = time.monotonic() + setting.every, 0, 0.0
    while drivers[-1].poll() is None:
        time.sleep(0.2)
        now = time.monotonic()
        done = len(list((folder / "trials").glob("*.parquet")))
        toll.attempts |= {(name, note["began"]) for name, note in heartbeat.read(folder).items()}
        # Not before the last driver has its workers: a start asks the server, and refuses when nothing answers.
        if not hung_since and not deaths and trial_processes(drivers[-1].pid, folder):
            server.signal(signal.SIGSTOP)
            hung_since = now
        elif hung_since > 0 and now - hung_since > setting.hang:
            server.signal(signal.SIGCONT)
            hung_since = -1.0
        if deaths and done >= deaths[0]:
            deaths.pop(0)
            kill_driver(drivers[-1], folder, toll)
            drivers.append(start(setting, folder, server.uri, resume=True))
        elif now > next_kill and done >= next_done and (running := trial_processes(drivers[-1].pid, folder)):
            victim = stream.choice(sorted(running))
            if toll.killed[victim] == MOST_DEATHS:
                continue
            kill(running[victim], toll)
            toll.killed[victim] += 1
            next_done = done + 1  # where a worker takes longer to start than `every`, nothing would ever be done
            next_kill = now + setting.every * stream.uniform(0.5, 1.5)


def rows_equal(control: Path, folder: Path) -> float:
    """Share of the trials whose deterministic rows equal those of the undisturbed sweep."""
    first, second = (
        {n: results.rows_digest(t.rows, True) for n, t in results.scan(f).items()} for f in (control, folder)
    )
    return sum(second.get(n) == digest for n, digest in first.items()) / max(1, len(first))


def once_in_mlflow(folder: Path, uri: str) -> float:
    """Share of the trials that stand in MLflow exactly once, finished, under the sweep's one run."""
    from mlflow import MlflowClient

    sweep, names = manifest.load(folder).sweep, list(results.scan(folder))
    client = MlflowClient(tracking_uri=uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`study.sweep` = '{sweep}'", max_results=10_000)
    parents = [r.info.run_id for r in runs if r.data.tags["study.level"] == "sweep"]
    seen = [
        r.data.tags["study.fingerprint"]
        for r in runs
        if r.data.tags["study.level"] == "trial"
        and r.info.status == "FINISHED"
        and [r.data.tags["mlflow.parentRunId"]] == parents
    ]
    return sum(seen.count(name) == 1 for name in names) / max(1, len(names))


def over_in_optuna(folder: Path) -> tuple[float, float]:
    """Share of Optuna's trials that are over, and of the search's points that are completed there exactly once."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    found = manifest.load(folder)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "search.journal")))
    trials = optuna.load_study(study_name=found.sweep, storage=storage).trials
    names = [t.user_attrs.get("trial") for t in trials if t.state == optuna.trial.TrialState.COMPLETE]
    points = [p.trial for p in found.points if p.seed == found.search["search_seed"]]
    once = sum(names.count(p) == 1 for p in points) / max(1, len(points))
    return sum(t.state.is_finished() for t in trials) / max(1, len(trials)), once


def tell_toll(prefix: str, toll: Toll, hang: float) -> list[Figure]:
    """What was done to a sweep."""
    retries = len(toll.attempts) - len({name for name, _ in toll.attempts})
    rows: list[tuple[str, float, str, float | None]] = [
        ("processes of trials killed", toll.processes, "kills", None),
        ("Ray workers killed", toll.workers, "kills", None),
        ("drivers killed", toll.drivers, "kills", None),
        ("tracking server hung, at most", hang, "s", None),
        ("attempts seen", len(toll.attempts), "attempts", None),
        ("retries seen", retries, "attempts", None),
        ("processes of trials alive 10 s after a driver", toll.orphans, "processes", 0.0),
        ("slowest end of a dead driver's trials", toll.slowest_end, "s", ORPHAN_SECONDS),
    ]
    return [figure(f"{prefix}{name}", [value], unit, goal) for name, value, unit, goal in rows]


def measure(sweep: Setting, searching: Setting) -> list[Figure]:
    """The sweep alone and under fire, then a search under fire, and what came of them."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        root = Path(scratch)
        server = Server(root)
        try:
            began = time.monotonic()
            if start(sweep, root / "control", server.uri).wait():
                sys.exit(f"the undisturbed sweep failed:\n{(root / 'control.log').read_text()}")
            alone = time.monotonic() - began
            print(f"undisturbed: {alone:.0f} s", file=sys.stderr)
            toll = disturbed(sweep, root / "fire", server)
            print(f"under fire: {toll.seconds:.0f} s", file=sys.stderr)
            before = once_in_mlflow(root / "fire", server.uri)
            rebuild = [sys.executable, "-m", "study.tracking", "rebuild", "fire", "--tracking-uri", server.uri]
            subprocess.run(rebuild, cwd=root, check=True, stdout=subprocess.DEVNULL)
            after = once_in_mlflow(root / "fire", server.uri)
            equal = rows_equal(root / "control", root / "fire")
            trials = len(results.scan(root / "fire"))
            searched = disturbed(searching, root / "search", server)
            print(f"a search under fire: {searched.seconds:.0f} s", file=sys.stderr)
            over, once = over_in_optuna(root / "search")
            points, in_store = len(results.scan(root / "search")), once_in_mlflow(root / "search", server.uri)
        finally:
            server.signal(signal.SIGCONT)
            server.signal(signal.SIGKILL)
    return [
        figure("trials", [trials], "trials"),
        *tell_toll("", toll, sweep.hang),
        figure("trials with equal deterministic rows", [equal], "share", 1.0),
        figure("trials once in MLflow", [before], "share", 1.0),
        figure("trials once in MLflow after a rebuild", [after], "share", 1.0),
        figure("undisturbed", [alone], "s"),
        figure("under fire", [toll.seconds], "s"),
        figure("wall time over undisturbed", [toll.seconds / alone], "ratio", 1.5),
        figure("search: trials", [points], "trials"),
        *tell_toll("search: ", searched, searching.hang),
        figure("search: trials once in MLflow", [in_store], "share", 1.0),
        figure("search: Optuna's trials that are over", [over], "share", 1.0),
        figure("search: points once in Optuna", [once], "share", 1.0),
    ]


def main(
    *,
    quick: Annotated[bool, Parameter(negative="", help="Fewer trials.")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object per figure.")] = False,
) -> int:
    """Run a sweep under fire and compare it with one left alone; 1 when a result, a run or a worker is wrong."""
    figures: list[Any] = measure(*(QUICK if quick else FULL))
    show(figures, json_)
    return int(any(f.value != f.goal for f in figures if f.unit in ("share", "processes")))


if __name__ == "__main__":
    sys.exit(cyclopts.run(main))
