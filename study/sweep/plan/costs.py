"""What a sweep will cost before it is started: seconds per stage from a committed table, scaled by past runs."""

import itertools
import math
import stat
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from study.spec import models
from study.spec.datasets import DATASETS, shape
from study.store import layout, manifest, results

# Seconds on one CPU thread (2-core x86-64 at about 3 GHz, torch 2.14, fully connected nets), fitted to the pilot's
# stage times. `*_flop` are seconds per floating-point operation, `*_step` the overhead of one iteration. The GPU
# column is arithmetic (a tenth of an A10G's fp32 peak), not a measurement.
SECONDS = {
    "cpu": {"start": 20.0, "trial": 0.15, "step": 1.2e-3, "step_flop": 3.0e-11, "pass": 2.0e-3, "pass_flop": 3.0e-11},
    "gpu": {"start": 60.0, "trial": 0.5, "step": 1.5e-3, "step_flop": 3.0e-13, "pass": 3.0e-3, "pass_flop": 3.0e-13},
}
# US dollars per hour, on demand, us-east-1, list price as of 2025.
DOLLARS_PER_HOUR = {"g4dn.xlarge": 0.526, "g5.xlarge": 1.006, "g5.2xlarge": 1.212}
GPUS = {"g4dn.xlarge": 1, "g5.xlarge": 1, "g5.2xlarge": 1}
# Share of one 24 GB GPU that a trial takes, by family and model ("*": any other). A process costs 0.5 GB of CUDA
# context before anything else; the share also fences its memory (sweep/worker/attempt.py), and a trial
# that does not fit is tried once more with twice as much. Arithmetic, not measurements.
GPU_SHARES = {
    ("operator_norm", "*"): 0.25,  # one matrix; its decompositions are serial and leave the GPU idle
    ("*", "fcn"): 0.25,  # 4 x 2000: 0.3 GB of weights, gradients, moments; kernels too small to fill a GPU alone
    ("*", "fcn, wide"): 0.5,  # from 4096 up: weights grow with the square, and the kernels fill half a GPU
    ("*", "resnet18"): 0.5,  # 0.2 GB of weights, but some GB of activations while whole batches are attacked
    ("*", "attention_block"): 0.25,
    ("*", "vit"): 0.5,
    ("*", "cnn"): 0.25,
    ("*", "cnn8"): 0.25,
    ("*", "vgg16"): 0.5,
    ("*", "wrn50_2"): 1.0,  # 1.1 and 2 GB of weights, gradients and moments; activations of the blocks' wide ends
    ("*", "wrn101_2"): 1.0,
    ("*", "swin_t"): 1.0,  # images of 224 pixels: 0.1 GB of activations each for a gradient
    ("*", "vit_tiny"): 0.5,
    ("*", "vit_b8"): 1.0,
    ("*", "*"): 1.0,  # a user's model: nothing is known of it; --gpus-per-trial says better
}
WIDE = 4096
# Queries of Square within AutoAttack and steps of the ascent behind the risk, where none are named.
QUERIES, ASCENT = 5000, 30
LEFT = 0.4  # of the passes over all images: AutoAttack lets those go that fall; measured on digits
BYTES_PER_TRIAL = 45_000
OTHER_IMAGES, OTHER_SHAPE = (50_000, 10_000), (3, 32, 32)
SMALL_STEM = 16  # a stem without stride and pooling leaves so many times the positions to all that follows


