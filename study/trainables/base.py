"""The experiment families as Ray Tune trainables, a name to rely on. They are kept in study.sweep.ray."""

from study.sweep.ray.trainables import Compressed as Compressed
from study.sweep.ray.trainables import FamilyTrainable as FamilyTrainable
from study.sweep.ray.trainables import LowRank as LowRank
from study.sweep.ray.trainables import OperatorNorm as OperatorNorm
from study.sweep.ray.trainables import Pareto as Pareto
from study.sweep.ray.trainables import Regularization as Regularization
from study.sweep.ray.trainables import Transfer as Transfer
from study.sweep.ray.trainables import to_tune as to_tune
