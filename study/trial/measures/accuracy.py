"""Accuracy without an attack: of the net as trained, and after keeping a share of its rows."""

from study.nets.compression.prune import keep_rows
from study.nets.net import Net
from study.nets.splits import Dataset
from study.spec.config import Accuracy, Prunability
from study.spec.rows import Row, row
from study.trial.measures.cost import parameters
from study.trial.state import State
from study.trial.train import evaluate


def accuracy(state: State, config: Accuracy) -> list[Row]:
    """clean_accuracy and clean_loss on the train and test split, where asked on the validation split too, and the
    parameters that the net keeps."""
    assert state.net is not None
    data = state.on(config.on)
    splits = ("train", "test", "validation") if config.validation else ("train", "test")
    rows = [r for name in splits for r in clean(state.net, data, name, config.on)]
    return rows if config.on else [*rows, row("parameters", parameters(state.net))]


def clean(net: Net, data: Dataset, split: str, on: str = "") -> list[Row]:
    """clean_accuracy and clean_loss of a net on a split; rows of data that are not the trial's own say so in `on`."""
    images = data.split(split)
    share, loss = evaluate(net, images)
    at = {"split": split, "n": len(images.y)} | ({"on": on} if on else {})
    return [row("clean_accuracy", share, **at), row("clean_loss", loss, **at)]


def prunability(state: State, config: Prunability) -> list[Row]:
    """pruned_accuracy on the test split for each kept share of the rows (paper A, Figure 4)."""
    assert state.net is not None
    assert state.data is not None
    test = state.data.test
    return [
        row("pruned_accuracy", evaluate(keep_rows(state.net, kept), test)[0], kept=kept, split="test", n=len(test.y))
        for kept in config.kept
    ]
