"""One MLflow store for all tests that do not look at it, and the command line without a new interpreter.

A new store costs seconds of migrations, a new interpreter seconds of imports.
"""

import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="session", autouse=True)
def shared_store(tmp_path_factory):
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    yield
    del os.environ["MLFLOW_TRACKING_URI"]


@pytest.fixture
def here(monkeypatch, capsys):
    """`launch` in this process: for what needs no signal, no Ray and no module of the user's."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("STUDY_DATA", raising=False)

    def run(*words, cwd):
        from study.launch import main

        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["study.launch", *words])
        capsys.readouterr()
        status = main(list(words))
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, status, said.out, said.err)

    return run
