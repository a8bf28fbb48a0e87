"""One MLflow store for all tests that do not look at it: making a new one costs seconds of migrations."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def shared_store(tmp_path_factory):
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    yield
    del os.environ["MLFLOW_TRACKING_URI"]
