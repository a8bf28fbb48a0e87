"""What is measured on a trained net: {measure type: (state, measure) -> rows}."""

from study.config import Accuracy, Cost, Prunability, Robustness, Structure
from study.measures.accuracy import accuracy, prunability
from study.measures.cost import cost
from study.measures.robustness import robustness
from study.measures.structure import structure
from study.state import MeasureFunction

MEASURES: dict[type, MeasureFunction] = {
    Accuracy: accuracy,
    Robustness: robustness,
    Structure: structure,
    Prunability: prunability,
    Cost: cost,
}
