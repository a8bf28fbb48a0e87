"""What a claim is made of: frozen data, so that what is asked of a table stands before its numbers are known."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from study.spec.domains import Value


@dataclass(frozen=True, kw_only=True)
class Term:
    """One number of a net: a measure at its coordinates, at the judged budget of `norm` where `judged`.

    `attack` says which attack made it: "" none, "configured" the study's own, "gap" the one behind its loss gap, or
    a name such as native/pgd. `scale` is log, compressibility (1 - residual), or "" for the number as it is.
    """

    measure: str
    attack: str = ""
    layer: str | None = None
    norm: str | None = None
    kept: float | None = None
    pruning: str | None = None
    split: str | None = None
    judged: bool = False
    scale: str = ""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The trials of an arm (at some axis values only, where `at` names them) and the numbers of each that are taken.

    `axis` is the knob whose levels are compared or ordered, where there is one.
    """

    arm: str
    y: Term
    x: Term | None = None
    axis: str = ""
    at: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Another number of the same nets that may follow y as well as the claim's own x does: a plainer explanation.

    `x` None: the place of the level along the claim's axis, the knob itself. It, and a number marked `either`, follow y
    as closely whichever way they point; any other only in the claim's own direction.
    """

    name: str
    x: Term | None = None
    either: bool = False


@dataclass(frozen=True, kw_only=True)
class Control:
    """An effect that is known to be there, which the same statistic must detect before any verdict may be said.

    What is given here replaces the claim's own rows: another arm and axis (a planted effect), or another term of the
    same trials (what the experiment itself raises). `words` tell the reader what it is. `expected` is the sign that it
    must have, 0 that of the claim; `also` a second control, which must be detected too: where two numbers are to be
    equal, one pair that is and one that is not, for a measure that tells nothing apart finds all nets equal.
    `planted`: a hump of this height is added to the claim's own numbers (analysis.claims.sides.hump), in y's unit.
    """

    words: str
    name: str = "control"
    arm: str = ""
    axis: str = ""
    y: Term | None = None
    at: Mapping[str, Value] | None = None
    expected: int = 0
    planted: float = 0.0
    also: "Control | None" = None


@dataclass(frozen=True, kw_only=True)
class Regime:
    """What must hold before a claim is judged, seeds and levels apart (analysis.claims.needs).

    `clean`: the baseline's clean accuracy is high enough for its data. `robust`: a norm; the baseline's robust accuracy
    under it, at the judged budget, lies `robust_within`: neither near 0 nor near 1. `structure`: the compressibility
    that the arm moves.
    `every_level`: levels at which little clean accuracy is left count too, for that it goes is the claim.
    """

    clean: bool = True
    robust: str = ""
    robust_within: tuple[float, float] = (0.3, 0.9)
    structure: str = ""
    every_level: bool = False


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper (or a user) says about the rows of a study, and how it is judged.

    `quote` is the paper's sentence or ours for it; `statistic` a name in analysis.claims.evidence.STATISTICS, taken
    over `rows` and, where it compares, `against`; without `against` it compares with the baseline of the same arm. Of
    rows without an axis the last of `against` is the baseline that the regime looks at; what stands there beyond what
    the statistic compares is there for that alone.
    `expected` is the sign that the paper expects. `threshold` is the smallest effect worth speaking of: a smaller one
    gives no support, whatever its p value. It is in the statistic's own unit: a coefficient between 0 and 1 (spearman,
    pearson, order), the unit of y (difference, interaction, peak), a logarithm (growth), a factor above 1 (ratio), the
    margin of an equivalence or a noninferiority, which need one. `change` is the same in y's own unit for the first
    three: how far y must change between the judged levels of the least and the largest x. None: any effect that is told
    from none. `dated` is the day on which both were set: before the run that they judge.

    `baseline` is the value of the rows' axis that stands for no compression; none: the study's. `beside` are plainer
    explanations whose coefficient on the same nets stands next to that of x. `published` is the paper's own
    coefficient; where there is one, Pearson's r is shown beside Spearman's rho.
    """

    id: str
    source: str
    quote: str
    rows: Rows
    statistic: str
    against: tuple[Rows, ...] = ()
    expected: int = 1
    threshold: float | None = None
    change: float | None = None
    dated: str = ""
    control: Control | None = None
    baseline: Value | None = None
    regime: Regime = Regime()
    beside: tuple[Beside, ...] = ()
    published: float | None = None

    @property
    def control_rows(self) -> Rows | None:
        """The rows of the control: the claim's own but for what the control replaces."""
        if self.control is None:
            return None
        given = {name: getattr(self.control, name) for name in ("arm", "axis", "y")}
        changes = {name: value for name, value in given.items() if value}
        return replace(self.rows, **changes, at=self.rows.at if self.control.at is None else self.control.at)

    @property
    def controls(self) -> "tuple[Claim, ...]":
        """The claim with each of its controls alone, the first one first."""
        if self.control is None:
            return ()
        first = replace(self, control=replace(self.control, also=None))
        return (first, *replace(self, control=self.control.also).controls)

    @property
    def all_rows(self) -> tuple[Rows, ...]:
        """Its rows, those that it compares with, those of its controls."""
        return (self.rows, *self.against, *(c.control_rows for c in self.controls if c.control_rows))
