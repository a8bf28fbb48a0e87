"""The one table of knobs: what a family takes, what is idle, which are axes, how levels are ordered follow from it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from study.spec.datasets import DATASETS
from study.spec.domains import Value
from study.spec.measuring import COMPRESSED, MEASURING, MOST, MOST_UNITS, NETS, NORMS
from study.spec.models import NAMES as WEIGHTS
from study.spec.objectives import OBJECTIVES
from study.spec.recipes import RECIPES
from study.spec.values import Knob, shown

PENALTIES = ("group_lasso", "group_lasso_invariant", "nuclear_norm", "nuclear_norm_prox")
FACTORIZATIONS = ("svd", "tucker", "tt", "cp")
PENALISED, MATRIX = ("regularization", "compressed", "transfer"), ("operator_norm",)
TRANSFER = ("transfer",)
PLANTED = ("regularization", "transfer")
ATTACKED = ("adversarial_ratio", "finetune", "pretrain_ratio")  # what makes the adversary of training matter
MASKED = ("keep_prob", "layer_keep_prob", "lam")  # what makes the rule of a mask matter

SAME = {"same": None}  # as in the first training

# The parts of a training that fine-tuning may have otherwise.
TRAINING: dict[str, Knob] = {
    "patience": Knob(int, 0, low=0, high=MOST, help="epochs without a better validation score; 0 = no early stopping"),
    "stop_on": Knob(str, "loss", choices=("loss", "accuracy", "adversarial_accuracy"),
                    help="the validation score that early stopping looks at"),
    "batch_size": Knob(int, 100, low=1, high=MOST, help="images per step"),
    "optimizer": Knob(str, "adamw", choices=("adamw", "adam", "sgd"), help="the optimiser"),
    "learning_rate": Knob(float, 1e-3, low=0, open_low=True, help="the optimiser's learning rate"),
    "weight_decay": Knob(float, 0.01, low=0, help="the optimiser's weight decay"),
    "momentum": Knob(float, 0.0, low=0, high=1, open_high=True, help="momentum of sgd"),
    "schedule": Knob(str, "constant", choices=("constant", "cosine", "multistep"), help="the rate over the epochs"),
    "milestones": Knob(int, (), several=True, low=0, high=MOST, help="multistep: epochs after which the rate falls"),
    "gamma": Knob(float, 0.1, low=0, high=1, open_low=True, help="multistep: what the rate is multiplied by there"),
    "augment": Knob(str, "none", choices=("none", "crop_flip"), help="random crop (4 pixels) and flip"),
}  # fmt: skip

KNOBS: dict[str, Knob] = {
    # Columns of every table.
    "alpha": Knob(float, 0.0, low=0, column=True, compressed="high", families=PENALISED,
                  help="strength of the penalty (group lasso, nuclear norm)"),
    "rank": Knob(int, 0, low=0, high=MOST_UNITS, words={"full": 0}, column=True, compressed="low",
                 families=("low_rank", "compressed"), help="inner dimension of every hidden layer; 0 = full"),
    "frobenius": Knob(float, 1.0, low=0, column=True, families=NETS,
                      help="hidden layers held at this multiple of their initial norm; 0 = free"),
    "plant_rows": Knob(float, 0.0, low=0, column=True, compressed="high", families=PLANTED,
                       help="control: strength of a planted row concentration"),
    "plant_spectrum": Knob(float, 0.0, low=0, column=True, compressed="high", families=PLANTED,
                           help="control: strength of a planted spectral concentration"),
    "adversarial_ratio": Knob(float, 0.0, low=0, high=1, column=True, families=NETS,
                              help="share of each training batch replaced by adversarial examples"),
    "ascended_norm": Knob(str, "", choices=NORMS, column=True, families=MATRIX,
                          help="operator norm that gradient ascent raises on a matrix"),
    "penalty": Knob(str, "group_lasso", choices=PENALTIES, column=True, families=PENALISED, functions=True,
                    only_with=("alpha",), help="what alpha weighs"),
    "prune_ratio": Knob(float, 0.0, low=0, high=1, open_high=True, column=True, compressed="high", families=COMPRESSED,
                        help="share of every hidden layer's rows removed"),
    "keep_prob": Knob(float, 1.0, low=0, high=1, open_low=True, column=True, compressed="low", families=COMPRESSED,
                      help="share of the weights that a mask keeps"),
    "layer_keep_prob": Knob(str, "", words={"none": ""}, shares=True, column=True, families=COMPRESSED,
                            help="share that a mask keeps of each layer's weights, first layer first, with / between"),
    "mask": Knob(str, "magnitude", choices=("magnitude", "bernoulli", "smooth", "taylor"), column=True,
                 families=COMPRESSED, only_with=MASKED, help="which weights a mask keeps"),
    "lam": Knob(float, 0.0, low=0, high=1, column=True, compressed="high", families=COMPRESSED,
                help="trade-off that sets each layer's keep_prob: 0 = off, 1 = risk alone counts"),
    "bits": Knob(int, 0, choices=(0, 16, 8, 4, 2, 1), column=True, compressed="low", families=COMPRESSED,
                 help="bits of weights and activations; 0 = float32"),
    "finetune": Knob(str, "none", choices=("none", "standard", "adversarial"), column=True, families=COMPRESSED,
                     only_with=("finetune_epochs",), help="training of the compressed net"),
    "finetune_epochs": Knob(int, 0, low=0, high=MOST, column=True, families=COMPRESSED, help="epochs of fine-tuning"),
    # The net and its data.
    "width": Knob(int, 200, low=1, high=MOST_UNITS, families=NETS, help="units of a hidden layer"),
    "depth": Knob(int, 4, low=1, high=1000, families=NETS, help="hidden layers"),
    "width_taper": Knob(float, 1.0, low=0, high=2, open_low=True, families=NETS,
                        help="fcn: width of each hidden layer over that of the one before"),
    "width_multiplier": Knob(float, 1.0, low=0, high=2, open_low=True, families=NETS,
                             help="convolutional nets: every channel count times this"),
    "stem": Knob(str, "published", choices=("published", "small"), families=NETS,
                 help="ResNets; small: 3x3, stride 1, no pooling, for images of 32 pixels"),
    "patch_size": Knob(int, 4, low=1, high=1000, families=NETS, help="vit: pixels a side of a patch"),
    "weights": Knob(str, "", choices=WEIGHTS, words={"none": ""}, files=True, families=NETS,
                    help="what the net begins with: none, its library's name of published weights, file:PATH"),
    "input_mean": Knob(float, (), several=True, families=NETS,
                       help="what images are normalised by first, one number or one per channel; none given: the data "
                       "set's own (0 and input_std 1 for a net that normalises by itself)"),
    "input_std": Knob(float, (), several=True, low=0, open_low=True, families=NETS,
                      help="and divided by; goes with input_mean"),
    "train_size": Knob(int, 0, low=0, high=MOST, families=NETS, help="training images; 0 = all"),
    "test_size": Knob(int, 0, low=0, high=MOST, families=NETS, help="test images; 0 = all"),
    "validation": Knob(float, 0.0, low=0, high=0.5, families=NETS,
                       help="share of the training images kept for validation"),
    "validation_seed": Knob(int, None, low=0, high=MOST, families=NETS, words={"own": None}, only_with=("validation",),
                            help="draws the same validation images for all seeds, in no test split; own: each trial's"),
    "binary": Knob(int, 0, low=0, high=1, families=NETS,
                   help="1: two classes, the lower half of the labels and the upper"),
    # Training.
    "recipe": Knob(str, "", choices=tuple(RECIPES), families=NETS, words={"none": ""},
                   help="a published training recipe by name; what is set beside it overrides its parts"),
    "epochs": Knob(int, 40, low=0, high=MOST, families=NETS,
                   help="passes over the training images, at most; 0 = a net as its weights are"),
    "penalty_refresh": Knob(int, 10, low=0, high=MOST, families=NETS, only_with=("alpha", "alignment_penalty"),
                            help="steps between polar factors of the nuclear norm (0 = plain SVD), and between "
                            "gradients of alignment_penalty (0 = each step)"),
    "l1": Knob(float, 0.0, low=0, compressed="high", families=NETS,
               help="strength of the sum of |w|, beside any penalty or alone"),
    "l1_on": Knob(str, "hidden", choices=("hidden", "all"), families=NETS, only_with=("l1",),
                  help="what l1 sums: the hidden layers' weights, or all parameters, head, biases and norms included"),
    "spread_control": Knob(float, 0.0, low=0, families=NETS,
                           help="strength of the variance of each hidden layer's largest 5 % of row norms"),
    "alignment_penalty": Knob(float, 0.0, low=0, families=NETS,
                              help="strength of the alignment of consecutive hidden layers (in reading notes on paper "
                              "A, not in the paper)"),
    **{name: replace(knob, families=NETS) for name, knob in TRAINING.items()},
    "loss": Knob(str, "cross_entropy", choices=("cross_entropy", "label_smoothing"), families=NETS,
                 help="what training descends on"),
    "autocast": Knob(str, "none", choices=("none", "gpu", "always"), families=NETS,
                     help="bfloat16 forward passes: on a GPU alone, or on a processor too"),
    "train_norm": Knob(str, "linf", choices=NORMS, families=NETS, only_with=ATTACKED,
                       help="norm of adversarial training"),
    "train_eps": Knob(float, 8 / 255, low=0, open_low=True, families=NETS, only_with=ATTACKED,
                      help="radius of adversarial training"),
    "train_attack": Knob(str, "pgd", choices=("pgd", "fgsm_rs", "free"), families=NETS, only_with=ATTACKED,
                         help="adversary of training; free replays batches"),
    "train_steps": Knob(int, 10, low=1, high=1000, families=NETS, only_with=ATTACKED,
                        help="the adversary's steps (free: replays)"),
    "train_warmup": Knob(int, 0, low=0, high=MOST, families=NETS, only_with=ATTACKED,
                         help="epochs over which the radius of adversarial training grows to train_eps; not of "
                         "pretraining or fine-tuning"),
    # Fine-tuning: its own rate and epochs, else as the training unless it is said.
    "finetune_recipe": Knob(str, "", choices=tuple(RECIPES), families=COMPRESSED, only_with=("finetune",),
                            words={"none": ""}, help="a published recipe of fine-tuning by name"),
    "finetune_learning_rate": Knob(float, 1e-3, low=0, open_low=True, families=COMPRESSED, only_with=("finetune",),
                                   help="the optimiser's learning rate of fine-tuning"),
    **{f"finetune_{name}": replace(knob, default=None, words={} if knob.several else SAME, families=COMPRESSED,
                                   only_with=("finetune",), help=f"of fine-tuning: {knob.help}")
       for name, knob in TRAINING.items() if name != "learning_rate"},
    "finetune_ratio": Knob(float, 0.5, low=0, high=1, open_low=True, families=COMPRESSED, only_with=("finetune",),
                           help="share of each batch that adversarial fine-tuning replaces by adversarial examples"),
    "finetune_freeze": Knob(str, "none", choices=("none", "encoder"), families=COMPRESSED, only_with=("finetune",),
                            help="encoder: fine-tuning moves the head alone"),
    "distillation": Knob(float, 0.0, low=0, high=1, families=COMPRESSED,
                         help="weight of learning from the logits of the uncompressed net; 0 = off"),
    "temperature": Knob(float, 4.0, low=0, open_low=True, families=COMPRESSED, only_with=("distillation",),
                        help="what both nets' logits are divided by in distillation"),
    # Pretraining: as the training unless it is said.
    "pretrain_data": Knob(str, "none", choices=("none", "own", "other_classes", "other_images", *DATASETS),
                          functions=True, families=TRANSFER,
                          help="what the net is trained on before: the own images, the other half of the classes or of "
                          "the training images, other data"),
    "pretrain_size": Knob(int, 0, low=0, high=MOST, families=TRANSFER, only_with=("pretrain_data",),
                          help="training images of pretraining; 0 = all"),
    "pretrain_recipe": Knob(str, "", choices=tuple(RECIPES), families=TRANSFER, only_with=("pretrain_data",),
                            words={"none": ""}, help="a published recipe of pretraining by name"),
    "pretrain_epochs": Knob(int, 40, low=0, high=MOST, families=TRANSFER, only_with=("pretrain_data",),
                            help="passes over the images of pretraining, at most; 0 = a net that is not trained there"),
    "pretrain_ratio": Knob(float, 0.0, low=0, high=1, families=TRANSFER, only_with=("pretrain_data",),
                           help="share of each batch of pretraining replaced by adversarial examples"),
    **{f"pretrain_{name}": replace(knob, default=None, words={} if knob.several else SAME, families=TRANSFER,
                                   only_with=("pretrain_data",), help=f"of pretraining: {knob.help}")
       for name, knob in TRAINING.items()},
    "penalised_in": Knob(str, "both", choices=("both", "pretraining", "training"), families=TRANSFER,
                      only_with=("pretrain_data",), help="where alpha acts and the Frobenius norm is held"),
    "freeze": Knob(str, "none", choices=("none", "encoder"), families=TRANSFER,
                   help="encoder: the training on the own data moves the head alone"),
    "factorize_ratio": Knob(float, 0.0, low=0, high=1, open_high=True, compressed="high", families=COMPRESSED,
                            help="share of the trained weights of each hidden layer that its factors save"),
    "factorization": Knob(str, "svd", choices=FACTORIZATIONS, families=COMPRESSED, only_with=("factorize_ratio",),
                          help="what convolutions become; linear layers are svd"),
    "recalibrate": Knob(int, 0, low=0, high=1, families=COMPRESSED,
                        help="1: BatchNorm's running statistics are taken anew on the training images, once weights "
                        "have gone and before bits (of a whole net too)"),
    "bits_granularity": Knob(str, "tensor", choices=("tensor", "channel"), families=COMPRESSED, only_with=("bits",),
                             help="weights' scales: one per tensor, or one per output row or filter"),
    "one_bit": Knob(str, "mean", choices=("mean", "as_printed"), families=COMPRESSED, only_with=("bits",),
                    help="bits 1: sign times mean, or paper C's formula as printed, which leaves weights the level 0"),
    "qat": Knob(int, 0, low=0, high=1, families=COMPRESSED,
                help="1: quantization-aware training: bits act from the start of the first training, not after it"),
    "mask_budget": Knob(str, "layer", choices=("layer", "global"), families=COMPRESSED,
                        only_with=MASKED[:2], help="what keeps the share: every layer, or all together"),
    "mask_on": Knob(str, "hidden", choices=("hidden", "all"), families=COMPRESSED, only_with=MASKED,
                    help="which layers are masked; all: the head, and a first convolution, too"),
    "mask_draw": Knob(int, 0, low=0, high=MOST, families=COMPRESSED, only_with=MASKED,
                      help="which of a seed's random masks (bernoulli, smooth)"),
    "lam_rule": Knob(str, "chebyshev", choices=("chebyshev", "exact", "printed"), families=COMPRESSED,
                     only_with=("lam",), help="how lam chooses: the exact front's Chebyshev point, the exact minimum "
                     "of paper B's objective, its Algorithm 1 as printed"),
    "lam_layers": Knob(str, "layerwise", choices=("layerwise", "uniform"), families=COMPRESSED, only_with=("lam",),
                       help="what lam chooses: a keep_prob for each layer, or one for all"),
    "keep_floor": Knob(float, 0.05, low=0, high=1, open_low=True, open_high=True, families=COMPRESSED,
                       only_with=("lam",), help="least keep_prob that lam may set"),
    **MEASURING,
    # A matrix without data or net.
    "rows": Knob(int, 100, low=1, high=MOST_UNITS, families=MATRIX, help="rows of a Gaussian matrix"),
    "columns": Knob(int, 100, low=1, high=MOST_UNITS, families=MATRIX, help="columns of a Gaussian matrix"),
    "ascent_steps": Knob(int, 300, low=1, high=MOST, families=MATRIX, help="steps of gradient ascent on a matrix"),
    "ascent_step_size": Knob(float, 0.02, low=0, open_low=True, families=MATRIX,
                             help="length of an ascent step, as a share of ||W||_F"),
}  # fmt: skip

# The knobs that are columns of every table, and the others: columns of the tables of studies that move them.
AXES: dict[str, Knob] = {name: knob for name, knob in KNOBS.items() if knob.column}
SETTINGS: dict[str, Knob] = {name: knob for name, knob in KNOBS.items() if not knob.column}
# Of the whole study, and no axis: what its numbers are taken by.
WHOLE = {"judged_linf", "judged_l2", "attack", "attack_backend", *(n for n, k in KNOBS.items() if k.several)}

SAMPLERS = ("tpe", "nsga2", "qmc", "random")

# What a search is told besides its knobs: `--set NAME=VALUE`, in studies that search.
SEARCH: dict[str, Knob] = {
    "objectives": Knob(str, ("robust_accuracy", "stored_bytes"), choices=tuple(OBJECTIVES), several=True,
                       help="two or three numbers to be traded against each other"),
    "floor": Knob(float, 0.0, low=0, high=1, help="least clean accuracy of an acceptable model; 0 = none"),
    "evaluations": Knob(int, 60, low=1, high=MOST_UNITS, help="points to try, each at the search's own seed"),
    "finalists": Knob(int, 16, low=1, high=MOST_UNITS, help="points, at least, that are trained anew at every seed"),
    "search_seed": Knob(int, 1000, low=0, high=MOST, help="the search's own seed; no seed of the front"),
    "final_attack": Knob(str, "autoattack", choices=("autoattack", "autoattack_pair", "none"),
                         help="a second attack on finalists, beside the study's own"),
    "final_iterations": Knob(int, 50, low=1, high=MOST, help="iterations of each of its gradient attacks"),
    "final_queries": Knob(int, 1000, low=0, high=MOST, help="queries of Square on finalists; 0 = none"),
    "sampler": Knob(str, "tpe", choices=SAMPLERS, help="who proposes points"),
    "sampler_seed": Knob(int, 0, low=0, high=MOST, help="the sampler's own seed"),
}  # fmt: skip


def takes(family: str) -> list[str]:
    """The knobs that a family reads; it ignores any other."""
    return [name for name, knob in KNOBS.items() if family in knob.families]


def off(values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Knob values with those that do nothing at their base, so that equal trials have equal values and fingerprints.

    A knob does nothing where all that it goes with (`only_with`) is off: a penalty without strength, a kind of mask
    without a mask. `base` has the values of knobs that are not among `values`, and of idle ones.
    """

    def active(name: str) -> bool:
        return values.get(name, base.get(name, KNOBS[name].default)) != KNOBS[name].default

    idle = [n for n in values if KNOBS[n].only_with and not any(map(active, KNOBS[n].only_with))]
    out = {**values, **{name: base.get(name, KNOBS[name].default) for name in idle}}
    return out if out == values else off(out, base)  # what went with an idle knob is idle too


def named(axis: str, value: Value) -> str:
    """An axis value by the knob's own word where it has one (`full` for rank 0), else as people read it."""
    words = KNOBS[axis].words if axis in KNOBS else {}
    return next((word for word, stands in words.items() if stands == value), shown(value))


def by_strength(axis: str, values: Iterable[Value]) -> list[Value]:
    """The distinct values of an axis: off first where it is among them, then towards the compressed end.

    Numbers that do not compress by degrees (a rate, a norm), and axes that are not known, stand sorted.
    """
    knob = KNOBS.get(axis)
    order = sorted(set(values), reverse=knob is not None and knob.compressed == "low")
    if knob is None or not (knob.compressed or isinstance(knob.default, str)):
        return order  # a rate of .001 is the default, and yet stands between .0003 and .003
    return sorted(order, key=lambda value: value != knob.default)  # a stable sort: only off moves
