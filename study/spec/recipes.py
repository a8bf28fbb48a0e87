"""Published training recipes by name: parts of a training, for the first one and for fine-tuning alike. Literal.

What a paper leaves open stands at the knob's default.
"""

from collections.abc import Mapping
from typing import Any

RECIPES: dict[str, dict[str, Any]] = {}
PREFIXES = {"recipe": "", "finetune_recipe": "finetune_"}


def parts(values: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs that the recipes among knob values set, by name; nothing where none is named."""
    named = {prefix: values[knob] for knob, prefix in PREFIXES.items() if values.get(knob)}
    return {f"{prefix}{part}": value for prefix, name in named.items() for part, value in RECIPES[name].items()}
