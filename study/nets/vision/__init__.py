"""Architectures of other libraries, one file per family of nets: torchvision, timm, open_clip are imported here alone.

A builder returns the body and the names of its hidden layers, the head replaced by one of the data's classes.
"""

from torch import nn


def clip_image_tower(name: str = "ViT-B-32", weights: str | None = None) -> nn.Module:
    """open_clip's image tower, with random weights unless a published set is named (which open_clip downloads)."""
    import open_clip

    return open_clip.create_model(name, pretrained=weights).visual
