"""What the studies of paper A share: its published settings, budgets, and the controls that are planted by hand."""

from collections.abc import Mapping

from study.spec.domains import Value
from study.spec.studies import Arm

Axes = Mapping[str, tuple[Value, ...]]
HELD: Axes = {"frobenius": (1.0,), "adversarial_ratio": (0.0,)}
FREE: Axes = {"frobenius": (0.0,), "adversarial_ratio": (0.0,)}

# C.3: 8/255 and .5 for nets trained adversarially from end to end, a quarter of that for any other.
FULL = {"eps_linf": (2 / 255, 8 / 255), "judged_linf": 8 / 255, "eps_l2": (0.125, 0.5), "judged_l2": 0.5}
QUARTER = FULL | {"judged_linf": 2 / 255, "judged_l2": 0.125}
PUBLISHED_ATTACK = {"attack_iterations": 100, "attack_restarts": 5}
PUBLISHED = QUARTER | PUBLISHED_ATTACK | {"recipe": "paper_a"}
PUBLISHED_ADVERSARIAL = FULL | PUBLISHED_ATTACK | {"recipe": "paper_a_adversarial"}

FEW_IMAGES = {"train_size": 5000, "test_size": 1000}  # of a data set that is not digits, at laptop scale
TINY = {"epochs": 2, "test_size": 60, "attack_iterations": 5, "gap_iterations": 5}  # of smoke presets

SEEDS = (0, 1, 2, 3, 4)
TWO_SEEDS = (0, 1)
PLANTED_ROWS, PLANTED_SPECTRUM = (0.0, 0.2, 0.3, 0.4, 0.5), (0.0, 0.25, 0.5, 0.75, 1.0)


def control_neuron(held: Axes, family: str = "regularization") -> Arm:
    """Trained baselines whose rows are concentrated by hand."""
    return Arm(name="control_neuron", family=family, axes={"plant_rows": PLANTED_ROWS, **held})


def control_spectral(held: Axes) -> Arm:
    """Trained baselines whose spectra are concentrated by hand."""
    return Arm(name="control_spectral", family="regularization", axes={"plant_spectrum": PLANTED_SPECTRUM, **held})


def neuron(alphas: tuple[float, ...], penalty: str, held: Axes, name: str = "neuron") -> Arm:
    """Trained nets under a penalty of growing strength."""
    return Arm(name=name, family="regularization", axes={"alpha": alphas, "penalty": (penalty,), **held})


def spectral(ranks: tuple[int, ...], held: Axes) -> Arm:
    """Nets trained as products of two factors."""
    return Arm(name="spectral", family="low_rank", axes={"rank": ranks, **held})


# Convolutional nets at laptop scale: a quarter of the width, digits enlarged to 32 x 32; of cifar10-jpeg all training
# images (a few thousand end below .6 of clean accuracy) and a budget at which a net without adversarial training has
# some robust accuracy left. At a constant learning rate so few steps end anywhere (clean accuracy .89 to .99).
SMALL_NET = {
    "width_multiplier": 0.25,
    "learning_rate": 3e-3,
    "epochs": 20,
    "schedule": "cosine",
    "test_size": 200,
    "attack_iterations": 10,
}
QUICK = {"gap_iterations": 10, "eps_linf": (8 / 255, 16 / 255), "judged_linf": 16 / 255}
CONV_DIGITS = SMALL_NET | QUICK
# against the adversary that trained it a net of digits keeps nine tenths at 16/255: nothing could be told there
ATTACKED_DIGITS = {"train_eps": 24 / 255, "train_steps": 3, "eps_linf": (6 / 255, 24 / 255), "judged_linf": 24 / 255}
CONV_CIFAR = SMALL_NET | {
    "learning_rate": 1e-3,
    "epochs": 4,
    "test_size": 500,
    "eps_linf": (0.5 / 255, 2 / 255),
    "judged_linf": 0.5 / 255,
    "eps_l2": (0.125,),
    "judged_l2": 0.125,
}
ALPHAS_CIFAR = (0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2)  # of some 2000 steps
# Of arms whose alpha is that of the scale-invariant form. Planted rows: .3 already takes a third of clean accuracy.
ROWS_CIFAR = CONV_CIFAR | {"alpha": ALPHAS_CIFAR, "plant_rows": (0.0, 0.05, 0.1, 0.15, 0.2)}
SMOKE_CONV = TINY | {"epochs": 1, "width_multiplier": 0.125, "train_size": 60, "test_size": 20}
ALPHAS_INVARIANT = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2)
ALPHAS_FEW_STEPS = (0.0, 0.1, 0.3, 0.6, 1.0, 2.0, 3.0)  # a few hundred steps need more to concentrate anything
RANKS_CONV = (0, 64, 32, 20, 14, 10, 7)


def conv_arms(
    held: Axes = FREE, alphas: tuple[float, ...] = ALPHAS_INVARIANT, ranks: tuple[int, ...] = RANKS_CONV
) -> tuple[Arm, ...]:
    """Rows and spectra of a convolutional net, and the controls of both."""
    lasso = neuron(alphas, "group_lasso_invariant", held)
    return (lasso, spectral(ranks, held), control_neuron(held), control_spectral(held))


def smoke_conv_arms(held: Axes = FREE) -> tuple[Arm, ...]:
    """The same in two levels."""
    return (neuron((0.0, 0.1), "group_lasso_invariant", held), spectral((0, 8), held))


# The net of A's section B: two classes, two hidden layers of 300; at laptop scale, on a few thousand images, published.
BINARY = {"width": 300, "depth": 2, "binary": 1}
BINARY_FEW = FEW_IMAGES | {"epochs": 10, "eps_linf": (4 / 255, 8 / 255), "judged_linf": 8 / 255}
BINARY_OTHER = BINARY_FEW | {"eps_linf": (1 / 255, 2 / 255), "judged_linf": 2 / 255}
BINARY_PUBLISHED = (
    BINARY
    | PUBLISHED_ATTACK
    | {"epochs": 100, "validation": 0.05, "patience": 10, "eps_linf": (2 / 255, 16 / 255), "judged_linf": 16 / 255}
    | {"eps_l2": (0.125, 1.0), "judged_l2": 1.0}
)
