"""What a trial is made of: frozen configurations, their identity, and the seeds drawn from them.

Imports nothing heavy, so that the command line can plan and refuse without torch.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args


class UsageError(Exception):
    """Bad input: shown as one message, exit status 2, before anything is started or written."""


IN_AUTHORITY = re.compile(r"(://[^/\s:@]*):(?!\d+/)\S+@")  # a database's may hold a slash, any may hold an @
IN_QUERY = re.compile(r"([?&][\w.-]*(?:password|passwd|pwd|token)=)[^\s&#]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """`text` with the password of every address in it as ***; for whatever is printed or written."""
    return IN_QUERY.sub(r"\1***", IN_AUTHORITY.sub(r"\1:***@", text))


@dataclass(frozen=True, kw_only=True)
class Load:
    """Stage: a data set, split for one seed. Sizes 0 mean all of the canonical split.

    `binary` makes two classes of the lower and the upper half of the labels (0-4 against 5-9; paper A, B.4).
    A trial's own data have no `name`; other data of the same trial do, and stages and measures choose them with `on`.
    """

    name: str = ""
    data: str = "digits"
    digest: str = ""
    train_size: int = 0
    test_size: int = 0
    validation: float = 0.0
    binary: bool = False
    root: str = field(default="", metadata={"identity": False})


@dataclass(frozen=True, kw_only=True)
class Build:
    """Stage: an untrained network. `source` is the digest of a user-given function's source."""

    model: str = "fcn"
    width: int = 200
    depth: int = 4
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Factorize:
    """Stage: every hidden layer becomes a product of two factors of inner dimension `rank`."""

    rank: int


@dataclass(frozen=True, kw_only=True)
class Train:
    """Stage: the training loop. Every default of a penalty, a projection, early stopping or an adversary means "off".

    adversarial_ratio of each batch is replaced by adversarial points of radius train_eps. `penalty_refresh` n > 0 takes
    the nuclear norm's gradient from a polar factor that is renewed every n steps.

    `on` names the data (Load.name). `loss` is one of study.losses, `optimizer` ("" is AdamW) and `schedule` are names
    of study.optimise; `multistep` multiplies the rate by gamma after each of the epochs in `milestones`. With patience,
    the best epoch by `stop_on` is kept: "" is the validation loss (the adversarial one under an adversary), else
    accuracy or adversarial_accuracy. `freeze` names layers that keep every bit, statistics too; "encoder" is all but
    the head. `autocast` runs forward passes in bfloat16: "gpu" on a GPU alone, "always" on a processor too.
    """

    epochs: int = 40
    batch_size: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    penalty: str = ""
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
    """Measure: robust accuracy under a named attack and the worst-point loss gap by native PGD, in one norm.

    `backend` art runs the attack through the toolbox. `certify` spares the samples that a certificate proves safe.
    `audit_queries` asks Square, an attack without gradients, at the gap_eps (0: off). `sensitivity` adds how far the
    encoder's output moves at the worst points (paper A, B.4). `splits` among test and validation; `on` names the data
    where they are not the trial's own.
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
    splits: tuple[str, ...] = ("test",)
    on: str = ""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Measure: compressibility, operator norms and their bounds of every hidden layer."""

    share: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Prunability:
    """Measure: accuracy after keeping a share of the rows of every hidden layer."""

    kept: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Measure: what the net costs to ship, to run and to train. `repeats` forward passes are timed."""

    repeats: int = 50


Stage = Load | Build | Factorize | Train | Remove | Prune | Quantize | Plant | Gaussian | Ascend
Measure = Accuracy | Robustness | Structure | Prunability | Cost


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One experiment: the same trial gives the same deterministic rows, in this process or in a worker."""

    seed: int
    stages: tuple[Stage, ...]
    measures: tuple[Measure, ...]


def plain(value: Any) -> Any:
    """`value` as JSON knows it: tuples as lists, NumPy scalars as Python numbers, whole floats kept as floats."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def canonical(config: Any) -> dict[str, Any]:
    """A configuration as a JSON-able dict with its type and only the fields that differ from their defaults."""
    out: dict[str, Any] = {"type": type(config).__name__}
    for f in dataclasses.fields(config):
        value = plain(getattr(config, f.name))
        if f.metadata.get("identity", True) and (f.default is dataclasses.MISSING or value != plain(f.default)):
            out[f.name] = value
    return out


def canonical_trial(trial: Trial) -> dict[str, Any]:
    """The whole trial as a JSON-able dict: what the fingerprint is taken of."""
    return {
        "seed": plain(trial.seed),
        "stages": [canonical(s) for s in trial.stages],
        "measures": [canonical(m) for m in trial.measures],
    }


def trial_of(found: Mapping[str, Any], root: str = "") -> Trial:
    """The trial of a canonical form (canonical_trial's inverse); `root` is the data's folder. KeyError, TypeError for
    what this version does not know."""
    kinds = {kind.__name__: kind for kind in (*get_args(Stage), *get_args(Measure))}

    def config(given: Mapping[str, Any]) -> Any:
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if k != "type"}
        return kinds[given["type"]](**fields, **({"root": root} if given["type"] == "Load" else {}))

    return Trial(
        seed=found["seed"],
        stages=tuple(map(config, found["stages"])),
        measures=tuple(map(config, found["measures"])),
    )


def digest_of(value: Any) -> str:
    """sha256 of a JSON-able value in canonical form, hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(trial: Trial) -> str:
    """The trial's identity: 16 hexadecimal digits of the hash of its non-default configuration."""
    return digest_of(canonical_trial(trial))[:16]


def base_key(trial: Trial) -> str:
    """The identity of a trial's stages up to its first training: trials that share it share their trained base."""
    at = next((i for i, s in enumerate(trial.stages) if isinstance(s, Train)), -1)
    return digest_of([trial.seed, [canonical(s) for s in trial.stages[: at + 1]]])[:16]


def seed_for(seed: int, purpose: str) -> int:
    """An independent seed in [0, 2^63) for each purpose of a trial's seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "big") >> 1
