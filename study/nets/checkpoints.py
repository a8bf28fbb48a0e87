"""Files of weights as people have them: safetensors, or what torch.save wrote, read without running what they hold."""

import errno
import functools
import logging
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as decode
from torch import Tensor

from study.nets import formats
from study.spec.errors import UsageError

log = logging.getLogger(__name__)
# Under which training scripts keep a state dict beside other things, the first that is there.
WRAPPED = ("state_dict", "model_state_dict", "model", "net", "network", "ema", "state_dict_ema", "model_ema")
# What wrappers put before every name: ours, parallel nets', torch.compile's, Lightning's and scripts' own.
PREFIXES = ("net.", "module.", "body.", "_orig_mod.", "model.", "network.")
WANTED = f"a state dict, tensors by name, bare or under {', '.join(WRAPPED)}"
DEEPEST = 5  # names within names that are looked through
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read(path: Path, name: str = "", own: Mapping[str, Tensor] | None = None) -> tuple[dict[str, Tensor], str]:
    """The tensors of a state dict by name, from safetensors or what torch.save wrote, and what is to be said of others.

    It is looked for wherever WRAPPED has it, or under `name` (with dots between names within names). Of several that of
    which most tensors fit those of `own` is taken, the first among equals; the words say so, and how to take another
    that fits as well. Nothing but tensors is unpickled. UsageError that says what was found in place of a state dict.
    """
    content = found = _content(path)
    for part in name.split(".") if name else ():
        found = dict(_items(found)).get(part)
    if name and found is None:
        raise UsageError(f"weights: {path} has nothing under {name}: found {_told(content)}")
    held = _held(found, name)
    if not held:
        under = f" under {name}" if name else ""
        inside = [".".join(filter(None, (name, str(key)))) for key, part in _items(found) if _held(part)]
        which = f"; name the one to take: {few([f'{path}#{key}' for key in inside])}" if inside else ""
        raise UsageError(f"weights: {path} holds no state dict{under}: found {_told(found)}, expected {WANTED}{which}")
    fit = {key: fitting(stripped(tensors, own or {})[0], own or {}) for key, tensors in held.items()}
    taken = max(held, key=lambda key: fit[key])
    others = [key for key in held if key != taken and fit[key] == fit[taken]]
    words = ""
    if len(held) > 1:
        words = f"{path} holds {' and '.join(held)}; those under {taken} are taken"
        words += "".join(f"; {path}#{key} takes those under {key}" for key in others)
    return held[taken], words


def _content(path: Path) -> Any:
    """What the file holds; UsageError where it cannot be read, is of another format, or holds code."""
    try:
        with path.open("rb") as stream:
            head = stream.read(formats.HEAD)
        if not (wrong := formats.foreign(head)):
            return _decoded(path, head)
    except OSError as error:
        if error.errno != errno.EINVAL:  # torch looks for the end of a file that is cut off before its beginning
            raise UsageError(f"weights: the file {path} cannot be read ({error.strerror})") from None
        wrong = "is cut off or damaged"
    except Exception as error:  # a damaged or foreign file: zip, pickle and safetensors each have their own errors
        wrong = formats.why(error, path)
    raise UsageError(f"weights: {path} is no state dict of tensors: it {wrong}")


def _decoded(path: Path, head: bytes) -> Any:
    """What a file holds that begins with `head`, whatever its name."""
    if formats.is_safetensors(head):
        return decode(path.read_bytes())
    with path.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of programs and of quantized tensors, which are refused
        return torch.load(stream, map_location="cpu", weights_only=True)


def _held(found: Any, name: str = "", depth: int = 0) -> dict[str, dict[str, Tensor]]:
    """The state dicts in what a file holds, by the names of WRAPPED under which they lie, dots between."""
    if not isinstance(found, Mapping) or depth == DEEPEST:
        return {}
    if found and all(isinstance(W, Tensor) for W in found.values()):
        return {name: {str(key): W for key, W in found.items()}}
    parts = [_held(found[key], f"{name}.{key}".lstrip("."), depth + 1) for key in WRAPPED if key in found]
    return {key: tensors for part in parts for key, tensors in part.items()}


def _items(found: Any) -> Iterable[tuple[Any, Any]]:
    return found.items() if isinstance(found, Mapping) else ()


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


def stripped(found: dict[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by their names in `own`, and what wrappers put before them, which is taken off, one after another.
    Names without what is taken off (a loss's own buffers) are left out."""
    taken: list[str] = []
    while not any(name in own for name in found):
        prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in found)), "")
        if not prefix:
            break
        found = {name.removeprefix(prefix): W for name, W in found.items() if name.startswith(prefix)}
        taken.append(prefix)
    return found, taken


def bare(found: dict[str, Tensor], own: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The tensors as `stripped` has them; what is taken off is said, but of our own files, which have a net's mean and
    deviation beside its body."""
    ours = any({f"{p}mean", f"{p}std"} <= set(found) for p in ("", "net."))
    found, taken = stripped(found, own)
    if others := [p for p in taken if not (ours and p in ("net.", "body."))]:
        say(f"weights: {''.join(others)!r} was taken off the names in {what}")
    return found


def fitting(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> int:
    """How many tensors of `own` are there in the same shape, of a kind that is taken."""
    return sum(name in found and not _odd(found[name]) and found[name].shape == W.shape for name, W in own.items())


def check(found: Mapping[str, Tensor], what: str) -> None:
    """UsageError unless the tensors hold finite numbers in memory: strided ones, real, floating ones of FLOATS."""
    if odd := [f"{name} is {said}" for name, W in found.items() if (said := _odd(W))]:
        raise UsageError(
            f"weights: {what} has tensors that are not taken: {few(odd)}; save the plain numbers that they stand for, "
            "as float32"
        )
    if broken := [n for n, W in found.items() if W.is_floating_point() and not W.float().isfinite().all()]:
        raise UsageError(f"weights: {what} has numbers that are NaN or infinite ({few(broken)})")


def _odd(W: Tensor) -> str:
    """What keeps a tensor from being taken, "" where nothing does."""
    if W.is_meta:
        return "without its numbers (on the device meta)"
    if W.is_quantized:
        return f"quantized ({W.dtype})"
    if W.is_nested or W.layout != torch.strided:
        return f"not dense ({W.layout})"
    return f"of {W.dtype}" if W.is_complex() or (W.is_floating_point() and W.dtype not in FLOATS) else ""


def check_kinds(found: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str) -> None:
    """UsageError for whole numbers where `own` has floating ones; other precisions than its are said to be cast."""
    both = {name: (W, own[name]) for name, W in found.items() if name in own and own[name].is_floating_point()}
    if whole := [f"{name} is of {W.dtype}" for name, (W, _) in both.items() if not W.is_floating_point()]:
        raise UsageError(
            f"weights: {what} has whole numbers where the net has others: {few(whole)}; save the numbers that they "
            "stand for, as float32"
        )
    if cast := sorted({str(W.dtype) for W, to in both.values() if W.dtype != to.dtype}):
        say(f"weights: {what} has tensors of {' and '.join(cast)}; they are cast to float32")
