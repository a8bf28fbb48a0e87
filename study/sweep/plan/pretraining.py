"""The data that nets of a plan are pretrained on, where these are not the trial's own: their names and digests."""

from collections.abc import Iterable, Mapping
from typing import Any

from study.spec.datasets import DATASETS, is_user_function
from study.spec.knobs import KNOBS
from study.spec.studies import Preset
from study.sweep.plan.refusals import data_digest


def names(preset: Preset, settings: Mapping[str, Any]) -> list[str]:
    """The other data that a preset's arms pretrain on, each once."""
    arms = [arm for arm in preset.arms if arm.family in KNOBS["pretrain_data"].families]
    given = [v for arm in arms for v in arm.axes.get("pretrain_data", (settings["pretrain_data"],))]
    return [name for name in dict.fromkeys(map(str, given)) if name in DATASETS or is_user_function(name)]


def digests(found: Iterable[str], data_dir: str, need_data: bool = True) -> dict[str, str]:
    """The content digest of each; UsageError for data that are not there, empty for named ones that need not be."""
    return {name: data_digest(name, data_dir, need_data) for name in found}
