"""One MLflow store for all tests of a process that do not look at it, and the command line without a new interpreter.

A new store costs seconds of migrations, a new interpreter seconds of imports.
"""

import importlib
import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

import pytest

# before torch and NumPy are imported: two processes of tests share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

from study.store import places

importlib.import_module("study.tracking.stores")  # it sets MLflow's environment, which `here` would put back


@pytest.fixture(scope="session", autouse=True)
def shared_store(tmp_path_factory):
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
    yield
    del os.environ["MLFLOW_TRACKING_URI"]


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory):
    """One real tracking server for the tests that stop, continue or question it; it answers between tests."""
    from tests.mlflow_server import Server

    served = Server(tmp_path_factory.mktemp("server"))
    yield served
    served.kill()


@pytest.fixture(scope="session")
def here():
    """`launch` in this process: for what needs no signal, no Ray and no module of the user's."""

    def run(*words, cwd, **env):
        from study.launch import main

        out, err = io.StringIO(), io.StringIO()
        # What a command sets in its environment (Ray's token mode, say) is not to reach the next test's Ray.
        with (
            pytest.MonkeyPatch.context() as patch,
            mock.patch.dict(os.environ),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            for name in ("RAY_ADDRESS", "STUDY_DATA"):
                patch.delenv(name, raising=False)
            for name, value in env.items():
                patch.setenv(name, value)
            patch.chdir(cwd)
            patch.setattr(sys, "argv", ["study.launch", *words])
            status = main(list(words))
        return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="module")
def store_server():
    """An S3 server of this module's own on 127.0.0.1."""
    moto = pytest.importorskip("moto.server", reason="the extra `test` brings moto")
    with pytest.MonkeyPatch.context() as patch:
        running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
        for name, value in {
            "AWS_ENDPOINT_URL_S3": "http://{}:{}".format(*running.get_host_and_port()),
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        places.client.cache_clear()
        places.client().create_bucket(Bucket="studies")
        yield running
        running.stop()
        places.client.cache_clear()


@pytest.fixture
def place(store_server, tmp_path, monkeypatch):
    """An unused prefix, and a cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return places.at(f"s3://studies/{tmp_path.name}")
