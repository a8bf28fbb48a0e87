"""What a trial is made of: frozen configurations, their identity, and the seeds drawn from them.

Imports nothing heavy, so that the command line can plan and refuse without torch.
"""

from dataclasses import dataclass, field

from study.spec.measures import Accuracy as Accuracy
from study.spec.measures import Boundaries as Boundaries
from study.spec.measures import Cost as Cost
from study.spec.measures import FeatureMaps as FeatureMaps
from study.spec.measures import Measure as Measure
from study.spec.measures import Own as Own
from study.spec.measures import Prunability as Prunability
from study.spec.measures import PruningCurve as PruningCurve
from study.spec.measures import Representations as Representations
from study.spec.measures import Risk as Risk
from study.spec.measures import Robustness as Robustness
from study.spec.measures import Structure as Structure
from study.spec.measures import Universal as Universal


@dataclass(frozen=True, kw_only=True)
class Load:
    """Stage: a data set, split for one seed. Sizes 0 mean all of the canonical split.

    `binary` makes two classes of the lower and the upper half of the labels (0-4 against 5-9; paper A, B.4).
    A trial's own data have no `name`; other data of the same trial do, and stages and measures choose them with `on`.
    `validation_seed` draws the validation images, and before the test images: trials of all seeds then have the same
    ones, and no image that selects is in any test split. None: the trial's own seed draws them, from what is left.
    `classes` is "", or lower or upper: the images of that half of the labels alone, relabelled from 0. `part` is "", or
    first or second: of all images for training that half, stratified and drawn by the seed; the test images are those
    of the whole. Two loads of one data set in one trial that differ in `classes` or `part` share no image for training.
    """

    name: str = ""
    data: str = "digits"
    digest: str = ""
    train_size: int = 0
    test_size: int = 0
    validation: float = 0.0
    binary: bool = False
    validation_seed: int | None = None
    classes: str = ""
    part: str = ""
    root: str = field(default="", metadata={"identity": False})


@dataclass(frozen=True, kw_only=True)
class Build:
    """Stage: a network before its training. `source` is the digest of a user-given function's source.

    `width_taper` is the width of each hidden layer of an fcn over that of the one before; `width_multiplier` multiplies
    every channel count of a convolutional net, `stem` small is 3 x 3 without stride or pooling, `patch_size` a vit's:
    study.spec.models says which model takes which. `weights` are published ones by their library's name, or file:DIGEST
    of a file, which lies at `weights_file`; "" draws them from the seed. `on` names the data that it is built for
    (Load.name), by default the trial's own. `input_mean` and `input_std` are what images are normalised by, per channel
    or one number for all, where that is not the data set's own.
    """

    model: str = "fcn"
    width: int = 200
    depth: int = 4
    source: str = ""
    width_multiplier: float = 1.0
    stem: str = "published"
    patch_size: int = 4
    width_taper: float = 1.0
    weights: str = ""
    weights_file: str = field(default="", metadata={"identity": False})
    on: str = ""
    input_mean: tuple[float, ...] = ()
    input_std: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Factorize:
    """Stage: every hidden layer becomes a product of two factors of inner dimension `rank`."""

    rank: int


@dataclass(frozen=True, kw_only=True)
class Train:
    """Stage: the training loop. Every default of a penalty, a projection, early stopping or an adversary means "off".

    adversarial_ratio of each batch is replaced by adversarial points of radius train_eps. `penalty_refresh` n > 0 takes
    the nuclear norm's gradient from a polar factor that is renewed every n steps.

    `l1`, `spread_control` and `alignment_penalty` are strengths of penalties that stand beside alpha's: the sum of |w|
    over `l1_on` (the hidden weights, or all parameters), the variance of the largest 5 % of row norms, the alignment of
    consecutive layers (whose gradient is renewed every penalty_refresh steps too; 0: in each).

    `penalty_source` is the digest of a user-given penalty's source. `on` names the data (Load.name). `loss` is one of
    trial/losses, `optimizer` ("" is AdamW) and `schedule` are names of trial/optimise; `multistep` multiplies the rate
    by gamma after each of the epochs in `milestones`. With patience, the best epoch by `stop_on` is kept: "" is the
    validation loss (the adversarial one under an adversary), else accuracy or adversarial_accuracy. `freeze` names
    layers that keep every bit, statistics too; "encoder" is all but the head. `autocast` runs forward passes in
    bfloat16: "gpu" on a GPU alone, "always" on a processor too. `distillation` d > 0 trains on (1 - d) times the loss
    plus d times that of learning from the logits of the Teacher before, at `temperature` (trial/losses). Over the first
    `train_warmup` epochs the radius of the adversary grows in even steps to train_eps.
    """

    epochs: int = 40
    batch_size: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    penalty: str = ""
    penalty_source: str = ""
    alpha: float = 0.0
    frobenius: float = 0.0
    patience: int = 0
    penalty_refresh: int = 0
    schedule: str = ""
    augment: str = ""
    adversarial_ratio: float = 0.0
    train_norm: str = "linf"
    train_eps: float = 0.0
    train_attack: str = "pgd"
    train_steps: int = 10
    on: str = ""
    loss: str = ""
    optimizer: str = ""
    momentum: float = 0.0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    stop_on: str = ""
    freeze: tuple[str, ...] = ()
    autocast: str = ""
    l1: float = 0.0
    l1_on: str = "hidden"
    spread_control: float = 0.0
    alignment_penalty: float = 0.0
    distillation: float = 0.0
    temperature: float = 4.0
    train_warmup: int = 0


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Stage: a frozen copy of the net as it is here is kept; later trainings with `distillation` learn from it."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """Stage: a fresh head for the classes of the trial's own data, in the place of the old one, drawn by the seed."""


