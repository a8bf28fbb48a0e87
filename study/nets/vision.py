"""Architectures of other libraries, built here and nowhere else: torchvision, timm and open_clip."""

import timm
import torchvision
from torch import nn


def resnet18(classes: int) -> tuple[nn.Module, list[str]]:
    """torchvision's ResNet18 with its ImageNet stem and a new head (paper A, C.2); the stem and head are not hidden."""
    body = torchvision.models.resnet18(weights=None)
    body.fc = nn.Linear(body.fc.in_features, classes)
    names = [name for name, m in body.named_modules() if isinstance(m, nn.Conv2d)]
    return body, names[1:]


def vit(classes: int, width: int, depth: int, size: int = 32) -> tuple[nn.Module, list[str]]:
    """timm's VisionTransformer for size x size images in 4 x 4 patches; hidden are the linear layers in its blocks."""
    if width % 32:
        raise ValueError(f"width of a vit must be a multiple of 32 (its head size), got {width}")
    body = timm.models.VisionTransformer(
        img_size=size, patch_size=4, num_classes=classes, embed_dim=width, depth=depth, num_heads=width // 32
    )
    names = [name for name, m in body.blocks.named_modules() if isinstance(m, nn.Linear)]
    return body, [f"blocks.{name}" for name in names]


def clip_image_tower(name: str = "ViT-B-32", weights: str | None = None) -> nn.Module:
    """open_clip's image tower, with random weights unless a published set is named (which open_clip downloads)."""
    import open_clip

    return open_clip.create_model(name, pretrained=weights).visual
