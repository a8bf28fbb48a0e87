"""The MLflow room: every trial a run one level under its sweep's, written by the driver alone, off the sweep's path.

MLflow is a view: everything logged here is read from the published tables, so a lost store can be made again
(`python -m study.tracking rebuild DIR...`).
"""

from study.tracking.stores import check_uri, default_uri, sqlite_file, ui_command
from study.tracking.tracker import Tracker

__all__ = ["Tracker", "check_uri", "default_uri", "sqlite_file", "ui_command"]
