"""The table "Kinds of layers" of docs/extending.md, cell by cell, on a net of each kind (tests/layer_kinds.py): what it
says is right equals a twin made by hand, what it says is refused is refused by the plan."""

import copy
import re

import pytest
import torch

from study.nets import net as nets
from study.spec.config import Decompose, Factorize, Prune, Quantize, Remove, Train
from study.spec.errors import UsageError
from study.sweep.export import to_onnx
from tests.foreign_cases import SHAPE
from tests.helpers import ROOT
from tests.layer_checks import CHECKS, X, check_sizes, given
from tests.layer_kinds import ROWS

COLUMNS = ("masks", "removal", "factors", "bits", "penalties", "norms", "sizes")
STAGES = {
    "masks": (Prune(keep_prob=0.5, mask="magnitude"),),
    "removal": (Remove(ratio=0.5),),
    "factors": (Factorize(rank=2), Decompose(ratio=0.5, method="svd"), Decompose(ratio=0.5, method="tt")),
    "bits": (Quantize(bits=4), Quantize(bits=8, granularity="channel")),
    "penalties": (Train(epochs=1, alpha=0.1, penalty="group_lasso"),),
}
# What a refusal names, by net where it is not the kind of layer.
NAMED = {
    "GroupNorm": r"n2 \(GroupNorm\) normalises them together",
    "LayerNorm": r"norm \(LayerNorm\) normalises them together",
    "two groups": r"middle\.0 is a convolution in 2 groups", "depthwise": r"middle\.0 is depthwise",
    "circular, strided, in groups": r"middle\.0 is a convolution in 2 groups", "Linear": "5 has the weight of 3",
    "Conv2d": r"middle\.2 has the weight of middle\.0",
    "read": "b is never called, its weight is read|of b cannot be removed: it is never called",
    "weight standardisation": r"middle\.0, a layer of type Standardised", "squashed": "the parametrization Squashed",
    "a bare parameter": "does not run", "Bilinear": r"does not run \(RuntimeError: bilinear", "Conv3d": "does not run",
    "GRU": "no coupling of them is found", "MultiheadAttention": r"mix .*MultiheadAttention",
    "gated": "filters of a cannot be removed: they are tied to one another",
    "shuffled": "filters of a cannot be removed: a channel of zeros is not without effect",
    "maxout": "filters of a cannot be removed: they are tied to one another",
    "split twice": "no coupling of them is found, their channels are split and joined too often",
    "TransformerEncoderLayer": r"layer\.self_attn is a .*MultiheadAttention|norm2 \(LayerNorm\) normalises them",
}  # fmt: skip


def table():
    """The lines of the table: the kind, and a word by column."""
    text = (ROOT / "docs/extending.md").read_text().partition("## Kinds of layers\n")[2].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return lines[0], {cells[0]: cells[1:-1] for cells in lines[2:]}


CELLS = [
    pytest.param(name, column, word, id=f"{name}-{column}-{word}")
    for row, words in table()[1].items()
    for name in ROWS.get(row, ())
    for column, word in zip(COLUMNS, words, strict=True)
]
NETS = {name: cell for row in ROWS.values() for name, cell in row.items()}


def test_the_table_speaks_of_every_net_and_of_no_other():
    head, rows = table()
    assert tuple(head[1:-1]) == COLUMNS
    assert list(rows) == list(ROWS)
    assert {word for words in rows.values() for word in words} == {"yes", "no", "left"}


@pytest.mark.parametrize(("name", "column", "word"), CELLS)
def test_cell(name, column, word, tried):
    def body():
        torch.manual_seed(0)
        return NETS[name][0]()

    if word == "no":
        for stage in STAGES[column]:
            with pytest.raises(UsageError, match=NAMED.get(name, name)):
                tried(body, stage)
        return
    net = given(body)
    before = copy.deepcopy(net.state_dict())
    if column == "sizes":
        words = dict(zip(COLUMNS, table()[1][row_of(name)], strict=True))
        check_sizes(net, *NETS[name], factors=words["factors"] != "no")
    else:
        CHECKS[column](net)
    assert all(torch.equal(W, before[n]) for n, W in net.state_dict().items()), "the net is left as it was"
    beside = [p for layer in nets.weighted(net).values() for p in layer.parameters()]
    alone = sum(p.numel() for p in net.parameters() if p.ndim > 1 and not any(p is q for q in beside))
    assert bool(alone) == (word == "left" or "left" in table()[1][row_of(name)])
    if alone:
        share = f"{100 * alone / sum(p.numel() for p in net.parameters()):.3g} % of its parameters"
        assert re.search(rf"leave as it is what is no Linear or Conv2d layer: .*{share}", tried(body))


def row_of(name):
    return next(row for row, cells in ROWS.items() if name in cells)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETS if name != "weight standardisation"])  # torch's exporter cannot
def test_an_onnx_program_of_each_kind_gives_its_logits(name):
    for library in to_onnx.NEEDED:
        pytest.importorskip(library, reason="the extra `export` brings it")
    net = given(NETS[name][0])
    with torch.no_grad():
        torch.testing.assert_close(to_onnx.logits(to_onnx.program(net, SHAPE), X), net(X), rtol=1e-4, atol=1e-5)
