"""Does what holds for small compressed nets hold for Wide ResNet 50-2 and a vision transformer, on six data sets?

Paper C, section 5 and Tables 5, 6, 10 and 11, row C4 of the protocol: nets trained on clean images (standard) and on
adversarial ones (robust); standard ones quantized to 16, 8 and 4 bits (Table 10), or pruned by 20, 50 and 80 % (Table
11), then fine-tuned for three epochs on clean images, or on adversarial ones; attacked by AutoPGD on the cross-entropy
and then on the difference of logits ratio (`autoattack_pair`). The tables have no compressed robust nets. Expected by
the paper, for INT8 (Table 5) and 80 % (Table 6): fine-tuned on clean images compressed standard nets have the accuracy
of the standard net, fine-tuned on adversarial ones the robust accuracy of the robust net ("comparable").

    python -m study.launch large_models_sweep
    python -m study.launch large_models_sweep --preset paper --data svhn           # Wide ResNet 50-2
    python -m study.launch large_models_sweep --preset paper_vit --data mnist      # the transformer

What the paper leaves open is ours. Both nets begin at random weights (68.6 % on CIFAR-10 points to it). Its ViT is
timm's, 384 wide as ViT-S, 12 blocks, patches of 4 x 4 pixels (`--model vit_b8` names ViT-B/8). The radius is stated for
Fashion-MNIST (.1) and CIFAR-10 (8/255) alone: MNIST too has .1, all others 8/255, and beside it half of it, which is
what its code has in pixels. Recipe and adversary are those of its section 4. Tiny ImageNet is a folder of one's own:
`--data imagefolder:PATH`.

laptop: Wide ResNet 50-2 at a sixteenth of its width on digits enlarged to 32 x 32, five seeds, adversaries of 10 steps
in training; half an hour on two cores. paper: CIFAR-10; `--data` names the other sets. paper_vit: the transformer
likewise. Both have five seeds, where the paper's tables do not say how many. smoke: seconds; it judges nothing.
"""

from search_spaces._paper_c import (
    ABOUT,
    BOTH,
    CIFAR,
    COMMON,
    FASHION,
    HELD,
    PUBLISHED_ATTACK,
    QUANTIZED_RECIPE,
    SEEDS,
    SMOKE,
    STANDARD,
    TWO_SEEDS,
    Axes,
)
from study.spec.studies import Arm, Preset, Study

BITS, RATIOS = (16, 8, 4), (0.2, 0.5, 0.8)
PAIR = {"attack": "autoattack_pair"}
SMOKE_OF_VIT = {k: v for k, v in SMOKE.items() if k != "width_multiplier"}
SMOKE_OF_VIT |= {"width": 32, "depth": 1, "patch_size": 8}
GREY = {name: FASHION for name in ("mnist", "fashion_mnist")}


def _arms(bits: tuple[int, ...] = BITS, ratios: tuple[float, ...] = RATIOS, epochs: int = 3) -> tuple[Arm, ...]:
    """Both whole nets; compressed standard nets, fine-tuned in both ways; whole nets on 65536 levels as the control."""
    standard: Axes = {**HELD, "adversarial_ratio": (STANDARD,)}
    levels: dict[str, Axes] = {"quantized": {"bits": bits, **QUANTIZED_RECIPE}, "pruned": {"prune_ratio": ratios}}
    tuned: dict[str, Axes] = {
        f"{name}_{kind}": {**standard, **axes, "finetune": (kind,), "finetune_epochs": (epochs,)}
        for name, axes in levels.items()
        for kind in ("standard", "adversarial")
    }
    axes = {"full": BOTH, **tuned, "control_same": {**BOTH, "bits": (16,)}}
    return tuple(Arm(name=name, family="compressed", axes=given, about=ABOUT) for name, given in axes.items())


def _published(model: str, **more: float) -> Preset:
    return Preset(
        arms=_arms(),
        seeds=SEEDS,
        data="cifar10",
        model=model,
        settings=COMMON | PUBLISHED_ATTACK | PAIR | CIFAR | more,
        by_data=GREY,
        gpus_per_trial=1.0,
        instance="g5.xlarge",
    )


STUDY = Study(
    name="large_models_sweep",
    question="Does fine-tuning give compressed large nets what training gave whole ones, on six data sets?",
    reproduces=("C.tab5", "C.tab6", "C.tab10", "C.tab11"),
    covers=("C4",),
    figures=("bytes",),
    claims=("C-tab5-standard", "C-tab5-robust", "C-tab6-standard", "C-tab6-robust"),
    presets={
        "smoke": Preset(
            arms=_arms(bits=(8,), ratios=(0.8,), epochs=1),
            seeds=TWO_SEEDS,
            model="vit",
            settings=COMMON | SMOKE_OF_VIT | PAIR,
        ),
        "laptop": Preset(
            arms=_arms(),
            seeds=SEEDS,
            model="wrn50_2",
            settings=COMMON
            | PAIR
            | {"width_multiplier": 1 / 16, "test_size": 200, "gap_iterations": 10}
            | {"train_eps": 16 / 255, "eps_linf": (16 / 255,), "judged_linf": 16 / 255},
        ),
        "paper": _published("wrn50_2"),
        "paper_vit": _published("vit", width=384, depth=12),
    },
)
