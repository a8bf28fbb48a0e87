"""One kind of trial rehearsed, in a process of its own: what it takes to train, attack, measure, save and load it.

A server that has imported PyTorch once forks a process for each (`serve`); all end when its input is closed.
"""

import copy
import json
import os
import resource
import select
import signal
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any, NoReturn

import psutil
import torch
from torch.nn.functional import cross_entropy

from study.nets import synthetic
from study.nets.net import Net
from study.nets.splits import Dataset
from study.spec.config import Ascend, Load, Train, Trial
from study.spec.errors import brief, told
from study.spec.identity import trial_of
from study.spec.rehearsal import batch_of
from study.sweep.worker import weights
from study.trial import train as training
from study.trial.losses import LOSSES
from study.trial.measures import MEASURES
from study.trial.stages import STAGES
from study.trial.state import State

FEW = 2  # images of every measure
LONG, ENOUGH = 20.0, 1.0  # seconds that a step may take; for which a short one is repeated
REPEATS = 5


class Rehearsal:
    """A trial made small (study.spec.rehearsal) under way: its state, its data of few and of many images, what it is
    doing, and what it has found: `parameters`, `trainings` (images and seconds of a step), `ascent_seconds`,
    `attack_images`, `attack_seconds`, `measure_seconds`. All are seconds of the processor, which what else runs on the
    machine does not stretch."""

    def __init__(self, trial: Trial, most_bytes: float) -> None:
        self.trial, self.most_bytes, self.doing = trial, most_bytes, ""
        self.images = self.batch = batch_of(trial)
        self.full: dict[str, Dataset] = {}
        self.state = State(seed=trial.seed)
        self.found: dict[str, Any] = {"trainings": [], "clock": "processor"}

    def run(self) -> None:
        """All of it; raises what any part raises."""
        for at, stage in enumerate(self.trial.stages):
            self.state.stage = at
            with self._at(type(stage).__name__):
                self._stage(self.state, stage)
        if (net := self.state.net) is not None:
            self.found["parameters"] = sum(p.numel() for p in net.parameters())
            with self._at("an attack step"):
                self.found |= {"attack_images": self.images or FEW, "attack_seconds": self._attack(net)}
        begun = process_time()
        for measure in self.trial.measures:
            with self._at(type(measure).__name__):
                MEASURES[type(measure)](self.state, measure)
        self.found["measure_seconds"] = process_time() - begun
        if net is not None:
            with self._at("saving and loading"):
                self._again(net)

    @contextmanager
    def _at(self, what: str) -> Iterator[None]:
        self.doing = what
        yield

    def _stage(self, state: State, stage: Any) -> None:
        if isinstance(stage, Load):
            self.full[stage.name] = synthetic.dataset(stage, max(self.batch, FEW))
            self._give(state, FEW)
            return
        if isinstance(stage, Train) and state is self.state:
            self._time_steps(stage)
        self._give(state, self.images if isinstance(stage, Train) else FEW)
        begun, reports = process_time(), 0
        for _ in STAGES[type(stage)](state, stage):
            reports += 1
        if isinstance(stage, Ascend):
            self.found["ascent_seconds"] = (process_time() - begun) / reports
        if state.diverged:
            raise ValueError("the loss is not finite after one step")
        self._give(state, FEW)

    def _give(self, state: State, train: int) -> None:
        """The trial's data with so many training images, and few others."""
        state.datasets = {name: synthetic.first(full, train, FEW) for name, full in self.full.items()}
        state.data = state.datasets.get("")

    def _time_steps(self, config: Train) -> None:
        """Seconds of a step of a training on a whole batch, or on as many images as time and memory allow."""
        assert self.state.net is not None
        data, net = self.full[config.on], self.state.net
        most = min(config.batch_size, len(data.train))
        self.images = min(most, self._affordable(net, data, config, most))
        seconds = _steps(net, data, config, self.images, self.state.teacher)
        self.found["trainings"].append({"images": self.images, "batch": config.batch_size, "seconds": seconds})

    def _affordable(self, net: Net, data: Dataset, config: Train, most: int) -> int:
        """How many images of a batch a step may have: all, or a power of two that fits half the memory and LONG."""
        x, y = synthetic.first(data, FEW).train[:]
        kept: dict[int, int] = {}
        own = {p.untyped_storage().data_ptr() for p in net.parameters()}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            LOSSES[config.loss](net.train(), x, y)
        of_an_image = sum(n for at, n in kept.items() if at not in own) / FEW
        fits = 0.5 * self.most_bytes / max(1.0, of_an_image)
        short = [_steps(net, data, config, n, self.state.teacher, 1) for n in (FEW, 2 * FEW)]
        slope = max(short[1] - short[0], 0.0) / FEW
        if slope > 0:
            fits = min(fits, FEW + max(0.0, LONG - short[0]) / slope)
        return most if fits >= most else 1 << max(1, int(fits).bit_length() - 1)

    def _attack(self, net: Net) -> float:
        """Seconds of one step of an attack: a forward pass, and the gradient to the images."""
        n = self.images or FEW
        x, y = synthetic.first(self.full[""], n).train[:]
        net.eval()

        def step() -> None:
            torch.autograd.grad(cross_entropy(net(point).float(), y), point)

        point = x.requires_grad_(True)
        return _repeated(step)

    def _again(self, net: Net) -> None:
        """The weights saved and read, the stages run again on them without training: the same logits."""
        with tempfile.TemporaryDirectory() as folder:
            weights.save(Path(folder) / "net.safetensors", self.state)
            kept, snapshot = weights.load(Path(folder) / "net.safetensors")
        other = State(seed=self.trial.seed, resume=snapshot)
        for at, stage in enumerate(self.trial.stages):
            other.stage = at
            self._stage(other, stage)
        assert other.net is not None
        there = other.net.state_dict()
        if there.keys() != kept.keys() or not all(torch.equal(there[name], W) for name, W in kept.items()):
            raise ValueError("the loaded net has other weights than the saved one")
        x = self.full[""].test[:FEW][0]
        with torch.no_grad():
            if not torch.equal(_logits(net, x), _logits(other.net, x)):
                raise ValueError("the loaded net has other logits than the saved one")


