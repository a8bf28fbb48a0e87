"""Tab at the command line: what is offered, and that a real shell offers it."""

import os
import shutil
import subprocess
import sys

import pytest

from study.launch import app, main
from tests.helpers import ROOT


def offered(capsys, *words):
    """What Tab offers for the last of the words; the shell itself keeps what begins with it."""
    main(["__complete", *words])
    lines = capsys.readouterr().out.split("begin\n", 1)[-1].splitlines()
    found = [line.split("\t")[0] for line in lines if line and not line.startswith("\x1f")]
    return [word for word in found if word.startswith(words[-1])]


def test_studies_and_their_presets(capsys):
    assert {"compressibility_sweep", "pareto_search"} <= set(offered(capsys, ""))
    assert offered(capsys, "compressib") == ["compressibility_sweep"]
    assert offered(capsys, "compressibility_sweep", "--preset", "") == ["smoke", "laptop", "paper"]
    assert offered(capsys, "compression_level_sweep", "--preset", "paper_") == ["paper_cifar"]


def test_the_axes_of_the_study_come_first_then_its_settings(capsys):
    found = offered(capsys, "compressibility_sweep", "--set", "")
    assert found[:4] == ["alpha=", "penalty=", "frobenius=", "adversarial_ratio="]
    assert {"epochs=", "width=", "eps_linf="} <= set(found)
    assert not {"evaluations=", "ascent_steps=", "bits="} & set(found), "no family of this study takes them"
    assert offered(capsys, "compressibility_sweep", "--set", "epo") == ["epochs="]
    assert "evaluations=" in offered(capsys, "pareto_search", "-S", "eval")
    assert offered(capsys, "operator_norm_study", "--set", "ascent_s") == ["ascent_steps=", "ascent_step_size="]


def test_the_words_of_a_knob(capsys):
    assert offered(capsys, "pareto_search", "--set", "sampler=") == [
        "sampler=tpe", "sampler=nsga2", "sampler=qmc", "sampler=random"
    ]  # fmt: skip
    assert offered(capsys, "compressibility_sweep", "--set", "penalty=group_lasso,nuclear_norm_") == [
        "penalty=group_lasso,nuclear_norm_prox"
    ]


def test_a_study_that_is_not_known_is_offered_nothing_and_no_traceback(capsys):
    assert offered(capsys, "nosuch", "--set", "") == []


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_bash_offers_it(tmp_path):
    """As README says: the script that --install-completion writes, in a shell of its own."""
    (tmp_path / "study").write_text(f'#!/bin/sh\nexec {sys.executable} -m study.launch "$@"\n')
    (tmp_path / "study").chmod(0o755)
    (tmp_path / "completion").write_text(app.generate_completion(prog_name="study", shell="bash"))
    words = "COMP_WORDS=(study comp); COMP_CWORD=1; COMP_LINE='study comp'; COMP_POINT=10"
    tab = f'source {tmp_path}/completion; {words}; _study study comp study; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "-c", tab],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = {word.strip() for word in done.stdout.splitlines()}
    assert found == {"compressibility_sweep", "compression_level_sweep"}, done
