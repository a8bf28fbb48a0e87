"""What is measured on a trained net: {measure type: (state, measure) -> rows}."""

from study.config import Accuracy, Prunability, Robustness, Structure
from study.measures.accuracy import accuracy, prunability
from study.measures.robustness import robustness
from study.measures.structure import structure
from study.state import MeasureFunction

MEASURES: dict[type, MeasureFunction] = {
    Accuracy: accuracy,
    Robustness: robustness,
    Structure: structure,
    Prunability: prunability,
}