def multiplications(model: str, data: str, settings: Mapping[str, Any]) -> float:
    """Multiply-adds of one forward pass of one image, `settings` with the axes of a point; a user's model is taken for
    an FCN of the set size."""
    image, width, depth = shape(data) or OTHER_SHAPE, settings["width"], settings["depth"]
    side = models.side(model, image[-1])
    if model == "vit":
        return (side // settings["patch_size"]) ** 2 * depth * 12 * width**2
    if model == "attention_block":
        return (image[-1] // settings["patch_size"]) ** 2 * width * (image[0] * settings["patch_size"] ** 2 + 5 * width)
    info = models.MODELS.get(model, models.Model())
    if millions := info.millions[0]:
        larger = (side / info.pixels if info.pixels else image[-1] / info.counted_at) ** 2
        larger *= SMALL_STEM if settings["stem"] == "small" else 1
        return millions * 1e6 * larger * settings["width_multiplier"] ** 2
    sizes = [math.prod(image), *(width * settings.get("width_taper", 1.0) ** i for i in range(depth))]
    return sum(n * m for n, m in itertools.pairwise(sizes))


def parameters(model: str, data: str, settings: Mapping[str, Any]) -> float:
    """Weights of a model, about; a user's model is taken for a fully connected net of the set size."""
    if model == "vit":
        return settings["depth"] * 12 * settings["width"] ** 2
    if model == "attention_block":
        colors, *_, pixels = shape(data) or OTHER_SHAPE
        token, places = colors * settings["patch_size"] ** 2, (pixels // settings["patch_size"]) ** 2
        return settings["width"] * (token + places + 5 * settings["width"])
    millions = models.MODELS.get(model, models.Model()).millions[1]
    return millions * 1e6 * settings["width_multiplier"] ** 2 or multiplications(model, data, settings)


def trial_seconds(data: str, model: str, settings: Mapping[str, Any], gpu: bool) -> float:
    """Estimated wall seconds of one trial on one worker: trainings, attacks and the rest, from the table.

    `settings` with the axes of the trial's point. Without data: one singular value decomposition per ascent step.
    """
    s = SECONDS["gpu" if gpu else "cpu"]
    if not data:
        size = settings["rows"] * settings["columns"] * min(settings["rows"], settings["columns"])
        return s["trial"] + settings["ascent_steps"] * (s["step"] + 40 * size * s["step_flop"])
    train_all, test_all = DATASETS[data].images if data in DATASETS else OTHER_IMAGES
    train, test = settings["train_size"] or train_all, settings["test_size"] or test_all
    madds = multiplications(model, data, settings)
    attacked = 1 + settings["finetune_ratio"] * settings["train_steps"]
    tuned = {"none": 0.0, "standard": 1.0, "adversarial": attacked}[settings["finetune"]]
    epochs = settings["epochs"] * (1 + settings["adversarial_ratio"] * settings["train_steps"])
    epochs += tuned * settings["finetune_epochs"]
    before, train, test = _pretrained(settings, train, test)

    def passes_over(images: int, size: int) -> float:
        return math.ceil(images / size) * s["step"] + images * madds * 6 * s["step_flop"]

    training = epochs * passes_over(train, settings["batch_size"])
    first = settings["pretrain_epochs"] * (1 + settings["pretrain_ratio"] * settings["train_steps"])
    training += first * passes_over(before, settings["pretrain_batch_size"] or settings["batch_size"])
    budgets = len(settings["eps_linf"]) + len(settings["eps_l2"])
    passes = budgets * settings["attack_iterations"] * settings["attack_restarts"] * 2 + 2 * settings["gap_iterations"]

    def attacked_by(passes: float, images: int) -> float:
        return passes * (s["pass"] + images * madds * 3 * s["pass_flop"])

    attacking = attacked_by(passes, test) + sum(attacked_by(*more) for more in _beside(settings, test))
    return s["trial"] + training + attacking


def _beside(settings: Mapping[str, Any], test: int) -> Iterator[tuple[float, int]]:
    """Passes, and the images of each, of the attacks beside the study's own and of the measured risk."""
    iterations = settings["attack_iterations"] * settings["attack_restarts"]
    of = {"fgsm": 1.0, "pgd": settings["more_steps"], "cw": 10.0, "autoattack": LEFT * (38 * iterations + QUERIES)}
    norms = [settings[name] for name in ("eps_linf", "eps_l2") if settings[name]]
    for name in settings["more_attacks"]:
        yield sum(map(len, norms)) * of.get(name, iterations), test
    if (second := settings["second_attack"]) != "none":
        yield len(norms) * of.get(second, iterations), min(test, settings["second_images"] or test)
    if settings["risk_eps"]:
        yield len(settings["risk_eps"]) * (settings["risk_points"] + 2 * ASCENT), settings["risk_images"] or test


def _pretrained(settings: Mapping[str, Any], train: int, test: int) -> tuple[int, int, int]:
    """Training images of the pretraining (0: there is none), and those of the training and the test after it: halves
    where the data are halved."""
    kind, halved = settings["pretrain_data"], ("other_classes", "other_images")
    if kind == "none":
        return 0, train, test
    after = train if settings["train_size"] or kind not in halved else train // 2
    tested = test // 2 if kind == "other_classes" and not settings["test_size"] else test
    whole = DATASETS.get(kind)
    there = whole.images[0] if whole else OTHER_IMAGES[0] if ":" in kind else after
    return settings["pretrain_size"] or there, after, tested


def attack_seconds(
    data: str, model: str, settings: Mapping[str, Any], gpu: bool, iterations: int, queries: int
) -> float:
    """Estimated seconds of one AutoAttack of so many iterations (AutoPGD, and two attacks on nine targets each) and of
    so many queries of Square, on the test images."""
    s = SECONDS["gpu" if gpu else "cpu"]
    test = settings["test_size"] or (DATASETS[data].images if data in DATASETS else OTHER_IMAGES)[1]
    madds = multiplications(model, data, settings)
    passes = LEFT * (2 * 19 * iterations + queries)
    return passes * (s["pass"] + test * madds * 3 * s["pass_flop"])


def past_ratio(results: Path, device: str, alike: Mapping[str, str], most: int = 60) -> tuple[float, int]:
    """Median of measured over estimated seconds of the newest trials under a folder of results, and their number.

    Of studies whose study.json has what `alike` has (name, preset, data, model): what sharing a base spares, and where
    the table is wrong, differs from study to study. A convenience: whatever lies there and cannot be read as a trial's
    table is passed over.
    """
    folders = [path.parent for path in results.glob(f"*/{layout.STUDY}") if _is_like(path.parent, alike)]
    ages = {path: _modified(path) for folder in folders for path in (folder / layout.TRIALS).glob("*.parquet")}
    files = sorted((path for path in ages if ages[path] > 0), key=lambda path: -ages[path])[:most]
    ratios = [ratio for ratio in (_ratio(_footer(path), device) for path in files) if ratio]
    return (statistics.median(ratios), len(ratios)) if ratios else (1.0, 0)


def _is_like(folder: Path, alike: Mapping[str, str]) -> bool:
    try:
        found = manifest.load(folder)
    except (OSError, ValueError):
        return False
    return all(getattr(found, name) == value for name, value in alike.items())


def _modified(path: Path) -> float:
    """When a plain file was last written; 0 for a link, which may lead to nothing, a pipe, which would be waited for,
    and all else."""
    try:
        found = path.lstat()
    except OSError:
        return 0.0
    return found.st_mtime if stat.S_ISREG(found.st_mode) else 0.0


def _footer(path: Path) -> Any:
    try:
        with path.open("rb") as stream:
            return results.provenance(stream)
    except Exception:  # of a torn file Arrow raises many kinds; the sweep names it, here it just does not scale
        return {}


def _ratio(provenance: Any, device: str) -> float:
    """Measured over estimated seconds of a trial on a CPU, or on a GPU, as `device` is; 0 where it tells none."""
    try:
        ratio = provenance["wall_seconds"] / provenance["estimated_seconds"]
        alike = (provenance["device"] == "cpu") == (device == "cpu")
        return float(ratio) if alike and 0 < ratio < math.inf else 0.0
    except (KeyError, TypeError, ArithmeticError):
        return 0.0


def gpu_share(family: str, model: str, width: int) -> float:
    """Share of a GPU that a trial of a family gets by default, from GPU_SHARES."""
    kind = "fcn, wide" if model == "fcn" and width >= WIDE else model
    return next(GPU_SHARES[key] for key in ((family, "*"), ("*", kind), ("*", "*")) if key in GPU_SHARES)


def dollars(seconds_of_workers: float, gpus_per_trial: float, instance: str) -> float:
    """Price of so many worker seconds on a cluster of `instance`, packed by GPU fraction; 0 for an unknown one."""
    if instance not in DOLLARS_PER_HOUR or gpus_per_trial <= 0:
        return 0.0
    return seconds_of_workers * gpus_per_trial / GPUS[instance] / 3600 * DOLLARS_PER_HOUR[instance]


def duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 3 min 20 s, 2 h 5 min, 31 h, 65 days."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    if minutes >= 100 * 60:
        return f"{minutes / 1440:,.0f} days"
    if minutes >= 24 * 60:
        return f"{minutes / 60:.0f} h"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