def _logits(net: Net, x: torch.Tensor) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(0)  # a net of chance draws the same for both
        return net.eval()(x)


def _steps(
    net: Net, data: Dataset, config: Train, images: int, teacher: Net | None = None, repeats: int = REPEATS
) -> float:
    """Median processor seconds of a training step on so many images, on a copy of the net, after one step that does not
    count unless it alone was long."""
    few = synthetic.first(data, images, 0)
    asked = replace(config, epochs=1 + repeats, batch_size=images, patience=0)
    other, times, begun = copy.deepcopy(net), [], process_time()
    for _ in training.epochs(other, few, asked, 0, training.start(other, asked, teacher)):
        times.append(process_time() - begun)
        if sum(times) > LONG / 2 or sum(times[1:]) > ENOUGH:
            break
        begun = process_time()
    return statistics.median(times[1:] or times)


def _repeated(step: Callable[[], None]) -> float:
    times: list[float] = []
    while len(times) < 1 + REPEATS and sum(times) < ENOUGH:
        begun = process_time()
        step()
        times.append(process_time() - begun)
    return statistics.median(times[1:] or times)


def _peak_megabytes() -> float:
    """The most memory that this process has held. What the system tells of it may be its parent's until it began."""
    status = Path("/proc/self/status")
    if status.is_file() and "VmHWM:" in (text := status.read_text()):
        return int(text.partition("VmHWM:")[2].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def serve() -> None:
    """The server: for each line of its input, JSON ({trial, roots, most_bytes, threads}), a process is forked that
    rehearses the trial and prints a line of what was found; where it ended before, the server says how."""
    import torch._dynamo  # noqa: F401 - what an optimizer's first step imports

    for line in sys.stdin:
        if (process := os.fork()) == 0:
            threading.Thread(target=_end_with_driver, daemon=True).start()
            _answer(json.loads(line))
        _, status = os.waitpid(process, 0)
        if code := os.waitstatus_to_exitcode(status):
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            print(json.dumps({"peak_megabytes": 0.0, "error": f"its process ended by itself ({how})"}), flush=True)


def _end_with_driver() -> None:
    """End this process when nobody waits for it any more; it may be deep in a long call."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)  # nothing but a hang-up
    poll.poll()
    os._exit(0)


def _answer(given: dict[str, Any]) -> NoReturn:
    out = os.dup(1)
    os.dup2(2, 1)  # whatever libraries and users' functions print
    torch.set_num_threads(given["threads"])
    roots = iter(given["roots"])
    trial = trial_of(given["trial"])
    stages = tuple(replace(s, root=next(roots)) if isinstance(s, Load) else s for s in trial.stages)
    most = min(given["most_bytes"], psutil.virtual_memory().available)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or hard > given["most_bytes"]:
        resource.setrlimit(resource.RLIMIT_DATA, (given["most_bytes"], hard))
    rehearsal, error = Rehearsal(replace(trial, stages=stages), most), ""
    try:
        rehearsal.run()
    except BaseException as raised:  # a user's function may raise anything; of each kind of trial one line is told
        error = brief(f"{rehearsal.doing}: {told(raised)}")
    found = rehearsal.found | {"peak_megabytes": _peak_megabytes(), "error": error}
    os.write(out, (json.dumps(found) + "\n").encode())
    os._exit(0)
