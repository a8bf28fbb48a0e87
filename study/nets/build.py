"""Networks by name. Normalisation is inside; the head is known by its place, never by its width (that of somebody's own
net by what its logits depend on last: study.nets.own)."""

from collections.abc import Callable

import torch
from torch import nn

from study.nets import own as owned
from study.nets import sources, weights
from study.nets.attention import attention_block
from study.nets.fcn import fcn
from study.nets.net import Net
from study.spec import datasets, models
from study.spec.config import Build
from study.spec.errors import UsageError

Shape = tuple[int, int, int]


def build(
    config: Build,
    shape: Shape,
    classes: int,
    statistics: tuple[tuple[float, ...], ...],
    seed: int,
    *,
    begun: bool = True,
    whole: bool = False,
) -> Net:
    """An untrained network for images of `shape` (C, H, W), its weights drawn from `seed` alone.

    `statistics` are the per-channel mean and standard deviation, which the configuration's own override. Not `begun`
    leaves out the weights that the configuration names: for a net whose weights are all overwritten. `whole` takes no
    file with a head for other classes: for a net that nothing will train. Raises UsageError for a user's function that
    does not return an nn.Module with a hidden layer and a head, knobs that the model does not take, weights that it
    cannot be given.
    """
    mean, std = _normalization(config, shape[0]) or statistics
    own = datasets.is_user_function(config.model)
    if not own and config.model not in BUILDERS:
        raise UsageError(f"unknown model {config.model!r}; choose from {', '.join(BUILDERS)} or package:function")
    if why := models.refusal(config.model, vars(config)):
        raise UsageError(why)
    size = models.side(config.model, shape[-1])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body, hidden = _users(config, shape, classes) if own else BUILDERS[config.model](config, shape, classes, size)
    body, wrapped = owned.unwrapped(body) if own else (body, ())
    net = Net(body, mean, std, hidden, size, classes=classes)
    if own:
        owned.known(net, shape, config.model)
        net.notes = (*wrapped, *net.notes)
    if begun:
        weights.begin(net, config, whole=whole)
    if own:
        owned.folded(net)
    return net


def _normalization(config: Build, channels: int) -> tuple[tuple[float, ...], ...]:
    """The mean and deviation per channel that a configuration names; nothing where it names none."""
    given = (config.input_mean, config.input_std)
    if not any(given):
        return ()
    for name, numbers in zip(("input_mean", "input_std"), given, strict=True):
        if len(numbers) not in (1, channels):
            raise UsageError(
                f"--normalization ({name}): one number or {channels}, one per channel of these images, are accepted, "
                f"got {len(numbers)}"
            )
    return tuple(numbers if len(numbers) == channels else numbers * channels for numbers in given)


Body = tuple[nn.Module, list[str]]  # and the names of its hidden layers


def _fcn(config: Build, shape: Shape, classes: int, size: int) -> Body:
    return fcn(shape, classes, config.width, config.depth, config.width_taper)


def _attention_block(config: Build, shape: Shape, classes: int, size: int) -> Body:
    return attention_block(shape, classes, config.width, config.patch_size)


def _cnn(config: Build, shape: Shape, classes: int, size: int) -> Body:
    from study.nets.vision import vgg  # timm and torchvision take a second to import

    return vgg.cnn(classes, config.width_multiplier)


def _cnn8(config: Build, shape: Shape, classes: int, size: int) -> Body:
    from study.nets.vision import vgg

    return vgg.cnn8(shape, classes, config.width_multiplier)


def _vgg16(config: Build, shape: Shape, classes: int, size: int) -> Body:
    from study.nets.vision import vgg

    return vgg.vgg16(classes, config.width_multiplier)


def _resnet(config: Build, shape: Shape, classes: int, size: int) -> Body:
    from study.nets.vision import resnet

    return resnet.resnet(config.model, classes, config.width_multiplier, config.stem)


def _vit(config: Build, shape: Shape, classes: int, size: int) -> Body:
    from study.nets.vision import vit

    return vit.vit(classes, config.width, config.depth, size, config.patch_size)


def _vit_b8(config: Build, shape: Shape, classes: int, size: int) -> Body:
    from study.nets.vision import vit

    return vit.vit_b8(classes)


def _vit_tiny(config: Build, shape: Shape, classes: int, size: int) -> Body:
    from study.nets.vision import vit

    return vit.vit_tiny(classes)


def _swin_t(config: Build, shape: Shape, classes: int, size: int) -> Body:
    from study.nets.vision import swin

    return swin.swin_t(classes)


def _users(config: Build, shape: Shape, classes: int) -> Body:
    name = config.model
    body = sources.user_function(name, "--model")(shape, classes)
    if not isinstance(body, nn.Module):
        raise UsageError(f"--model {name} must return a torch.nn.Module, got {type(body).__name__}")
    return body, []  # which layers are hidden its outputs tell


# What is built for images of `size` pixels a side is given them enlarged; the others (0) take them as they come.
BUILDERS: dict[str, Callable[[Build, Shape, int, int], Body]] = {
    "fcn": _fcn,
    "attention_block": _attention_block,
    "cnn": _cnn,
    "cnn8": _cnn8,
    "resnet18": _resnet,
    "wrn50_2": _resnet,
    "wrn101_2": _resnet,
    "vgg16": _vgg16,
    "vit": _vit,
    "vit_b8": _vit_b8,
    "vit_tiny": _vit_tiny,
    "swin_t": _swin_t,
}
