"""Damaged command lines: options in any order with values that are right, wrong, or nothing at all."""

import os
import random
from pathlib import Path

from benchmarks.damage.base import Base
from benchmarks.damage.case import Case, Step
from study.spec.knobs import KNOBS, SEARCH
from study.sweep.plan.catalogue import study_names

ODD = (
    "", " ", "-", "--", "-1", "0", "1", "3", "1.5", "1e999", "nan", "inf", "-inf", "1e-400", "0x10", "1_000", "٣", "½",
    "true", "None", "[]", "{}", "{", "a=b", "=", "==", ",", ",,", "1,", "1,,2", "0:1:5", "1..3", "*", "?", "~", "$HOME",
    "`id`", "\x1b[31mred", "é", "日本", "\u202eabc", "\udcff", "a" * 300, "a" * 5000, "[bold]x[/bold]", "[/]", "%s%n",
    "{0}", "../..", "/", "/dev/null", "/proc/self/mem", ".", "..", "file.txt", "dir", "missing", "missing/deep", "link",
    "pipe", "s3:", "s3://", "s3:///x", "s3://B/x", "gs://b/x", "S3://b/x", "s3:/b/x", "https://h/x", "file:///x",
    "nomodule:x", "json:dumps", "json:nothing", "os:name", ":", "a:", ":b", "a:b:c", "imagefolder:",
    "imagefolder:missing", "99999999999999999999", "-0", "1e5", "8/255", "8/0", "/255", "1/2/3", "full", "own", "none",
    "auto", "smoke",
)  # fmt: skip
VALUES: dict[str, tuple[str, ...]] = {
    "--preset": ("smoke", "laptop", "paper", "Smoke", "tiny"),
    "--seeds": ("1", "2", "0,1", "0,0", "1001", "-1", "2147483648", "1,x"),
    "--data": ("digits", "mnist", "cifar10", "imagenet", "dir", "mine:data"),
    "--data-dir": ("data", "missing", "file.txt"),
    "--model": ("fcn", "resnet18", "vit", "resnet50", "mine:model", "json:dumps"),
    "--output": ("out", "file.txt", "dir", "file.txt/out", "link", "pipe", "out/" + "d" * 300),
    "--cpus-per-trial": ("1", "2", "0.5", "0", "1000"),
    "--gpus-per-trial": ("0", "0.25", "1", "-1"),
    "--max-concurrent": ("0", "1", "99", "-2", "1.5"),
    "--time-budget": ("90s", "10m", "2h", "2 h", "h", "0s", "1e400s", "9e99h"),
    "--warm-start": ("missing", "dir", "norms", "norms,missing", "file.txt"),
    "--search-storage": ("sqlite:///x.db", "mysql://u:secret@h/x", "x"),
    "--tracking-uri": ("sqlite:///other.db", "http://127.0.0.1:9", "x", "file:./runs", "databricks"),
    "--address": ("auto", "127.0.0.1:9", "ray://127.0.0.1:9", "x"),
    "--cluster": ("cluster.yaml", "http://127.0.0.1:9", "missing.yaml"),
    "--csv": ("out.csv", "dir", "missing/out.csv", "file.txt"),
    "--study": ("compressibility_sweep", "operator_norm_study", "mine:STUDY"),
}
SWITCHES = ("--resume", "--retry-failed", "--in-process", "--json", "--dry-run", "--download", "--retrain")
LEVELS = ("0", "1", "2", "0.5", "8", "1e-3", "0,1", "0,0", "4,2,1", "0.1,0.2,0.3", "full", "linf", "l2", "adamw", "sgd",
          "-1", "tpe", "paper_a", "native/apgd", "apgd", "square", "robust_accuracy,macs", "true", "1e10")  # fmt: skip


