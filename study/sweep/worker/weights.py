"""Weights beside the table: safetensors, so that nothing is unpickled to read them.

`net.NAME` are the tensors of the net as it was measured, `training.N.NAME` those that its Nth training ended with: what
the trial needs to come to the same net again without training.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as encode
from torch import Tensor

from study.store import layout, results
from study.store.places import Place
from study.trial.state import State


def name_of(trial: str) -> str:
    """Where a trial's weights lie in an output."""
    return layout.weights_name(trial)


def save(path: Place, state: State) -> None:
    """Publish the weights of a finished trial, complete or not at all."""
    assert state.net is not None
    tensors = {f"net.{name}": W for name, W in state.net.state_dict().items()}
    for nth, trained in enumerate(state.trained.values()):
        tensors |= {f"training.{nth}.{name}": W for name, W in trained.items()}
    trainings = [{"epoch": p.epoch, "passes": p.passes} for p in state.trainings.values()]
    content = {name: W.detach().cpu().clone().contiguous() for name, W in tensors.items()}
    results.replace(path, encode(content, metadata={"trainings": json.dumps(trainings)}))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The measured net's tensors by name, and a snapshot that trial.run resumes from without training.

    ValueError for a file that is damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as found:
            tensors = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118 - no mapping
            facts = json.loads((found.metadata() or {})["trainings"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): W for name, W in tensors.items() if name.startswith(prefix)}

    trainings = [
        {"done": True, "weights": part(f"training.{nth}."), "curves": [], **fact} for nth, fact in enumerate(facts)
    ]
    return part("net."), {"trainings": trainings, "seconds": {}}
