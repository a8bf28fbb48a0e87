"""A job's results brought to this machine: from S3 into their copy, from the head's disk by rsync."""

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from rich.console import Console

from study.spec.errors import UsageError
from study.store import layout, mirror, places
from study.store.manifest import read_manifest

# What would keep files of the results from being copied: these patterns are for the checkout that `ray up` sends.
FILTERS = ("rsync_exclude", "rsync_filter")


def fetch(file: str, where: str, out: Console, err: Console) -> None:
    """Bring the results at `where` on a cluster here and say where they are; nothing of another sweep is touched."""
    if where.startswith(places.SCHEME):
        try:
            out.print(f"Results: {where}, copied to {mirror.local(where)}", markup=False)
        except (places.Unavailable, UsageError) as error:
            err.print(f"The results are in {where}; they could not be copied here ({error}).", markup=False)
    elif file.startswith(("http://", "https://")):
        out.print(f"Results: {where} on the cluster", markup=False)
    elif problem := from_head(file, where, target := Path("results") / Path(where).name):
        err.print(f"The results are in {where} on the head of {file} and were not copied: {problem}", markup=False)
    else:
        out.print(f"Results: {target} (copied from {where} on the cluster)", markup=False)


def from_head(file: str, where: str, target: Path) -> str:
    """Copy a folder of the head of a cluster file to `target`; why not, or nothing.

    study.json comes first: a target that holds another sweep is left as it is, and a copy that breaks off can be gone
    on with.
    """
    with tempfile.TemporaryDirectory() as name:
        cluster, first = Path(name) / "cluster.yaml", Path(name) / layout.STUDY
        config = yaml.safe_load(Path(file).read_text())
        cluster.write_text(yaml.safe_dump({k: v for k, v in config.items() if k not in FILTERS}))
        if problem := _rsync_down(cluster, f"{where}/{first.name}", str(first)):
            return problem
        if not _same_sweep(first.parent, target):
            return f"{target} holds another sweep; move it and give the same command again"
        places.replace(target / first.name, first.read_bytes())
        return _rsync_down(cluster, f"{where}/", f"{target}/")


def _same_sweep(theirs: Path, target: Path) -> bool:
    """Whether `target` holds the sweep of the folder `theirs`, or nothing at all."""
    if not target.is_dir():
        return not target.exists()
    try:
        there, here = read_manifest(theirs), read_manifest(target)
    except UsageError:
        return False
    if here is None:
        return all(path.name == layout.LOCK for path in target.iterdir())  # a first start that was refused leaves one
    return there is not None and there.sweep == here.sweep != ""


def _rsync_down(cluster: Path, source: str, target: str) -> str:
    """Ray's rsync from the head; what it said when it failed."""
    ray = [sys.executable, "-m", "ray.scripts.scripts", "rsync-down", str(cluster), source, target]
    done = subprocess.run(ray, capture_output=True, text=True, check=False)
    return f"rsync failed:\n{done.stderr.strip()[-500:]}" if done.returncode else ""
