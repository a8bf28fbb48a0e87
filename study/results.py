"""The tidy tables of results folders: `study.results.read(DIR)`, a name to rely on. They are kept in study.store."""

from study.store.arms import arm as arm
from study.store.results import failures as failures
from study.store.results import read as read
from study.store.results import to_csv as to_csv
from study.store.schema import Damaged as Damaged
from study.store.schema import Newer as Newer
