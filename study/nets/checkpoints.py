"""Files of weights as people have them: safetensors, or what torch.save wrote, read without running what they hold."""

import functools
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as decode
from torch import Tensor

from study.spec.errors import UsageError

log = logging.getLogger(__name__)
# Under which training scripts keep a state dict beside other things, the first that is there.
WRAPPED = ("state_dict", "model_state_dict", "model", "net", "network", "ema", "state_dict_ema", "model_ema")
# What wrappers put before every name: ours, parallel nets', torch.compile's, Lightning's and scripts' own.
PREFIXES = ("net.", "module.", "body.", "_orig_mod.", "model.", "network.")
WANTED = f"a state dict, tensors by name, bare or under {', '.join(WRAPPED)}"


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name, from .safetensors or what torch.save wrote, wherever WRAPPED has it.

    Nothing but tensors is unpickled. UsageError that says what was found in place of a state dict.
    """
    found = _content(path)
    while isinstance(found, Mapping) and not _tensors(found) and (inside := _inside(found)):
        name = inside[0]
        if len(inside) > 1:
            say(f"weights: {path} holds {' and '.join(inside)}; those under {name} are taken")
        found = found[name]
    if not isinstance(found, Mapping) or not _tensors(found):
        raise UsageError(f"weights: {path} holds no state dict: found {_told(found)}, expected {WANTED}")
    tensors = {str(name): W for name, W in found.items()}
    if broken := [n for n, W in tensors.items() if W.is_floating_point() and not W.isfinite().all()]:
        raise UsageError(f"weights: {path} has numbers that are NaN or infinite ({few(broken)})")
    return tensors


def _content(path: Path) -> Any:
    """What the file holds; UsageError where it cannot be read, or holds code."""
    try:
        if path.suffix == ".safetensors":
            return decode(path.read_bytes())
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"weights: the file {path} cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged or foreign file: zip, pickle and safetensors each have their own errors
        raise UsageError(f"weights: {path} is no state dict of tensors: it {_why(error)}") from None


def _why(error: Exception) -> str:
    """What is wrong with a file that could not be decoded."""
    if found := re.search(r"Unsupported (?:global|class): (?:GLOBAL )?([\w.]+)", str(error)):
        return (
            f"holds pickled Python objects ({found[1]}), which are never run; load it where its code is trusted, and "
            "save model.state_dict() alone"
        )
    cause = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"is damaged, cut off, or of another format ({cause})"


def _tensors(found: Mapping[Any, Any]) -> bool:
    return bool(found) and all(isinstance(W, Tensor) for W in found.values())


def _inside(found: Mapping[Any, Any]) -> list[str]:
    """The names of WRAPPED under which something lies."""
    return [name for name in WRAPPED if isinstance(found.get(name), Mapping) and found[name]]


def _told(found: Any) -> str:
    """What a file holds, in words."""
    if isinstance(found, Mapping) and not found:
        return "nothing in it"
    if isinstance(found, Mapping):
        kinds = {name: type(value).__name__ for name, value in found.items() if not isinstance(value, Tensor)}
        optimizer = " (of an optimizer)" if {"state", "param_groups"} <= set(found) else ""
        return f"{few([f'{n} ({kind})' for n, kind in kinds.items()])}{optimizer}"
    return f"one {type(found).__name__}"


@functools.cache
def say(words: str) -> None:
    """Once per process: every trial of a sweep reads the same file."""
    log.warning(words)


def few(names: list[str]) -> str:
    """The first three names, and dots where there are more."""
    return f"{', '.join(names[:3])}{', ...' * (len(names) > 3)}"


def bare(found: dict[str, Tensor], own: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The tensors by their names in `own`, with what wrappers put before them taken off, one after another, which is
    said. Names without what is taken off (a loss's own buffers) are left out."""
    taken = []
    while not any(name in own for name in found):
        prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in found)), "")
        if not prefix:
            break
        found = {name.removeprefix(prefix): W for name, W in found.items() if name.startswith(prefix)}
        taken.append(prefix)
    if others := [p for p in taken if p not in ("net.", "body.")]:  # our own files have these
        say(f"weights: {''.join(others)!r} was taken off the names in {what}")
    return found
