"""A results folder as a sweep leaves it, made without running one."""

import json
import time

from study.spec.knobs import AXES
from study.store import results
from study.store.manifest import Manifest

READ = [*results.COLUMNS[:2], "arm", *results.COLUMNS[2:]]  # the columns of a table that was read


def make_folder(folder, trials, failed=0):
    """A results folder with finished and failed trials, as a sweep leaves it: its manifest, and their fingerprints."""
    axes = {name: knob.default for name, knob in AXES.items()}
    names = [f"{i:016x}" for i in range(trials)]
    manifest = {
        "configuration": {"study": "compressibility_sweep", "data": "digits", "data_digest": "d", "model": "fcn",
                          "model_digest": "", "settings": {"width": 8, "epochs": 2}},
        "preset": "smoke", "question": "Why?", "figure": "none", "covers": [], "seeds": [0], "trials": names,
        "axes_off": axes, "version": "0",
        "arms": [{"name": "neuron", "family": "regularization", "axes": {"alpha": [0.0]}}],
        "created": time.time(), "sweep": f"{folder.name}-{time.time_ns():x}", "commit": "abc",
    }  # fmt: skip
    folder.mkdir()
    (folder / "study.json").write_text(json.dumps(manifest))
    for i, name in enumerate(names):
        identity = {"study": "compressibility_sweep", "family": "regularization", "trial": name, "seed": i} | axes
        if i < failed:
            note = {"identity": identity, "cause": "boom", "log": ""}
            results.note_failure(folder, name, note)
            continue
        rows = [identity | {"status": "ok", "measure": "clean_accuracy", "value": i / 100, "deterministic": True}]
        rows += [rows[0] | {"measure": "train_loss", "step": float(s), "value": 1.0 / s} for s in (1, 2)]
        results.publish_trial(folder, name, rows, {"finished": 1.7e9 + i, "wall_seconds": 10.0, "cpu_seconds": 36.0})
    return Manifest.of(manifest), names


def digests(folder):
    """The deterministic rows of every trial in a folder, as digests by fingerprint."""
    return {name: results.rows_digest(t.rows, True) for name, t in results.scan(folder).items()}


def rows(n=3, value=0.5, trial="t"):
    """Rows of one trial, one per layer."""
    identity = {"study": "s", "family": "f", "trial": trial, "seed": 0, "status": "ok", "alpha": 0.1, "rank": 0}
    return [identity | {"measure": "m", "layer": f"l{i}", "value": value + i, "deterministic": True} for i in range(n)]
