"""What a trial is made of: frozen configurations, their identity, and the seeds drawn from them.

Imports nothing heavy, so that the command line can plan and refuse without torch.
"""

from dataclasses import dataclass, field


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

    `width_multiplier` multiplies every channel count of a convolutional net, `stem` small is 3 x 3 without stride or
    pooling, `patch_size` a vit's: study.spec.models says which model takes which. `weights` are published ones by their
    library's name, or file:DIGEST of a file, which lies at `weights_file`; "" draws them from the seed. `on` names the
    data that it is built for (Load.name), by default the trial's own.
    """

    model: str = "fcn"
    width: int = 200
    depth: int = 4
    source: str = ""
    width_multiplier: float = 1.0
    stem: str = "published"
    patch_size: int = 4
    weights: str = ""
    weights_file: str = field(default="", metadata={"identity": False})
    on: str = ""


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
    bfloat16: "gpu" on a GPU alone, "always" on a processor too.
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
    """Stage: a mask on the hidden weights that stays on. Each layer keeps the share keep_prob, or with lam > 0 the
    layer-wise share of the exact trade-off front at lam, never below `floor`."""

    keep_prob: float = 1.0
    mask: str = "magnitude"
    lam: float = 0.0
    floor: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Quantize:
    """Stage: weights and activations on 2^bits levels, straight-through gradients; stays on in later training."""

    bits: int


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


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Measure: clean accuracy and loss on the train and test split, with `validation` on that split too; `on` names the
    data where they are not the trial's own."""

    validation: bool = False
    on: str = ""


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """Measure: robust accuracy under a named attack and the worst-point loss gap by native AutoPGD, in one norm.

    `backend` art runs the attack through the toolbox. `certify` spares the samples that a certificate proves safe.
    `audit_queries` asks Square, an attack without gradients, at the gap_eps (0: off). `sensitivity` adds how far the
    encoder's output moves at the worst points (paper A, B.4). `splits` among test and validation; `on` names the data
    where they are not the trial's own. Without `checks` the rows of the checks for gradient masking are left out: of
    two attacks in one norm one has them. A net whose output depends on chance is attacked as its mean over `eot` draws
    (0: refused). `queries` are those of Square within native AutoAttack (0: its default). The revisions are those of
    the attacks used (spec.attack_names.KEPT): part of what a trial is, while its rows name what really made them.
    """

    norm: str
    eps: tuple[float, ...]
    iterations: int = 20
    restarts: int = 1
    gap_eps: tuple[float, ...] = ()
    gap_iterations: int = 50
    sensitivity: bool = False
    backend: str = "art"
    attack: str = "apgd"
    certify: bool = False
    audit_queries: int = 0
    revision: int = 1
    pgd_revision: int = 1
    gap_revision: int = 0
    square_revision: int = 1
    splits: tuple[str, ...] = ("test",)
    on: str = ""
    checks: bool = True
    eot: int = 0
    queries: int = 0


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Measure: compressibility, operator norms and their bounds of every hidden layer."""

    share: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Prunability:
    """Measure: accuracy after keeping a share of the rows of every hidden layer."""

    kept: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05)


@dataclass(frozen=True, kw_only=True)
class PruningCurve:
    """Measure: clean and robust accuracy of the net pruned to shares `kept`, by each of `methods` (nets.compression
    .shares), at one budget per norm. The attack and its revisions are as Robustness has them."""

    methods: tuple[str, ...]
    kept: tuple[float, ...]
    eps_linf: float
    eps_l2: float
    iterations: int = 20
    restarts: int = 1
    backend: str = "art"
    attack: str = "apgd"
    eot: int = 0
    revision: int = 1


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Measure: what the net costs to ship, to run and to train. `repeats` forward passes are timed."""

    repeats: int = 50


@dataclass(frozen=True, kw_only=True)
class Universal:
    """Measure: one perturbation for all images, made on `images` training images (0: all), judged on the test images.

    `makers` are among spec.attack_names.UNIVERSAL. fgsm makes `passes` over the images, pgd 8 steps for each pass; the
    toolbox's takes one image after the other, hence fewer of them and of passes. Beside them stands the mean over
    `draws` random perturbations of equal norm. `iterations` are those of the AutoPGD that universal_share asks.
    """

    norm: str
    eps: tuple[float, ...]
    makers: tuple[str, ...] = ("fgsm",)
    images: int = 1000
    toolbox_images: int = 100
    passes: int = 5
    toolbox_passes: int = 3
    draws: int = 10
    iterations: int = 20
    eot: int = 0


@dataclass(frozen=True, kw_only=True)
class Representations:
    """Measure: how far the attack moves the encoder's output, and along which singular directions of the first layer
    (paper A, section 4.1), at the worst points of AutoPGD on the loss. `share` of the directions count as dominant; the
    first `curve` of them have rows of their own."""

    norm: str
    eps: tuple[float, ...]
    iterations: int = 50
    share: float = 0.1
    curve: int = 64


@dataclass(frozen=True, kw_only=True)
class Boundaries:
    """Measure: predicted classes on a grid of `side` x `side` points of two planes of principal components, of the
    test images and of their features, with `points` test images and their worst points under AutoPGD at each of the
    `budgets` (norm, eps) (paper A, Figure 2)."""

    budgets: tuple[tuple[str, float], ...]
    side: int = 61
    points: int = 20
    iterations: int = 50


@dataclass(frozen=True, kw_only=True)
class Own:
    """Measure: a function of the user's, package:function; `source` is the digest of its module's source."""

    function: str
    source: str


Stage = Load | Build | Factorize | Train | Head | Interim | Remove | Prune | Quantize | Plant | Gaussian | Ascend
Measure = (
    Accuracy
    | Robustness
    | Structure
    | Prunability
    | PruningCurve
    | Cost
    | Universal
    | Representations
    | Boundaries
    | Own
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One experiment: the same trial gives the same deterministic rows, in this process or in a worker."""

    seed: int
    stages: tuple[Stage, ...]
    measures: tuple[Measure, ...]


def aligned(trial: Trial) -> bool:
    """Whether any of its trainings penalises the alignment of layers."""
    return any(isinstance(stage, Train) and stage.alignment_penalty > 0 for stage in trial.stages)
