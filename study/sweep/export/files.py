"""Packed nets in files: tensors, and beside them the architecture as JSON. Nothing is unpickled to read one."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as decode
from safetensors.torch import save as encode
from torch import Tensor

from study.nets.compression import shipped
from study.nets.net import Net
from study.spec.config import Build
from study.spec.datasets import HANDED, is_user_function
from study.spec.errors import UsageError, brief
from study.spec.identity import canonical_trial, trial_of
from study.trial.skeleton import seen, skeleton
from study.trial.state import State

FORMAT = 1  # of the JSON; a reader refuses a higher one
KEY = "study"  # where the JSON stands: of safetensors' metadata, of the mapping that torch.save has written
PACKED = ("safetensors", "torch")


def content(to: str, state: State, trial: Any) -> tuple[bytes, int]:
    """The file of a finished trial's net, `to` safetensors or torch, and how many of its bytes are tensors.

    ValueError for a net that cannot be packed.
    """
    assert state.net is not None
    tensors, facts = shipped.pack(state.net)
    told = canonical_trial(trial) | {"measures": []}
    facts = {"format": FORMAT, "trial": told, "data": seen(state)} | facts
    text = _text(facts | {"digest": _digest(tensors, facts)})
    size = sum(W.numel() * W.element_size() for W in tensors.values())
    if to == "safetensors":
        return encode(tensors, metadata={KEY: text}), size
    buffer = io.BytesIO()
    torch.save({KEY: text, "tensors": tensors}, buffer)
    return buffer.getvalue(), size


def load_exported(path: str | Path, model: str = "") -> Net:
    """The net of a file that `study.launch export --to safetensors` or `--to torch` wrote, ready to be used.

    Images (N, C, H, W) in [0, 1] to logits (N, classes), on the CPU, in evaluation mode. Weights are the numbers that
    the net multiplied when it was measured (quantized ones float32 on their levels); inputs of layers are quantized as
    they were; `masks` says which weights are held at zero. For a net of one's own function `model` names that (for one
    that study.audit was handed, a function that builds it): package:function; no file can have a module imported.
    UsageError for a file that is none of these, is damaged, or was written by a version that this one does not read.
    """
    try:
        return decoded(Path(path).read_bytes(), str(path), model)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from None


def decoded(whole: bytes, path: str, model: str = "") -> Net:
    """load_exported of the bytes of a file; `path` is what it is called in messages."""
    text, tensors = _read(whole, path)
    try:
        facts = json.loads(text)
        newer = facts["format"] > FORMAT
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path} is damaged: it does not say what it holds") from None
    if newer:
        raise UsageError(f"{path} was written by a newer version; use that version")
    if facts.pop("digest", "") != _digest(tensors, facts):
        raise UsageError(f"{path} is damaged: it does not hold what was written")
    try:
        stages = trial_of(facts["trial"]).stages
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{path} was written by a version whose configurations this one does not read") from None
    if is_user_function(model):  # a net that Python handed over has a name in that process alone
        stages = tuple(
            replace(s, model=model, source="") if isinstance(s, Build) and s.model.startswith(HANDED) else s
            for s in stages
        )
    for name in [s.model for s in stages if isinstance(s, Build) and is_user_function(s.model) and s.model != model]:
        raise UsageError(
            f"{path} holds a net of {name}, which no file can have imported; name it yourself: "
            f"load_exported(path, model={name!r})"
        )
    net = skeleton(stages, facts["data"])
    try:
        shipped.fill(net, tensors, facts)
    except (ValueError, KeyError, RuntimeError) as error:
        raise UsageError(f"{path} does not hold the net that it says ({brief(str(error))})") from None
    return net.eval()


def _read(whole: bytes, path: str) -> tuple[str, dict[str, Tensor]]:
    """The JSON and the tensors; UsageError for anything else."""
    try:
        if whole[:4] == b"PK\x03\x04":
            found = torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
            text, tensors = found[KEY], found["tensors"]
        else:
            tensors, text = decode(whole), _metadata(whole)[KEY]
    except Exception as error:  # zip, pickle and safetensors each have their own errors
        advice = "weights_only" in str(error)  # torch's: to run what the file holds
        cause = "" if advice else f" ({brief(str(error))})"
        raise UsageError(f"{path} is damaged, or no file that `export --to safetensors|torch` wrote{cause}") from None
    if not isinstance(text, str) or not all(isinstance(W, Tensor) for W in tensors.values()):
        raise UsageError(f"{path} is no file that `export --to safetensors|torch` wrote")
    return text, tensors


def _metadata(whole: bytes) -> dict[str, Any]:
    """What stands in a safetensors header beside the tensors: its length in 8 bytes, then JSON."""
    return json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])["__metadata__"]


def _text(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, separators=(",", ":"))


def _digest(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """sha256 of the JSON, and of the tensors by name, shape and bytes, hexadecimal."""
    found = hashlib.sha256(_text(facts).encode())
    for name, W in sorted(tensors.items()):
        found.update(f"\0{name} {W.dtype} {tuple(W.shape)}\0".encode())
        found.update(W.contiguous().flatten().view(torch.uint8).numpy().tobytes() if W.numel() else b"")
    return found.hexdigest()
