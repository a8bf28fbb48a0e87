"""A cluster of several machines, as far as one machine without privileges can play it: several real raylets.

`scripts/hosts.sh` does the same over three hosts with addresses, file systems and sshd of their own.
"""

import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from study.spec.errors import UsageError
from study.store import mirror
from study.sweep.worker import heartbeat
from tests.folders import digests
from tests.processes import read_until, wait_until

SMOKE = ["compressibility_sweep", "--preset", "smoke", "--set", "epochs=30", "--seeds", "2"]
TRIALS = 6


@pytest.fixture(scope="module")
def cluster(store_server):
    """A head without CPUs and two machines of one CPU each. Their workers know the S3 server and its keys from the
    environment of their own machine's Ray: no driver hands them over."""
    from ray.cluster_utils import Cluster

    from study.sweep.ray import backend

    running = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        running.add_node(num_cpus=1)
    running.wait_for_nodes()
    yield running
    backend.disconnect()
    running.shutdown()


def test_a_folder_that_a_machine_does_not_see_is_refused_before_anything_starts(cluster, tmp_path, monkeypatch):
    from study.sweep.ray import backend, nodes

    backend.connect(cluster.address)
    nodes.check_shared(tmp_path / "not/yet/there")
    assert list(tmp_path.iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(nodes.tempfile, "NamedTemporaryFile", Elsewhere)
        with pytest.raises(UsageError, match=r"is not seen by .*; use --output s3://BUCKET/PREFIX .*, or"):
            nodes.check_shared(tmp_path)
    backend.disconnect()


def test_a_process_is_ended_on_the_machine_that_its_note_names(cluster):
    from study.sweep.ray import backend, nodes

    backend.connect(cluster.address)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        begun = heartbeat.started(psutil.Process(sleeper.pid))
        node = cluster.list_all_nodes()[-1].node_id
        note = {"node": node, "pid": sleeper.pid, "process_started": begun}
        assert not nodes.end(note | {"process_started": begun - 100}), "an id that somebody else has now"
        assert not nodes.end(note | {"node": "0" * len(node)}), "a machine that is gone"
        assert sleeper.poll() is None
        assert nodes.end(note)
        assert sleeper.wait(10) == -signal.SIGKILL
        assert not nodes.end(note)
    finally:
        sleeper.kill()
        backend.disconnect()
    assert not nodes.end(note), "without a cluster nothing is asked, and no Ray is started"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="another host name needs root")
def test_a_worker_that_hangs_on_another_host_is_ended_and_its_trial_done(cluster, place, tmp_path):
    """The driver has a host name of its own, so its workers' machine is another one to it; the output is in S3."""
    words = ["compressibility_sweep", "--preset", "smoke", "--set", "epochs=400", "--seeds", "1", "--max-concurrent",
             "1", "--output", str(place), "--address", cluster.address]  # fmt: skip
    process = subprocess.Popen(
        ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh",
         sys.executable, "-u", "-m", "study.launch", *words],
        cwd=tmp_path, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or heartbeat.read(place), 120)
        ((trial, note),) = heartbeat.read(place).items()
        psutil.Process(note["pid"]).send_signal(signal.SIGSTOP)
        assert f"  {trial}: " in here_status(place, tmp_path)
        said = process.communicate(timeout=400)[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert f"the worker of trial {trial} (process {note['pid']} on {socket.gethostname()}) hung for 60 s" in said
    assert "3 of 3 trials finished" in said


def here_status(place, folder):
    done = subprocess.run(
        [sys.executable, "-m", "study.launch", "status", str(place)], cwd=folder, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout


def test_a_machine_that_dies_in_mid_sweep_changes_nothing(cluster, place, here, tmp_path):
    """The results are in S3, which the workers of either machine reach."""
    alone = here(*SMOKE, "--in-process", "--output", "control", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    words = [*SMOKE, "--output", str(place), "--address", cluster.address, "--max-concurrent", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "study.launch", *words],
        cwd=tmp_path, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    read_until(process, "[1/6]")
    raylet = cluster.list_all_nodes()[-1].all_processes["raylet"][0].process
    os.kill(raylet.pid, signal.SIGKILL)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    assert f"{TRIALS} of {TRIALS} trials finished" in said
    assert digests(mirror.local(str(place))) == digests(tmp_path / "control")


class Elsewhere:
    """A token on a disk of this machine's own: no other sees it."""

    name = "/nowhere/token"

    def __init__(self, **where):
        """Nothing is written."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        """Nothing to remove."""


def test_machines_still_to_come_are_taken_to_share_network_mounts_alone(tmp_path, monkeypatch):
    from study.sweep.ray import nodes

    file = tmp_path / "ray_bootstrap_config.yaml"
    monkeypatch.setattr(nodes, "_alive", lambda: [{"NodeID": "1", "NodeManagerAddress": "127.0.0.1"}])
    nodes.check_shared(tmp_path, str(file))
    file.write_text("max_workers: 2\nhead_node_type: h\navailable_node_types: {h: {}, w: {max_workers: 2}}\n")
    with pytest.raises(UsageError, match=r"lies on this machine alone, .*; use --output s3://BUCKET/PREFIX"):
        nodes.check_shared(tmp_path, str(file))
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nfs-1:/ {tmp_path}/shared nfs4 rw 0 0\n")
    assert nodes._network_mount(tmp_path / "shared/results", mounts)
    assert not nodes._network_mount(tmp_path / "other", mounts)
