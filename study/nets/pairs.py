"""Which hidden layers follow one another: what the alignment of layers is taken of."""

from collections.abc import Collection
from itertools import pairwise

from study.nets.net import Net, groups, layers, weight_matrices

WEIGHING = ("q", "k")  # of a transformer's projections: they weigh tokens, and pass nothing on
UNPAIRED = (
    "alignment_penalty needs two trained hidden layers in a row of which the later takes what the earlier gives "
    "(dense layers and 1x1 convolutions do), and this net has none; leave it at 0"
)


def pairs(net: Net, names: Collection[str] | None = None) -> list[tuple[str, str]]:
    """The names of consecutive hidden matrices (earlier, later) of which the later takes what the earlier gives.

    In the net's order and by shape: a k x k convolution as a matrix takes patches and follows nothing; a branch whose
    shape happens to fit counts. Of a transformer's q, k and v the last alone counts. A grouped convolution, whose
    matrix is several maps, is in no pair. Where `names` of layers are given, a pair with any other is left out.
    """
    several = {name for name, layer in layers(net).items() if groups(layer) > 1}
    rows = {name: W for name, W in weight_matrices(net).items() if name.rpartition(".")[2] not in WEIGHING}
    among = rows if names is None else weight_matrices(net, names)
    return [
        (earlier, later)
        for earlier, later in pairwise(rows)
        if rows[earlier].shape[0] == rows[later].shape[1] and {earlier, later} <= {*among} - several
    ]
