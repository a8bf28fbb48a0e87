"""Do the two operator norms rise together when only one of them is pushed?

Paper A, appendix B.3 and Figure 9, row A11 of the protocol: a matrix of independent standard normal entries, gradient
ascent on its l_inf or its l_2 operator norm, the Frobenius norm held at its initial value, ten seeds. Expected by the
paper: both norms rise whichever is pushed; the l_inf ascent gathers all energy in one row, the l_2 ascent ends at rank
one with ||W||_2 = ||W||_F.

    python -m study.launch operator_norm_study

The paper gives neither the size of the matrix nor the step; here 100 x 100 and steps of .02 ||W||_F. Its claim is an
association along the path; what is judged is how much the norm that is not pushed has grown at the end.
All presets need seconds; `paper` is a larger matrix (400 x 400), minutes on one core. smoke has two seeds; it judges
nothing.
"""

from study.spec.studies import Arm, Preset, Study

ARMS = (
    Arm(name="ascend_linf", family="operator_norm", axes={"ascended_norm": ("linf",)}),
    Arm(name="ascend_l2", family="operator_norm", axes={"ascended_norm": ("l2",)}),
)
SEEDS = tuple(range(10))


def _preset(size: int, steps: int, seeds: tuple[int, ...] = SEEDS) -> Preset:
    settings = {"rows": size, "columns": size, "ascent_steps": steps, "ascent_step_size": 0.02}
    return Preset(arms=ARMS, seeds=seeds, settings=settings, data="", model="")


STUDY = Study(
    name="operator_norm_study",
    question="Does raising one operator norm at a fixed Frobenius norm raise the other too?",
    reproduces=("A.fig9",),
    covers=("A11",),
    figures=("ascent",),
    claims=("A-ascent-linf", "A-ascent-l2"),
    presets={"smoke": _preset(20, 100, (0, 1)), "laptop": _preset(100, 400), "paper": _preset(400, 400)},
)
