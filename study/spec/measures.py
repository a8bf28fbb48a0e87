"""What is measured on a trained net: frozen configurations, part of what a trial is (study.spec.config)."""

from dataclasses import dataclass

CHECKED = 100  # images that the checks for masking attack once more: at eps = 0 none ever leaves the attack


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
    `audit_queries` asks Square, an attack without gradients, at the gap_eps (0: off), of the first `audit_images` of
    each split (0: all). `sensitivity` adds how far the encoder's output moves at the worst points (paper A, B.4).
    `splits` among test and validation; `on` names the data where they are not the trial's own. Without `checks` the
    rows of the checks for gradient masking are left out: of two attacks in one norm one has them. A net whose output
    depends on chance is attacked as its mean over `eot` draws (0: refused). `queries` are those of Square within native
    AutoAttack (0: its default), `images` how many of each split are attacked, the first ones (0: all). The revisions
    are those of the attacks used (spec.attack_names.KEPT): part of what a trial is, while its rows name what really
    made them.
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
    audit_images: int = 0
    revision: int = 1
    pgd_revision: int = 1
    gap_revision: int = 0
    square_revision: int = 1
    splits: tuple[str, ...] = ("test",)
    on: str = ""
    checks: bool = True
    eot: int = 0
    queries: int = 0
    images: int = 0


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
class Risk:
    """Measure: how far the logits move in the l_2 ball (paper B's risk gamma: mean over `points` random ones, largest
    of them, worst found by `iterations` steps), how far they lie from the uncompressed net's (zeta), and the bounds of
    both where they hold. Of the first `images` test images, 0: all."""

    eps: tuple[float, ...]
    points: int = 200
    images: int = 200
    iterations: int = 30


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
class FeatureMaps:
    """Measure: how far an attack moves what the last `layers` layers pass on, how far clean and attacked images mix
    there, and a t-SNE plane of both (paper C, Figure 2). Of the first `images` test images of class `label` (-1: of all
    classes); `attack` is pgd or apgd (on the loss), of so many `iterations`; neighbours are the `nearest` ones."""

    norm: str
    eps: float
    attack: str = "apgd"
    iterations: int = 50
    label: int = -1
    layers: int = 3
    images: int = 100
    nearest: int = 10


@dataclass(frozen=True, kw_only=True)
class Own:
    """Measure: a function of the user's, package:function; `source` is the digest of its module's source."""

    function: str
    source: str


Measure = (
    Accuracy
    | Robustness
    | Structure
    | Prunability
    | PruningCurve
    | Cost
    | Risk
    | Universal
    | Representations
    | Boundaries
    | FeatureMaps
    | Own
)
