"""The table of models: which knobs each takes, whose weights it can be given, what it costs. No torch here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FILE = "file:"  # what a file of weights of one's own is named by
ENLARGED = 32  # pixels a side that every image has at least, but for an fcn and a user's own net


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model of the table.

    `knobs` are those of OFF that it takes, `weights` the library's own names of published ones. `pixels` is the side of
    the images that it is given (0: as they come; ENLARGED: at least that; 224: just that). `millions` are the
    multiply-adds of its layers with weights for one image of that side (of `counted_at`, where they are taken as they
    come), and its parameters with ten classes, both in millions and as published (counted on the built net; 0: they
    follow from width and depth).
    """

    pixels: int = ENLARGED
    counted_at: int = 0
    knobs: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    millions: tuple[float, float] = (0.0, 0.0)


_RESNET = ("width_multiplier", "stem")
MODELS: dict[str, Model] = {
    "fcn": Model(pixels=0, knobs=("width_taper",)),
    "attention_block": Model(pixels=0, knobs=("patch_size",)),
    "cnn": Model(knobs=("width_multiplier",), millions=(19.8, 0.13)),
    "cnn8": Model(pixels=0, counted_at=28, knobs=("width_multiplier",), millions=(13.7, 0.55)),
    "resnet18": Model(knobs=_RESNET, weights=("IMAGENET1K_V1",), millions=(37.0, 11.2)),
    "wrn50_2": Model(knobs=_RESNET, weights=("IMAGENET1K_V1", "IMAGENET1K_V2"), millions=(233.0, 66.9)),
    "wrn101_2": Model(knobs=_RESNET, weights=("IMAGENET1K_V1", "IMAGENET1K_V2"), millions=(464.0, 125.0)),
    "vgg16": Model(knobs=("width_multiplier",), weights=("IMAGENET1K_V1",), millions=(313.0, 14.7)),
    "vit": Model(knobs=("patch_size",)),
    "vit_b8": Model(pixels=224, weights=("augreg_in21k_ft_in1k",), millions=(66_800.0, 85.8)),
    "vit_tiny": Model(pixels=224, weights=("augreg_in21k_ft_in1k",), millions=(1075.0, 5.5)),
    "swin_t": Model(pixels=224, weights=("IMAGENET1K_V1",), millions=(4350.0, 27.5)),
}
OFF: dict[str, Any] = {"width_taper": 1.0, "width_multiplier": 1.0, "stem": "published", "patch_size": 4}
NAMES = tuple(dict.fromkeys(name for model in MODELS.values() for name in model.weights))


def side(model: str, height: int) -> int:
    """Pixels a side of the images that a model is given where the data's have `height`; 0: as they are."""
    pixels = MODELS[model].pixels if model in MODELS else 0
    return max(pixels, height) if pixels == ENLARGED else pixels


def refusal(model: str, values: Mapping[str, Any]) -> str:
    """Why a model cannot be built with these values of the knobs in OFF and of `weights`; "" where it can.

    A user's own function takes a file of weights alone, like an fcn.
    """
    info = MODELS.get(model, Model())
    moved = [name for name, off in OFF.items() if values.get(name, off) != off]
    for name in moved:
        if name not in info.knobs:
            return f"{name}: it goes with model {_holders(name)}, got {model}; leave it away"
    weights = values.get("weights", "")
    if not weights or weights.startswith(FILE):
        return ""
    if weights not in info.weights:
        known = f"{', '.join(info.weights)}, none or file:PATH" if info.weights else "none or file:PATH"
        return f"weights: {weights} are not of model {model}; give {known}"
    return f"weights: {weights} are those of the published net; leave {', '.join(moved)} away" if moved else ""


def _holders(knob: str) -> str:
    return ", ".join(name for name, model in MODELS.items() if knob in model.knobs)


def file_digests(values: Iterable[Any], digest: Any) -> dict[str, str]:
    """What `digest` says of each file of weights among knob values, by the value."""
    named = {value for value in values if isinstance(value, str) and value.startswith(FILE)}
    return {value: digest(value.removeprefix(FILE)) for value in sorted(named)}
