"""What the joined Ray cluster is: what its machines hold, now and once the autoscaler has started all, and share."""

import contextlib
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import yaml
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.spec.errors import UsageError
from study.sweep.worker import heartbeat, signals

CLUSTER_FILE = "~/ray_bootstrap_config.yaml"
PROBE_SECONDS = 60.0
END_SECONDS = 30.0
# File systems that several machines mount; a folder on one of them needs no probe of workers not yet started.
NETWORK = ("nfs", "cifs", "smb", "lustre", "ceph", "gpfs", "beegfs", "glusterfs", "fuse.", "9p", "afs", "efs", "wekafs")

Machine = dict[str, float]


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _file(path: str) -> dict[str, Any]:
    file = Path(path).expanduser()
    return yaml.safe_load(file.read_text()) or {} if file.is_file() else {}


def startable(path: str = CLUSTER_FILE) -> list[tuple[Machine, int]]:
    """The machines that the autoscaler may hold, head included, from the file that `ray up` leaves on the head.

    Resources and most of each kind; the resources are empty where the file does not say them (machines by SSH).
    """
    cluster = _file(path)
    head, most = cluster.get("head_node_type"), cluster.get("max_workers", 0)
    return [
        (dict(kind.get("resources", {})), 1 if name == head else min(kind.get("max_workers", 0), most))
        for name, kind in cluster.get("available_node_types", {}).items()
    ]


def workers_to_come(path: str = CLUSTER_FILE) -> bool:
    """Whether the cluster file lets more machines join than the head."""
    return any(count for _, count in startable(path)) and _file(path).get("max_workers", 0) > 0


def machines(path: str = CLUSTER_FILE) -> list[Machine]:
    """What the cluster holds at its largest: its live machines, or those of the cluster file if these are more."""
    alive = [{k: n["Resources"].get(k, 0.0) for k in ("CPU", "GPU")} for n in _alive()]
    unknown = alive[0] if alive else {}
    listed = [m or unknown for m, count in startable(path) for _ in range(count)]
    return max(alive, listed, key=lambda some: sum(m.get("CPU", 0) + 1e3 * m.get("GPU", 0) for m in some))


def fits(machine: Machine, cpus: float, gpus: float) -> int:
    """Trials of so many CPUs and GPUs that a machine holds at once; a fraction of a GPU lies on one GPU."""
    by_cpu = machine.get("CPU", 0.0) / cpus + 1e-9 if cpus else float("inf")
    have = machine.get("GPU", 0.0)
    by_gpu = have * int(1 / gpus + 1e-9) if 0 < gpus <= 1 else have / gpus if gpus else float("inf")
    return int(min(by_cpu, by_gpu + 1e-9, 10**6))


@signals.held()
def total(kind: str) -> float:
    """CPU or GPU of the whole cluster at its largest."""
    return sum(machine.get(kind, 0.0) for machine in machines())


def _network_mount(path: Path, table: Path = Path("/proc/mounts")) -> bool:
    """Whether the file system that holds `path` is one that machines share."""
    mounts = [line.split()[1:3] for line in table.read_text().splitlines()] if table.exists() else []
    over = [(point, kind) for point, kind in mounts if path.is_relative_to(point.replace("\\040", " "))]
    return bool(over) and max(over, key=lambda m: len(m[0]))[1].startswith(NETWORK)


@contextlib.contextmanager
def _token(folder: Path) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".shared-", suffix=uuid.uuid4().hex) as stream:
        yield Path(stream.name)


def _done(tasks: list[Any]) -> list[Any]:
    """Those of the tasks that are done, once all are or PROBE_SECONDS are over; a signal is heeded meanwhile."""
    end = time.monotonic() + PROBE_SECONDS
    done: list[Any] = []
    while len(done) < len(tasks) and (left := end - time.monotonic()) > 0:
        signals.check()
        done, _ = ray.wait(tasks, num_returns=len(tasks), timeout=min(left, 0.5))
    return done


@signals.held()
def check_shared(folder: Path, path: str = CLUSTER_FILE) -> None:
    """UsageError unless every machine of the cluster sees the folder that results are to be written to.

    A task on each live machine looks for a token file; machines that are still to come are taken to share a network
    mount and nothing else.
    """
    nodes = _alive()
    while not folder.exists():
        folder = folder.parent
    where = "use --output s3://BUCKET/PREFIX (or STUDY_OUTPUT), or a folder that every machine mounts (NFS)"
    if len(nodes) > 1:
        with _token(folder) as token:
            look = ray.remote(num_cpus=0)(lambda name: Path(name).exists())
            asked = {
                look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(n["NodeID"], soft=False)).remote(
                    str(token)
                ): n["NodeManagerAddress"]
                for n in nodes
            }
            done = _done(list(asked))
            blind = [address for task, address in asked.items() if task not in done or not ray.get(task)]
        if blind:
            raise UsageError(f"--output {folder} is not seen by {', '.join(blind)} of the cluster; {where}")
    elif workers_to_come(path) and not _network_mount(folder):
        raise UsageError(f"--output {folder} lies on this machine alone, and the cluster starts more of them; {where}")


def end(note: dict[str, Any]) -> bool:
    """Kill the process of a heartbeat's note on its machine of the cluster; False when it, or the machine, is gone.

    TimeoutError when the machine does not answer.
    """
    if not ray.is_initialized() or note.get("node") not in {node["NodeID"] for node in _alive()}:
        return False
    there = NodeAffinitySchedulingStrategy(note["node"], soft=False)
    kill = ray.remote(num_cpus=0, max_retries=0)(heartbeat.end).options(scheduling_strategy=there)
    task = kill.remote(note)
    try:
        return bool(ray.get(task, timeout=END_SECONDS))
    except ray.exceptions.GetTimeoutError:
        ray.cancel(task, force=True)  # or it would kill a worker that has woken up meanwhile
        raise TimeoutError from None
    except ray.exceptions.RayError:  # the machine has just been lost, and its workers with it
        return False
