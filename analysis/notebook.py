"""A figure of a results folder by its id, for a notebook or a paper."""

from pathlib import Path

from matplotlib.figure import Figure

from analysis import figures
from analysis.claims.judge import judge_all
from analysis.report import named
from analysis.tables import slices
from study.spec.errors import UsageError
from study.store import manifest, mirror, results


def draw(folder: str | Path, figure: str | figures.Own = "plain", at: str = "") -> Figure:
    """The figure of a results folder (or s3://BUCKET/PREFIX) as its report shows it: an id, or one of one's own as (id,
    title, function).

    `at` names one value of what the arms only hold (`frobenius 1`), where the report has a figure for each; by default
    the first. UsageError for a figure that is not known, or an `at` that the folder has not.
    """
    ((_, _, drawing),) = figures.find([figure])
    here = mirror.local(folder)
    study, frame = manifest.load(here), results.read(here)
    parts = dict(slices(study))
    if at and at not in parts:
        raise UsageError(f"{folder} has no figures at {at!r}; it has them at {', '.join(map(repr, parts))}")
    at = at or next(iter(parts))
    if not study.search:
        frame = frame[frame["deterministic"] | (frame["status"] == "failed")]
    judged = [j for j in judge_all(frame, study, named(study)[0]) if j.taken and j.at == at]
    return drawing(frame, parts[at], judged)
