"""What is measured on a trained net: {measure type: (state, measure) -> rows}."""

from study.spec.config import (
    Accuracy,
    Boundaries,
    Cost,
    FeatureMaps,
    Own,
    Prunability,
    PruningCurve,
    Representations,
    Risk,
    Robustness,
    Structure,
    Universal,
)
from study.trial.measures.accuracy import accuracy, prunability
from study.trial.measures.boundaries import boundaries
from study.trial.measures.cost import cost
from study.trial.measures.features import feature_maps
from study.trial.measures.own import own
from study.trial.measures.pruning import pruning_curve
from study.trial.measures.representations import representations
from study.trial.measures.risk import risk
from study.trial.measures.robustness import robustness
from study.trial.measures.structure import structure
from study.trial.measures.universal import universal
from study.trial.state import MeasureFunction

MEASURES: dict[type, MeasureFunction] = {
    Accuracy: accuracy,
    Robustness: robustness,
    Risk: risk,
    Structure: structure,
    Prunability: prunability,
    PruningCurve: pruning_curve,
    Cost: cost,
    Universal: universal,
    Representations: representations,
    Boundaries: boundaries,
    FeatureMaps: feature_maps,
    Own: own,
}
