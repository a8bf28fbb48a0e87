"""Paper B's claims about the shares that its trade-off chooses (section 6.5 and Figure 5)."""

from analysis.claims.model import Claim, Control, Regime, Rows, Term
from analysis.claims.paper_b.masked import DATED, FIVE_POINTS, HALF

WEIGHTS = Term(measure="parameters")
ANY = Regime(clean=False, every_level=True)  # at some trade-offs a rule leaves a dead net, and that is what it says


def _kept(layer: str) -> Term:
    return Term(measure="kept_share", layer=f"{layer}.weight")


def _prunes(name: str, arm: str, rule: str) -> Claim:
    return Claim(
        id=f"B-lam-{name}", source="B, 5.3 and 6.5", statistic="order", expected=-1, threshold=HALF, dated=DATED,
        rows=Rows(arm=arm, axis="lam", y=WEIGHTS), baseline=0.05, regime=ANY,
        control=Control(
            arm="scale", axis="keep_prob", y=WEIGHTS, words="nets of which a falling share is kept, counted alike"
        ),
        quote=f"The more robustness counts (lam), the fewer weights {rule} keeps.",
    )  # fmt: skip


def _second(name: str, arm: str, rule: str) -> Claim:
    return Claim(
        id=f"B-second-layer{name}", source="B, 6.5 and Figure 5", statistic="difference", expected=-1,
        threshold=FIVE_POINTS, dated=DATED, rows=Rows(arm=arm, y=_kept("head")),
        against=(Rows(arm=arm, y=_kept("layer1")),), regime=ANY,
        control=Control(
            arm="scale", at={"keep_prob": 0.1}, y=_kept("head"),
            words="second layers of which a tenth is kept, against the same first ones",
        ),
        quote=f"{rule} prunes the second layer more than the first.",
    )  # fmt: skip


CLAIMS: tuple[Claim, ...] = (
    _prunes("printed", "printed_layerwise", "the paper's Algorithm 1"),
    _prunes("chebyshev", "chebyshev_layerwise", "the exact front's Chebyshev point"),
    _second("", "printed_layerwise", "The paper's Algorithm 1"),
    _second("-front", "chebyshev_layerwise", "The exact front"),
)
