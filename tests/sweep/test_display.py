"""What a person sees while a sweep runs, on a terminal and in a pipe."""

import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
from types import SimpleNamespace

import pytest
from rich.console import Console

from search_spaces.pareto_search import STUDY
from study.sweep.display import Display, headline, meanwhile
from study.sweep.plan import search_record
from study.sweep.plan.request import Request, make_plan
from study.sweep.plan.source import FixedList


def job(seed=0, **axes):
    """As much of a job as is shown."""
    return SimpleNamespace(fingerprint=f"{axes}{seed}", axes=axes, trial=SimpleNamespace(seed=seed))


class Growing(FixedList):
    """A source that finds out on its way how many jobs there are, as a search does."""

    certain = False


def on_a_terminal(show, width=100):
    """What `show` makes of a console on a real terminal, as the terminal got it."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
    got = bytearray()

    def read():
        while True:
            try:
                got.extend(os.read(master, 65536))
            except OSError:  # the other end is closed
                return

    reader = threading.Thread(target=read)
    reader.start()
    with open(slave, "w") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm-256color")
        patch.delenv("NO_COLOR", raising=False)
        show(Console(file=stream, soft_wrap=True, highlight=False, width=width))
    reader.join()
    os.close(master)
    return got.decode()


def plain(text):
    """Lines without the codes of a terminal; those drawn anew in place stand once each."""
    bare = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return [line.strip() for line in re.split(r"[\r\n]+", bare) if line.strip()]


def two_trials(console):
    jobs = [job(alpha=0.1), job(seed=1)]
    with Display(console, FixedList({j.fingerprint: j for j in jobs}), 1, 1.0) as display:
        for each, status, note in zip(jobs, ("ok", "failed"), ("clean 0.967", "RuntimeError: [red]boom"), strict=True):
            display.started(each)
            display.ended(each, status, note)


def test_a_terminal_shows_every_finished_trial_above_the_bar():
    got = on_a_terminal(two_trials)
    lines = plain(got)
    first = lines.index("[1/2] alpha 0.1 seed 0: ok, clean 0.967")
    second = lines.index("[2/2] baseline seed 1: failed, RuntimeError: [red]boom")
    assert first < second
    bars = [line for line in lines if line.startswith("trials")]
    assert any("1/2, " in line and "0 failed" in line for line in bars), bars
    assert got.rstrip().endswith("\x1b[2K"), "the bar is taken away at the end"


def test_a_pipe_has_the_same_lines_and_the_state_behind_each():
    out = io.StringIO()
    two_trials(Console(file=out, soft_wrap=True, highlight=False))
    first, second = out.getvalue().splitlines()
    assert first.startswith("[1/2] alpha 0.1 seed 0: ok, clean 0.967; 0 running, 0 failed, ")
    assert second == "[2/2] baseline seed 1: failed, RuntimeError: [red]boom; 0 running, 1 failed, 0 s left"


def test_a_bar_fits_eighty_columns_with_all_its_words():
    source = Growing({str(i): job(seed=i) for i in range(1440)})

    def show(console):
        with Display(console, source, 2, 1.0) as display:
            for seed in range(999):
                display.running.clear()
                display.walls.append(70.0)
                display.done = seed
            display.started(job(seed=999))

    bars = [line for line in plain(on_a_terminal(show, width=80)) if line.startswith("trials")]
    assert any(line.endswith("left") and "998 of at least 1440, 1 running, 0 failed" in line for line in bars), bars


def test_the_count_of_a_search_is_said_to_be_the_least_until_it_is_known():
    out = io.StringIO()
    jobs = [job(seed=i) for i in range(3)]
    source = Growing({j.fingerprint: j for j in jobs[:2]})
    with Display(Console(file=out, soft_wrap=True), source, 1, 1.0) as display:
        for each in jobs:
            display.started(each)
            display.ended(each, "ok", "")
            source.total, source.certain = 3, True
    said = [line.partition("]")[0] + "]" for line in out.getvalue().splitlines()]
    assert said == ["[1 of at least 2]", "[2/3]", "[3/3]"]


REPORT = {
    "clean_accuracy": 0.5, "clean_accuracy/validation": 0.404, "stored_bytes": 13568.0,
    "robust_accuracy/linf_16_255_validation": 0.139, "robust_accuracy/linf_16_255": 0.2,
    "robust_accuracy/linf_16_255_native-square": 0.3, "robust_accuracy/linf_16_255_native-autoattack-r3": 0.15,
}  # fmt: skip


def test_a_search_says_what_it_trades():
    plan = make_plan(Request(study="pareto_search", preset="smoke"), need_data=False)
    search = search_record.record(plan)
    own = STUDY.presets["smoke"].search["search_seed"]
    tried = headline(job(seed=own), REPORT, search)
    assert tried == "robust_accuracy 0.139, stored_bytes 13,568; clean 0.404 on validation images"
    finalist = headline(job(seed=0), REPORT, search)
    assert finalist == "robust_accuracy 0.150, stored_bytes 13,568; clean 0.500 on test images"
    assert headline(job(seed=0), {"status": "failed", "cause": "boom"}, search) == "boom"
    assert headline(job(seed=0), {"clean_accuracy": 0.5, "robust_accuracy/l2_0.5": 0.25}, {}) == (
        "clean 0.500, robust l2_0.5 0.250"
    )
    assert headline(job(), {"clean_accuracy": 0.5}, {}) == "clean 0.500"


def test_what_takes_minutes_is_said_while_it_does():
    seen = []

    def show(console):
        with meanwhile(console, "Writing the report of 1000 trials"):
            seen.append(1)

    assert any("Writing the report of 1000 trials" in line for line in plain(on_a_terminal(show)))
    piped = io.StringIO()
    show(Console(file=piped))
    assert piped.getvalue() == "Writing the report of 1000 trials\n"
    assert seen == [1, 1]
