"""The table: complete or absent, first publication wins, damage is found."""

import json
import math

import pyarrow as pa
import pytest

from study.store import results


def rows(n=3, value=0.5):
    identity = {"study": "s", "family": "f", "trial": "t", "seed": 0, "status": "ok", "alpha": 0.1, "rank": 0}
    return [identity | {"measure": "m", "layer": f"l{i}", "value": value + i, "deterministic": True} for i in range(n)]


def test_round_trip_keeps_every_value():
    content = results.encode([*rows(), *rows(1, math.inf), *rows(1, math.nan)], {"commit": "c"})
    back = results.decode(content)
    assert [r["value"] for r in back.rows[:4]] == [0.5, 1.5, 2.5, math.inf]
    assert math.isnan(back.rows[4]["value"])
    assert back.rows[0]["kept"] is None
    assert back.provenance == {"commit": "c"}


def test_first_publication_wins(tmp_path, caplog):
    path = tmp_path / "trials" / "t.parquet"
    results.publish_trial(tmp_path, "t", rows(), {})
    before = path.read_bytes()
    results.publish_trial(tmp_path, "t", rows(), {"again": 1})
    assert path.read_bytes() == before
    assert caplog.records == []
    results.publish_trial(tmp_path, "t", rows(value=0.7), {})
    assert path.read_bytes() == before
    assert "other deterministic rows" in caplog.text
    assert [p.name for p in path.parent.iterdir()] == ["t.parquet"]


def test_rows_that_are_not_deterministic_may_differ(tmp_path, caplog):
    for seconds in (1.0, 2.0):
        timing = rows(1)[0] | {"measure": "train_seconds", "value": seconds, "deterministic": False}
        results.publish_trial(tmp_path, "t", [*rows(), timing], {})
    assert caplog.records == []


def test_a_file_from_before_an_axis_was_added_is_read_at_the_axis_default(monkeypatch):
    old = [c for c in results.COLUMNS if c not in ("frobenius", "ascended_norm")]
    with monkeypatch.context() as patch:
        patch.setattr(results, "COLUMNS", old)
        patch.setattr(results, "SCHEMA", pa.schema([f for f in results.SCHEMA if f.name in old]))
        patch.setattr(results.rows_digest, "__defaults__", (False, old))
        content = results.encode(rows(), {})
    back = results.decode(content)
    assert [r["value"] for r in back.rows] == [0.5, 1.5, 2.5]
    assert {(r["frobenius"], r["ascended_norm"]) for r in back.rows} == {(1.0, "")}
    with monkeypatch.context() as patch:
        patch.setattr(results, "COLUMNS", [c for c in results.COLUMNS if c != "kept"])
        with pytest.raises(results.Damaged, match="not those of this version"):
            results.decode(results.encode(rows(), {}))


def test_a_damaged_file_is_set_aside_and_named(tmp_path, caplog):
    results.publish_trial(tmp_path, "good", rows(), {})
    results.publish_trial(tmp_path, "bad", rows(), {})
    path = results.trial_path(tmp_path, "bad")
    path.write_bytes(path.read_bytes()[:-40])
    (tmp_path / "trials" / ".tmp-left").write_bytes(b"x")
    (tmp_path / "models" / ".tmp-exported").mkdir(parents=True)
    (tmp_path / "models" / ".tmp-exported" / "MLmodel").touch()
    assert set(results.scan(tmp_path)) == {"good"}
    assert path.exists()
    results.mend(tmp_path)
    assert set(results.scan(tmp_path, set_aside=True)) == {"good"}
    assert "bad.parquet is damaged" in caplog.text
    assert not path.exists()
    assert (tmp_path / "damaged" / "bad.parquet").exists()
    assert not (tmp_path / "trials" / ".tmp-left").exists()
    assert list((tmp_path / "models").iterdir()) == []


def test_read_joins_finished_and_failed(tmp_path):
    (tmp_path / "study.json").write_text("{}")
    results.publish_trial(tmp_path, "t", rows(), {})
    for _ in range(2):
        results.note_failure(tmp_path, "u", {"identity": rows()[0] | {"trial": "u"}, "cause": "boom", "log": "..."})
    frame = results.read(tmp_path)
    assert list(frame.columns) == results.COLUMNS
    assert set(frame["status"]) == {"ok", "failed"}
    assert results.failures(tmp_path)["u"]["attempts"] == 2
    results.publish_trial(tmp_path, "u", rows(), {})
    assert set(results.read(tmp_path)["status"]) == {"ok"}


def test_read_refuses_a_foreign_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no study\.json"):
        results.read(tmp_path)


def test_csv_runs_no_formula(tmp_path):
    (tmp_path / "study.json").write_text("{}")
    results.publish_trial(tmp_path, "t", [rows()[0] | {"model": "=cmd()"}], {})
    results.to_csv(results.read(tmp_path), tmp_path / "x.csv")
    assert "'=cmd()" in (tmp_path / "x.csv").read_text()


def test_read_study_names_what_is_missing(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"configuration": {}, "arms": []}))
    with pytest.raises(ValueError, match="seeds, trials"):
        results.read_study(tmp_path)
