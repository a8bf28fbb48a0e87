"""torchvision's ResNets (He et al. 2016; Zagoruyko and Komodakis 2016), ImageNet stem as published (paper A, C.2)."""

from functools import partial
from typing import Any

import torchvision
from torch import nn

from study.nets.vision.widths import at_width, drawn, hidden

KINDS = {"resnet18": "resnet18", "wrn50_2": "wide_resnet50_2", "wrn101_2": "wide_resnet101_2"}


def resnet(name: str, classes: int, width: float, stem: str) -> tuple[nn.Module, list[str]]:
    """A ResNet by our name with a new head; the first convolution and the head are not hidden.

    `width` multiplies every channel count. `stem` small: 3 x 3, stride 1 and no pooling, for images of 32 pixels, where
    the published one (7 x 7, stride 2, pooling) leaves 8 x 8.
    """
    body: Any = at_width(partial(getattr(torchvision.models, KINDS[name]), weights=None), width)
    body.fc = nn.Linear(body.fc.in_features, classes)
    if stem == "small":
        body.conv1 = drawn(nn.Conv2d(3, body.conv1.out_channels, 3, padding=1, bias=False))
        body.maxpool = nn.Identity()
    return body, hidden(body)
