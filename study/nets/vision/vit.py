"""timm's vision transformers (Dosovitskiy et al. 2021): hidden are the linear layers in the blocks, q, k, v apart."""

import timm
from torch import nn

from study.nets import qkv


def vit(classes: int, width: int, depth: int, size: int = 32, patch: int = 4) -> tuple[nn.Module, list[str]]:
    """A VisionTransformer from scratch for size x size images in patch x patch patches, its heads of 32 features."""
    if width % 32:
        raise ValueError(f"width of a vit must be a multiple of 32 (its head size), got {width}")
    if patch > size:
        raise ValueError(f"patch_size must be at most the image's {size} pixels, got {patch}")
    body = timm.models.VisionTransformer(
        img_size=size, patch_size=patch, num_classes=classes, embed_dim=width, depth=depth, num_heads=width // 32
    )
    return _hidden(body)


def vit_b8(classes: int) -> tuple[nn.Module, list[str]]:
    """timm's vit_base_patch8_224 for images of 224 pixels (paper A, C.2): 12 blocks of width 768, random weights."""
    return _hidden(timm.create_model("vit_base_patch8_224", pretrained=False, num_classes=classes))


def vit_tiny(classes: int) -> tuple[nn.Module, list[str]]:
    """timm's vit_tiny_patch16_224 for images of 224 pixels (paper B, I): 12 blocks of width 192, random weights."""
    return _hidden(timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=classes))


def _hidden(body: nn.Module) -> tuple[nn.Module, list[str]]:
    qkv.split(body)
    names = [name for name, m in body.named_modules() if isinstance(m, nn.Linear)]
    return body, [name for name in names if name.startswith("blocks.")]