@dataclass(frozen=True, kw_only=True)
class Interim:
    """Stage: clean accuracy and loss of the net as it is here, on the test images of the data named `on`."""

    on: str


@dataclass(frozen=True, kw_only=True)
class Remove:
    """Stage: the share `ratio` of every hidden layer's rows is removed, with the columns that read them."""

    ratio: float


@dataclass(frozen=True, kw_only=True)
class Prune:
    """Stage: a mask on the weights that stays on. Each layer keeps the share keep_prob, or its own of `layers` (one per
    weight tensor, first layer first; (): off), or with lam > 0 what `rule` says at the trade-off lam, layer by layer or
    `uniform`, never below `floor`. `budget` layer or global; `on` hidden or all; `draw` is which one of the random
    masks of a seed (paper B; compression.mask, compression.tradeoff)."""

    keep_prob: float = 1.0
    mask: str = "magnitude"
    lam: float = 0.0
    floor: float = 0.05
    budget: str = "layer"
    on: str = "hidden"
    draw: int = 0
    rule: str = "chebyshev"
    uniform: bool = False
    layers: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Decompose:
    """Stage: every hidden layer becomes factors of its weights, which are fewer by the share `ratio`. `method` is of
    convolutions: svd, tucker, tt or cp; linear layers are svd. cp takes so many `sweeps`."""

    ratio: float
    method: str = "svd"
    sweeps: int = 50


@dataclass(frozen=True, kw_only=True)
class Recalibrate:
    """Stage: BatchNorm's running statistics become those of the net as it is, over the training images."""


@dataclass(frozen=True, kw_only=True)
class Quantize:
    """Stage: weights and activations on 2^bits levels, straight-through gradients; stays on in later training.

    `granularity`: one scale of weights per tensor, or per output row (`channel`). `one_bit`: what bits 1 does to
    weights (quantize.WeightQuantizer). `aware`: the net is yet to be trained, ranges of activations move until then.
    """

    bits: int
    granularity: str = "tensor"
    one_bit: str = "mean"
    aware: bool = False


@dataclass(frozen=True, kw_only=True)
class Plant:
    """Stage, positive control: move hidden weights towards few rows or rank one at the same Frobenius norm."""

    structure: str
    strength: float


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Stage: a matrix of independent standard normal entries, without data or network."""

    rows: int = 100
    columns: int = 100


@dataclass(frozen=True, kw_only=True)
class Ascend:
    """Stage: gradient ascent on an operator norm of the matrix at its initial Frobenius norm (paper A, B.3)."""

    norm: str
    steps: int = 300
    step_size: float = 0.02


Stage = (
    Load
    | Build
    | Factorize
    | Train
    | Teacher
    | Head
    | Interim
    | Remove
    | Prune
    | Decompose
    | Recalibrate
    | Quantize
    | Plant
    | Gaussian
    | Ascend
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One experiment: the same trial gives the same deterministic rows, in this process or in a worker."""

    seed: int
    stages: tuple[Stage, ...]
    measures: tuple[Measure, ...]


ON_LAYERS = (Factorize, Decompose, Prune, Quantize)  # stages that change layers, and no other parameter


def aligned(trial: Trial) -> bool:
    """Whether any of its trainings penalises the alignment of layers."""
    return any(isinstance(stage, Train) and stage.alignment_penalty > 0 for stage in trial.stages)