def case(rng: random.Random, base: Base) -> Case:
    """One command line that starts nothing, for it begins with --dry-run, or reads folders."""
    kind = rng.choices(("sweep", "list", "read", "rebuild", "any"), (10, 1, 4, 1, 2))[0]
    fine: tuple[int, ...] = (0, 2)
    program = "launch"
    if kind == "sweep":
        words = ["--dry-run", *_study(rng), *_options(rng)]
    elif kind == "list":
        words = ["--list", *_options(rng)]
    elif kind == "read":
        words, fine = _reading(rng)
    elif kind == "rebuild":
        where = [
            rng.choice(("norms", "missing", "dir", "file.txt", "link", "pipe", *ODD)) for _ in range(rng.randint(0, 2))
        ]
        uri = ["--tracking-uri", rng.choice((*VALUES["--tracking-uri"], *ODD))] if rng.random() < 0.5 else []
        words, fine, program = ["rebuild", *where, *uri], (0, 1, 2), "tracking"
    else:
        pool = (*ODD, *VALUES, *SWITCHES, "--set", "--help", "--version", "--lst", "-h", "-S")
        words = ["--dry-run", *(rng.choice(pool) for _ in range(rng.randint(0, 6)))]
    if rng.random() < 0.15 and len(words) > 1:  # any word but the first, which starts nothing
        words[rng.randrange(1, len(words))] = rng.choice(ODD)
    encoding = "ascii" if rng.random() < 0.1 else "utf-8"
    env = {"HOME": rng.choice(("/dev/null", "/missing", ""))} if rng.random() < 0.05 else {}
    env |= {"STUDY_OUTPUT": rng.choice(("dir", "s3://b", "gs://b", "file.txt", "pipe"))} if rng.random() < 0.05 else {}
    words = [word.replace("\0", "") for word in words]
    about = f"{encoding} {env or ''}".strip()

    def prepare(work: Path) -> None:
        if any("norms" in word for word in words):
            base.copy(work)
        (work / "dir").mkdir()
        (work / "file.txt").write_text("x")
        (work / "link").symlink_to("nowhere")
        os.mkfifo(work / "pipe")

    return Case("words", about, (Step(tuple(words), fine, program),), prepare, env=env, encoding=encoding)


def _study(rng: random.Random) -> list[str]:
    names = study_names()
    near = [name.replace("_", "-") for name in names] + [name[:-1] for name in names]
    return [rng.choices((rng.choice(names), rng.choice(near), rng.choice(ODD)), (16, 1, 1))[0]]


def _options(rng: random.Random) -> list[str]:
    words: list[str] = []
    for _ in range(rng.choices((0, 1, 2, 3, 6), (1, 4, 4, 2, 1))[0]):
        shape = rng.random()
        if shape < 0.5:
            words += [rng.choice(("--set", "--set", "-S")), _setting(rng)]
        elif shape < 0.9:
            name = rng.choice(tuple(VALUES))
            value = rng.choice(VALUES[name]) if rng.random() < 0.6 else rng.choice(ODD)
            words += rng.choice(([name, value], [f"{name}={value}"], [name]))
        else:
            words.append(rng.choice((*SWITCHES, "--colour", "-x", "--Preset", "--no-resume")))
    return words


def _setting(rng: random.Random) -> str:
    name = rng.choice((*KNOBS, *SEARCH)) if rng.random() < 0.9 else rng.choice(("lr", "seeds", "output", *ODD))
    choices = tuple(map(str, (KNOBS | SEARCH)[name].choices)) if name in KNOBS | SEARCH else ()
    value = rng.choice((*choices * 3, *LEVELS)) if rng.random() < 0.8 else rng.choice(ODD)
    return rng.choices((f"{name}={value}", f"{name}", f"{name}:{value}", f" {name} = {value}"), (20, 1, 1, 1))[0]


def _reading(rng: random.Random) -> tuple[list[str], tuple[int, ...]]:
    name = rng.choice(("status", "report", "evaluate"))
    places = ("norms", "norms", "missing", "dir", "file.txt", "link", "pipe", *ODD)
    words = [name, *(rng.choice(places) for _ in range(rng.choices((0, 1, 2), (1, 6, 2))[0]))]
    if name == "evaluate":
        words += [rng.choice(("0", "", "*", "../x", "f" * 16, *ODD))]
    words += [rng.choice(("--json", "--retrain", "--csv", "--data-dir", *_options(rng)))] if rng.random() < 0.5 else []
    return words, (0, 1, 2)  # 1: a trial that is measured again is different, or has no weights to be measured by
