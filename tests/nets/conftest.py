"""What several tests of nets ask for."""

import logging

import pytest

from study.nets import own
from study.nets.net import Net
from study.spec.config import Build, Load, Trial
from study.sweep.plan import tryout
from tests.foreign_cases import PLAIN


@pytest.fixture
def tried(monkeypatch, caplog):
    """Plan one trial with the body that a function gives, and what was said of it."""

    def plan(body, *more, binary=False, measures=PLAIN):
        def build(config, shape, classes, statistics, seed, **_):
            net = Net(body(), *statistics, (), classes=classes)
            own.known(net, shape, config.model)
            own.folded(net)
            return net

        monkeypatch.setattr(tryout, "build", build)
        monkeypatch.setattr(tryout, "say", logging.getLogger("said").warning)
        data = Load(test_size=60, binary=True) if binary else Load(test_size=60)
        tryout.check_data_and_model(Trial(seed=0, stages=(data, Build(model="mine:net"), *more), measures=measures))
        return caplog.text

    return plan
