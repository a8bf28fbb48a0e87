"""What a net of somebody's returned, as logits: nets give pairs, dicts, one logit for two classes, other precisions."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

# What changes no number of a tensor, by the name of its node in the graph of gradients.
PASSING = ("View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Alias", "Clone", "ToCopy", "Slice", "Select")
SQUASHING = {"SoftmaxBackward": "softmax", "SigmoidBackward": "sigmoid"}


def logits(out: Any, x: Tensor, classes: int) -> Tensor:
    """The logits (N, classes) in what a body returned for images x (N, ...), in the precision of the images.

    A tensor (N, classes) is itself. Of a tuple, list or dict (or such within such) the first floating tensor of that
    shape is taken. Where there are two classes, one logit z, a tensor (N, 1) or (N,), stands for the logits 0 and z:
    their softmax is its sigmoid. With `classes` 0 (not known) a tensor is taken whatever its shape. TypeError naming
    what came back where there are no logits in it.
    """
    if isinstance(out, Tensor) and (not classes or (out.ndim == 2 and out.shape[1] == classes)):
        found = out if out.is_floating_point() or not classes else chosen(out, x.shape[0], classes)
    else:
        found = _widened(chosen(out, x.shape[0], classes), classes)
    return found if found.dtype == x.dtype or not found.is_floating_point() else found.to(x.dtype)


def chosen(out: Any, n: int, classes: int) -> Tensor:
    """The tensor of `out` that has the logits of n images, one of one logit per image among them; TypeError without."""
    found = [t for t in tensors(out) if t.is_floating_point() and t.ndim in (1, 2) and t.shape[0] == n]
    fit = [t for t in found if t.ndim == 2 and t.shape[1] == classes]
    if classes == 2:
        fit += [t for t in found if t.ndim == 1 or t.shape[1] == 1]
    if not fit:
        one = ", or one logit per image, (N, 1) or (N,)" if classes == 2 else ""
        many = f"(N, {classes or 'classes'})"
        raise TypeError(
            f"it returned {told(out)} for N = {n}; it must return logits, a floating tensor {many}{one}, alone or in a "
            "tuple or dict"
        )
    return fit[0]


def _widened(found: Tensor, classes: int) -> Tensor:
    """Two logits, 0 and z, of one logit z per image; any other tensor is itself."""
    if found.ndim == 2 and found.shape[1] == classes:
        return found
    z = found.reshape(-1, 1)
    return torch.cat([torch.zeros_like(z), z], dim=1)


def tensors(out: Any) -> Iterator[Tensor]:
    """The tensors in what was returned, in its order."""
    if isinstance(out, Tensor):
        yield out
    elif isinstance(out, Mapping):
        for value in out.values():
            yield from tensors(value)
    elif isinstance(out, tuple | list):
        for value in out:
            yield from tensors(value)


def told(out: Any) -> str:
    """What came back, in words."""
    if isinstance(out, Tensor):
        return f"a tensor {tuple(out.shape)} of {out.dtype}"
    if isinstance(out, Mapping):
        return f"a {type(out).__name__} with {', '.join(f'{name}: {told(v)}' for name, v in out.items()) or 'nothing'}"
    if isinstance(out, tuple | list):
        return f"a {type(out).__name__} of {', '.join(map(told, out)) or 'nothing'}"
    return f"a {type(out).__name__}"


def said(out: Any, n: int, classes: int) -> list[str]:
    """What a user is told of how logits are read from what a net returned for n images; nothing of a plain tensor."""
    found, words = chosen(out, n, classes), []
    if not isinstance(out, Tensor):
        words.append(f"it returns {told(out)}; the first tensor of shape {_shape(found)} in it is taken as logits")
    if found.ndim == 1 or found.shape[1] != classes:
        words.append("it returns one logit z per image; its two classes have the logits 0 and z")
    if found.dtype != torch.float32:
        words.append(f"its logits are {found.dtype}; they are cast to float32")
    return words


def _shape(found: Tensor) -> str:
    return "(N,)" if found.ndim == 1 else f"(N, {found.shape[1]})"


def squashed(found: Tensor) -> str:
    """ "softmax" or "sigmoid" where the last function that made a tensor is one, as its graph of gradients tells; ""
    where it is not, or there is no graph."""
    node = found.grad_fn
    while node is not None and type(node).__name__.startswith(PASSING):
        node = node.next_functions[0][0]
    name = "" if node is None else type(node).__name__
    return next((word for start, word in SQUASHING.items() if name.startswith(start)), "")
