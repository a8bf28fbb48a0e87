"""temp"""

from study.space import Choice, LogUniform, Preset, Search, Study

KNOBS = {
    "compression": Choice(values=("none", "low_rank")),
    "rank": LogUniform(low=4, high=64, when={"compression": ("low_rank",)}),
    "frobenius": Choice(values=(0.0, 1.0)),
    "adversarial_ratio": Choice(values=(0.0, 0.5)),
}
SMALL = {
    "width": 32,
    "depth": 2,
    "epochs": 2,
    "test_size": 60,
    "attack_iterations": 5,
    "gap_iterations": 5,
    "train_steps": 3,
}

STUDY = Study(
    name="pareto_search",
    question="Which compressed nets give the most robust accuracy for their size?",
    figure="the mission",
    covers=("P",),
    presets={
        "smoke": Preset(
            seeds=(0, 1),
            search=Search(
                family="low_rank",
                knobs=KNOBS,
                options={"evaluations": 8, "finalists": 3, "objectives": ("robust_accuracy", "parameters")},
            ),
            settings=SMALL,
        ),
    },
)
