"""The Optuna room: distributions, samplers, storage, and the view of a search that Optuna proposes points from.

The view holds nothing that cannot be made again from study.json and the published tables.
"""

import logging
import math
import os
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from study.spec.domains import Choice, Domain, LogUniform, Value, asked
from study.spec.errors import UsageError, without_secrets
from study.spec.identity import seed_for
from study.spec.knobs import KNOBS
from study.spec.studies import Search
from study.store import layout
from study.sweep.search import journal

warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
optuna.logging.set_verbosity(optuna.logging.ERROR)
log = logging.getLogger(__name__)

# Draws in search of an unseen neighbour, for each number of knobs moved; where all of them are known with every knob
# moved too, the space is taken to be exhausted.
NEIGHBOURS = 300


def to_optuna(knobs: Mapping[str, Domain]) -> dict[str, BaseDistribution]:
    """Optuna's distribution of every knob; their conditions are kept by `suggest`, which asks in order."""
    return {name: _distribution(name, domain) for name, domain in knobs.items()}


def _distribution(name: str, domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    logarithmic = isinstance(domain, LogUniform)
    if KNOBS[name].kind is int:
        return IntDistribution(int(domain.low), int(domain.high), log=logarithmic)
    return FloatDistribution(domain.low, domain.high, log=logarithmic)


def suggest(trial: optuna.Trial, knobs: Mapping[str, Domain]) -> dict[str, Value]:
    """Ask a trial for every knob that is asked, in order."""
    chosen: dict[str, Value] = {}
    for name, domain in knobs.items():
        if not asked(domain, chosen):
            continue
        if isinstance(domain, Choice):
            chosen[name] = cast(Value, trial.suggest_categorical(name, domain.values))
        elif KNOBS[name].kind is int:
            chosen[name] = trial.suggest_int(
                name, int(domain.low), int(domain.high), log=isinstance(domain, LogUniform)
            )
        else:
            chosen[name] = trial.suggest_float(name, domain.low, domain.high, log=isinstance(domain, LogUniform))
    return chosen


def draw(
    knobs: Mapping[str, Domain], stream: random.Random, held: Mapping[str, Value] = MappingProxyType({})
) -> dict[str, Value]:
    """One uniform draw of the knobs (in the logarithm where they say so), without Optuna. What is still asked of those
    `held` keeps its value."""
    chosen: dict[str, Value] = {}
    for name, domain in knobs.items():
        if not asked(domain, chosen):
            continue
        if name in held:
            chosen[name] = held[name]
            continue
        if isinstance(domain, Choice):
            chosen[name] = stream.choice(domain.values)
        elif isinstance(domain, LogUniform):
            chosen[name] = math.exp(stream.uniform(math.log(domain.low), math.log(domain.high)))
        else:
            chosen[name] = stream.uniform(domain.low, domain.high)
        if not isinstance(domain, Choice):
            number = min(max(float(chosen[name]), domain.low), domain.high)
            chosen[name] = round(number) if KNOBS[name].kind is int else number
    return chosen


def neighbour(
    knobs: Mapping[str, Domain],
    chosen: Mapping[str, Value],
    known: Callable[[Mapping[str, Value]], bool],
    stream: random.Random,
) -> dict[str, Value] | None:
    """An unknown point near a known one: one asked knob drawn anew (and what is asked because of it), else two, and so
    on; None where there seems to be none."""
    for moved in range(1, len(chosen) + 1):
        for _ in range(NEIGHBOURS):
            held = stream.sample(list(chosen), len(chosen) - moved)
            near = draw(knobs, stream, {name: chosen[name] for name in held})
            if not known(near):
                return near
    return None


def sampler(search: Search, tried: int) -> BaseSampler:
    """The named sampler. Its seed depends on how much was tried: a search that goes on does not repeat itself."""
    seed = seed_for(search["sampler_seed"], f"sampler {tried}") % 2**32
    makers: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True),
        "nsga2": lambda: NSGAIISampler(seed=seed, population_size=max(8, min(50, search["evaluations"] // 5))),
        "qmc": lambda: QMCSampler(seed=seed, scramble=True, warn_asynchronous_seeding=False),
        "random": lambda: RandomSampler(seed=seed),
    }
    return makers[search["sampler"]]()


class _Journal(JournalFileBackend):
    """A journal with one writer; what a failed append left (a full disk, say) is taken back."""

    def __init__(self, path: Path) -> None:
        journal.repair(path)
        self.path = path
        super().__init__(str(path), lock_obj=JournalFileOpenLock(str(path)))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        whole = self.path.stat().st_size
        try:
            super().append_logs(logs)
        except OSError:
            journal.cut(self.path, whole)
            raise


def storage_of(url: str, folder: Path) -> BaseStorage:
    """The journal in a folder, or the database at the URL where one is given; UsageError when it cannot be used."""
    if not url:
        folder.mkdir(parents=True, exist_ok=True)
        return JournalStorage(_Journal(folder.resolve() / layout.JOURNAL))
    try:
        return RDBStorage(url)
    except Exception as error:  # drivers raise their own kinds, a missing driver an ImportError
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(without_secrets(f"--search-storage {url}: the database cannot be used ({cause})")) from None


class View:
    """A search as Optuna sees it: `ask` for knobs, `tell` or `add` what came of them.

    `key` says what the values mean (knobs, objectives, floor): a storage that holds another view is emptied, and one
    that cannot be read is set aside. Trials that a killed driver left running become failed ones.
    """

    def __init__(
        self, search: Search, storage: BaseStorage, *, name: str, maximise: Sequence[bool], key: str, tried: int = 0
    ) -> None:
        self.knobs = search.knobs
        directions = [StudyDirection.MAXIMIZE if up else StudyDirection.MINIMIZE for up in maximise]
        found = [s for s in optuna.get_all_study_summaries(storage) if s.study_name == name]
        if found and found[0].user_attrs.get("key") != key:
            optuna.delete_study(study_name=name, storage=storage)
        self.study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=directions,
            load_if_exists=True,
            sampler=sampler(search, tried),
        )
        self.study.set_user_attr("key", key)
        self.study.set_metric_names(list(search["objectives"]))
        self._live: dict[int, optuna.Trial] = {}
        for _ in self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self.study.ask()  # takes up what is waiting: only a running trial can be told
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)

    def names(self) -> set[str]:
        """The names under which the view holds something that is over."""
        trials = self.study.get_trials(deepcopy=False)
        return {t.user_attrs["trial"] for t in trials if "trial" in t.user_attrs and "over" in t.user_attrs}

    def ask(self, chosen: Mapping[str, Value] | None = None) -> tuple[int, dict[str, Value]]:
        """A ticket and the knobs that the sampler chose (or those given)."""
        if chosen is not None:
            self.study.enqueue_trial(dict(chosen))
        trial = self.study.ask()
        self._live[trial.number] = trial
        return trial.number, suggest(trial, self.knobs)

    def propose(
        self, known: Callable[[Mapping[str, Value]], bool], stream: random.Random
    ) -> tuple[int, dict[str, Value]] | None:
        """A ticket and a point that is not known yet: the sampler's, else an unknown neighbour of the sampler's; None
        where there seems to be none left."""
        ticket, chosen = self.ask()
        if not known(chosen):
            return ticket, chosen
        self.tell(ticket, None)  # Optuna forgets no trial; its samplers pass over failed ones
        near = neighbour(self.knobs, chosen, known, stream)
        return None if near is None else self.ask(near)

    def name(self, ticket: int, trial: str) -> None:
        """What the table calls the point of a ticket."""
        self._live[ticket].set_user_attr("trial", trial)

    def tell(self, ticket: int, values: Sequence[float] | None, slack: float | None = None) -> None:
        """The objectives of a ticket's point, None for a failure; slack < 0 says by how much the floor is missed."""
        trial = self._live.pop(ticket)
        trial.set_user_attr("over", True)
        if slack is not None and values is not None:
            trial.set_constraint("floor", -slack)
        self.study.tell(trial, values, state=None if values is not None else TrialState.FAIL)

    def add(
        self,
        trial: str,
        chosen: Mapping[str, Value],
        values: Sequence[float] | None,
        slack: float | None = None,
        **attributes: str,
    ) -> None:
        """A point that was not asked for here: of an earlier run, or of an earlier sweep."""
        self.study.add_trial(
            create_trial(
                state=TrialState.FAIL if values is None else TrialState.COMPLETE,
                values=None if values is None else list(values),
                params=dict(chosen),
                distributions={name: _distribution(name, self.knobs[name]) for name in chosen},
                user_attrs={"trial": trial, "over": True, **attributes},
                constraints={"floor": -slack} if slack is not None and values is not None else None,
            )
        )


def open_view(search: Search, folder: Path, *, name: str, maximise: Sequence[bool], key: str, tried: int) -> View:
    """The view in its storage; a journal that Optuna cannot read is set aside and begun anew."""

    def load() -> View:
        storage = storage_of(search.storage, folder)
        return View(search, storage, name=name, maximise=maximise, key=key, tried=tried)

    try:
        return load()
    except (UsageError, OSError):
        raise
    except Exception as error:  # a damaged journal raises any kind, an AssertionError at an operation unknown to Optuna
        if search.storage:
            raise
        log.warning("%s cannot be read (%s); it is made again from the tables", folder / layout.JOURNAL, error)
        os.replace(folder / layout.JOURNAL, folder / f"{layout.JOURNAL}.damaged")
        return load()
