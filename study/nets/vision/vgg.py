"""Convolutional nets without residual paths: VGG16 without its wide layers, paper C's of 8 layers, one of our own."""

from functools import partial

import torchvision
from torch import nn

from study.nets.vision.widths import at_width, drawn, hidden, scaled


def vgg16(classes: int, width: float) -> tuple[nn.Module, list[str]]:
    """VGG16 (Simonyan and Zisserman 2014), torchvision's without BatchNorm, its 13 convolutions with biases.

    Without the two layers of 4096 units, their dropout and ReLU (paper A, C.2): one linear head on the 512 features,
    pooled to 1 x 1 and not to 7 x 7, which on images of 32 pixels would only repeat the one pixel that is left. `width`
    multiplies every channel count. The first convolution and the head are not hidden.
    """
    body = at_width(partial(_plain, classes), width)
    return body, hidden(body)


def _plain(classes: int) -> nn.Module:
    vgg = torchvision.models.vgg
    body = nn.Sequential()
    body.add_module("features", vgg.make_layers(vgg.cfgs["D"]))
    body.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
    body.add_module("flatten", nn.Flatten())
    body.add_module("classifier", nn.Linear(512, classes))
    for layer in body.modules():
        if isinstance(layer, nn.Conv2d):
            drawn(layer)
    return body


CHANNELS, STRIDES = (32, 64, 64, 128), (1, 2, 1, 2)


def cnn(classes: int, width: float) -> tuple[nn.Module, list[str]]:
    """Four 3 x 3 convolutions of 32, 64, 64 and 128 channels (times `width`), the second and the last of stride 2.

    Each without bias, with BatchNorm and ReLU; the mean over positions; a linear head. Of our own, for runs of minutes.
    The first convolution and the head are not hidden.
    """
    body, inputs = nn.Sequential(), 3
    for i, (channels, stride) in enumerate(zip(CHANNELS, STRIDES, strict=True), start=1):
        outputs = scaled(channels, width)
        body.add_module(f"conv{i}", drawn(nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)))
        body.add_module(f"norm{i}", nn.BatchNorm2d(outputs))
        body.add_module(f"relu{i}", nn.ReLU())
        inputs = outputs
    body.add_module("pool", nn.AdaptiveAvgPool2d(1))
    body.add_module("flatten", nn.Flatten())
    body.add_module("head", nn.Linear(inputs, classes))
    return body, hidden(body)


CHANNELS_8, DENSE = (32, 32, 64, 64, 128, 128), 128


def cnn8(shape: tuple[int, int, int], classes: int, width: float) -> tuple[nn.Module, list[str]]:
    """Paper C's CNN of 8 layers: six 3 x 3 convolutions (every second of stride 2), a dense layer of 128, the head.

    With biases and ReLU, without BatchNorm; convolutions Kaiming normal by outputs, biases 0 (as PyTorch draws them the
    net stays at chance on a few thousand images); channels and the dense layer times `width`. Images of `shape`
    (C, H, W) as they come. All but the head are hidden, the first convolution too: the paper prunes every convolution
    at one ratio. (It does not say whether the dense layer is compressed: it is, here.)
    """
    body, inputs, sides = nn.Sequential(), shape[0], list(shape[1:])
    for i, channels in enumerate(CHANNELS_8, start=1):
        outputs, stride = scaled(channels, width), 2 - i % 2
        body.add_module(f"conv{i}", drawn(nn.Conv2d(inputs, outputs, 3, stride, padding=1)))
        body.add_module(f"relu{i}", nn.ReLU())
        inputs, sides = outputs, [-(-side // stride) for side in sides]
    body.add_module("flatten", nn.Flatten())
    body.add_module("dense", nn.Linear(inputs * sides[0] * sides[1], scaled(DENSE, width)))
    body.add_module("relu7", nn.ReLU())
    body.add_module("head", nn.Linear(scaled(DENSE, width), classes))
    return body, [f"conv{i}" for i in range(1, 7)] + ["dense"]
