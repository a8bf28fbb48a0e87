"""A setting that becomes an axis of a folder: what was finished stays, what is asked again is found."""

import json

from study.results import read

TINY = ["compressibility_sweep", "--preset", "smoke", "--in-process", "--output", "out", "--seeds", "1",
        "--set", "epochs=1", "--set", "test_size=40", "--set", "attack_iterations=2", "--set", "gap_iterations=2",
        "--set", "width=16"]  # fmt: skip


def content(folder):
    return {p.name: p.read_bytes() for p in sorted((folder / "trials").iterdir())}


def test_a_folder_is_extended_by_a_new_axis_and_keeps_what_it_has(here, tmp_path):
    assert here(*TINY, cwd=tmp_path).returncode == 0
    wide = here(*TINY, "--set", "width=16,24", cwd=tmp_path)
    assert (wide.returncode, "3 more are asked for" in wide.stderr) == (2, True), wide.stderr
    first = content(tmp_path / "out")
    assert len(first) == 3
    wider = here(*TINY, "--set", "depth=1,2", cwd=tmp_path)
    assert wider.returncode == 2
    assert "3 more are asked for" in wider.stderr
    wider = here(*TINY, "--set", "depth=1,2", "--resume", cwd=tmp_path)
    assert wider.returncode == 0, wider.stderr
    second = content(tmp_path / "out")
    assert len(second) == 6
    assert {name: second[name] for name in first} == first, "the old depth, 2, was one of those asked for"
    other = here(*TINY, "--set", "depth=1,3", "--resume", cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    assert len(json.loads((tmp_path / "out/study.json").read_text())["trials"]) == 9, "depth 2 is not forgotten"
    again = here(*TINY, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "Nothing left to run" in again.stderr
    assert len(json.loads((tmp_path / "out/study.json").read_text())["trials"]) == 9
    frame = read(tmp_path / "out")
    depths = frame.drop_duplicates("trial").groupby("depth").size().to_dict()
    assert depths == {1: 3, 2: 3, 3: 3}, "tables from before the axis stand at the setting"
    page = (tmp_path / "out/report.html").read_text()
    assert "At depth 3: " in page
