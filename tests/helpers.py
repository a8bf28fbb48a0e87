"""What several tests share: small nets with known answers, small trials, the command line."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from study.nets.net import WEIGHTED, Net
from study.spec.config import Accuracy, Build, Factorize, Load, Prunability, Robustness, Structure, Train, Trial

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
TINY = ["--set", "epochs=2", "--set", "test_size=60", "--set", "width=16"]


def linear_net(weight: torch.Tensor, shape: tuple[int, int, int]) -> Net:
    """A one-layer net with the given weights (classes x pixels): every margin is known in closed form."""
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    with torch.no_grad():
        head.weight.copy_(weight)
    return Net(nn.Sequential(nn.Flatten(), head), (0.0,) * shape[0], (1.0,) * shape[0], ())


def tiny_trial(seed: int = 0, rank: int = 0, measures: bool = True, **train: object) -> Trial:
    """A trial of a second: a small net on digits."""
    stages = [Load(test_size=60), Build(width=24, depth=2)]
    stages += [Factorize(rank=rank)] if rank else []
    settings = {"epochs": 3, "frobenius": 1.0} | train
    attacks = tuple(Robustness(norm=n, eps=(e,), iterations=4, gap_eps=(e,), gap_iterations=4)
                    for n, e in (("linf", 16 / 255), ("l2", 0.5)))  # fmt: skip
    wanted = (Accuracy(), *attacks, Structure(), Prunability()) if measures else (Accuracy(),)
    return Trial(seed=seed, stages=(*stages, Train(**settings)), measures=wanted)  # type: ignore[arg-type]


def launch(*words: str, cwd: Path, timeout: float = 300, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m study.launch ...` as a user runs it, in a folder of its own."""
    clean = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "STUDY_DATA")}
    return subprocess.run(
        [sys.executable, "-m", "study.launch", *words],
        cwd=cwd, env=clean | env, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def hidden_of(body: nn.Module) -> list[str]:
    """The hidden layers of a plain module: its Linear and Conv2d layers in order, less the last one (the head) and,
    where the first is a convolution, that one."""
    found = [(name, m) for name, m in body.named_modules() if isinstance(m, WEIGHTED)][:-1]
    if found and isinstance(found[0][1], nn.Conv2d):
        found = found[1:]
    return [name for name, _ in found]
