"""The table: complete or absent, first publication wins, damage is found."""

import io
import json
import math
import os
import weakref
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.store import layout, manifest, results, schema
from study.store import table as tables
from study.sweep import runner
from tests.folders import READ, make_folder, rows


def test_round_trip_keeps_every_value():
    infinite, undefined = (rows(1, value)[0] | {"step": step} for step, value in enumerate((math.inf, math.nan)))
    content = results.encode([*rows(), infinite, undefined], {"commit": "c"})
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


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_result_files_follow_the_umask(mask, mode, tmp_path):
    """Colleagues on a shared disk read them, or do not."""
    before = os.umask(mask)
    try:
        results.publish_trial(tmp_path, "t", rows(), {})
        results.note_failure(tmp_path, "u", {"identity": rows()[0], "cause": "boom", "log": ""})
        results.replace(tmp_path / "study.json", b"{}")
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.rglob("*") if p.is_file()}
    assert modes == {"t.parquet": mode, "u.json": mode, "study.json": mode}


def test_rows_that_are_not_deterministic_may_differ(tmp_path, caplog):
    for seconds in (1.0, 2.0):
        timing = rows(1)[0] | {"measure": "train_seconds", "value": seconds, "deterministic": False}
        results.publish_trial(tmp_path, "t", [*rows(), timing], {})
    assert caplog.records == []


def test_a_file_from_before_an_axis_was_added_is_read_at_the_axis_default(monkeypatch):
    old = [c for c in results.COLUMNS if c not in ("frobenius", "ascended_norm")]
    with monkeypatch.context() as patch:
        patch.setattr(tables, "COLUMNS", old)
        patch.setattr(schema, "SCHEMA", pa.schema([f for f in schema.SCHEMA if f.name in old]))
        content = results.encode(rows(), {})
    back = results.decode(content)
    assert [r["value"] for r in back.rows] == [0.5, 1.5, 2.5]
    assert {(r["frobenius"], r["ascended_norm"]) for r in back.rows} == {(1.0, "")}


def test_a_knob_that_a_study_moves_is_a_column_of_its_tables_alone(tmp_path):
    for folder, moved in (("moves", {"width": 32}), ("holds", {})):
        results.publish_trial(tmp_path / folder, "t", [r | moved for r in rows()], {})
        settings = {"settings": {"width": 200, "epochs": 2}}
        study = {"configuration": settings, "arms": [], "seeds": [0], "trials": ["t"]}
        (tmp_path / folder / "study.json").write_text(json.dumps(study))
    assert "width" not in results.read_trial(layout.trial_path(tmp_path / "holds", "t")).rows[0]
    assert list(results.read(tmp_path / "holds").columns) == READ
    both = results.read(tmp_path / "moves", tmp_path / "holds")
    assert list(both.columns) == [*READ, "width"]
    assert both["width"].tolist() == [32] * 3 + [200] * 3, "a study that holds it has it at its setting"


def rewritten(content, change):
    """A table with `change` made to it, as another version would have written it; that knows how to digest more."""
    table = pq.read_table(io.BytesIO(content))
    metadata = table.schema.metadata
    table = change(table)
    digest = results.rows_digest(table.to_pylist(), columns=[c for c in table.schema.names if c in results.COLUMNS])
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata | {b"rows_sha256": digest.encode()}), buffer)
    return buffer.getvalue()


def test_a_known_column_that_is_absent_reads_as_null():
    content = rewritten(results.encode([r | {"kept": 0.5, "norm": "l2"} for r in rows()], {}), lambda t: t.drop("kept"))
    assert {(r["kept"], r["norm"]) for r in results.decode(content).rows} == {(None, "l2")}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.append_column("of_tomorrow", pa.array([1.0] * 3)), "of_tomorrow (double)"),
        (lambda t: t.append_column("when", pa.array([0] * 3, pa.timestamp("s"))), "when (timestamp["),
        (lambda t: t.set_column(t.schema.get_field_index("k"), "k", pa.array(["5"] * 3)), "k (string)"),
        (lambda t: t.drop(["k", "draw"]).append_column("top", pa.array([5] * 3)), "top (int64)"),
    ],
    ids=["a column", "one that JSON does not know", "another type", "renamed"],
)
def test_what_this_version_does_not_know_is_a_newer_one_and_stays(change, named, tmp_path):
    (tmp_path / "trials").mkdir()
    (tmp_path / "study.json").write_text("{}")
    path = layout.trial_path(tmp_path, "t")
    path.write_bytes(content := rewritten(results.encode(rows(), {}), change))
    for read in (
        lambda: results.read_trial(path),
        lambda: results.scan(tmp_path, set_aside=True),
        lambda: results.read(tmp_path),
        lambda: results.refuse_newer(tmp_path),
        lambda: results.provenances(tmp_path),
    ):
        with pytest.raises(results.Newer, match="written by a newer version") as refused:
            read()
        assert str(path) in str(refused.value)
        assert named in str(refused.value)
    assert path.read_bytes() == content


def test_a_column_whose_name_rots_is_damage_and_no_newer_version():
    """The digest is over values: of the names the file has two copies, in Parquet's own footer and in Arrow's."""
    whole = results.encode(rows(), {})
    at = whole.index(b"plant_rows")
    for bit in range(3):
        rotten = bytearray(whole)
        rotten[at] ^= 1 << bit
        with pytest.raises(results.Damaged, match="two lists of columns do not agree"):
            results.decode(bytes(rotten))


def test_two_rows_that_nothing_tells_apart_are_refused():
    one = rows(1)[0] | {"attack": "native/apgd", "norm": "linf", "eps": 0.1}
    with pytest.raises(
        ValueError, match=r"two rows of m at equal coordinates \(attack native/apgd, layer l0, norm linf"
    ):
        results.encode([one, one | {"value": 0.7, "n": 5}], {})
    told = [one, *(one | {c: v} for c, v in {"attack": "art/apgd", "k": 5, "draw": 1, "on": "cifar10"}.items())]
    assert len(results.decode(results.encode(told, {})).rows) == 5


def test_a_misspelt_column_is_refused():
    with pytest.raises(ValueError, match="no such columns: atack"):
        results.encode([rows(1)[0] | {"atack": "native/apgd"}], {})


def test_a_damaged_file_is_set_aside_and_named(tmp_path, caplog):
    results.publish_trial(tmp_path, "good", rows(trial="good"), {})
    results.publish_trial(tmp_path, "bad", rows(trial="bad"), {})
    path = layout.trial_path(tmp_path, "bad")
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
    assert list(frame.columns) == READ
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


def test_reading_study_json_names_what_is_missing(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"configuration": {}, "arms": []}))
    with pytest.raises(ValueError, match="seeds, trials"):
        manifest.load(tmp_path)


def test_a_table_under_the_name_of_another_trial_is_damaged(tmp_path, caplog):
    for name in ("one", "two"):
        results.publish_trial(tmp_path, name, rows(trial=name), {})
    folder = tmp_path / "trials"
    (folder / "two.parquet").write_bytes((folder / "one.parquet").read_bytes())
    (folder / "notes.parquet").write_bytes((folder / "one.parquet").read_bytes())
    assert set(results.scan(tmp_path)) == {"one"}
    assert "its rows are of trial one" in caplog.text


def test_an_empty_word_is_no_formula(tmp_path):
    frame = pd.DataFrame({"a": ["", "=1+1", "x"]})
    results.to_csv(frame, tmp_path / "t.csv")
    assert pd.read_csv(tmp_path / "t.csv", keep_default_na=False)["a"].tolist() == ["", "'=1+1", "x"]


def test_a_file_that_claims_millions_of_rows_is_damaged_before_they_are_read(monkeypatch, tmp_path):
    """A column of one value packs 50 million rows into megabytes, which took gigabytes to unpack."""
    given = {"study": "s", "family": "f", "trial": "t", "status": "ok", "measure": "m"}
    n = schema.MOST_ROWS + 1
    columns = {name: pa.array([value]).take(pa.nulls(n, pa.int64()).fill_null(0)) for name, value in given.items()}
    columns["seed"] = pa.nulls(n, pa.int64()).fill_null(0)
    columns["value"] = pa.nulls(n, pa.float64()).fill_null(0.5)
    columns["deterministic"] = pa.nulls(n, pa.bool_()).fill_null(True)
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_, **__: pytest.fail("the rows were read"))
    for read in (lambda: results.read_trial(tmp_path / "t.parquet"), lambda: opened(tmp_path / "t.parquet")):
        with pytest.raises(results.Damaged, match=f"it has {n} rows"):
            read()


def opened(path):
    with path.open("rb") as stream:
        return results.provenance(stream)


@pytest.mark.parametrize(
    "reader",
    [
        lambda plan: results.read(plan.folder),
        lambda plan: runner.pending(plan, False),
        runner.outcome,
    ],
    ids=["read", "pending", "outcome"],
)
def test_a_reader_of_a_whole_folder_holds_the_rows_of_one_trial(reader, tmp_path, monkeypatch):
    """A thousand trials kept as Python rows at once took the driver from 544 to 865 MB at its end."""
    _, names = make_folder(tmp_path / "out", 6, failed=1)
    decode, decoded, most = results.decode, [], []

    def counted(content):
        decoded.append(weakref.ref(found := decode(content)))
        most.append(sum(ref() is not None for ref in decoded))
        return found

    monkeypatch.setattr(results, "decode", counted)
    reader(SimpleNamespace(folder=tmp_path / "out", place=tmp_path / "out", jobs=dict.fromkeys(names)))
    assert len(most) == 5
    assert max(most) <= 2, "the one that was handed on, and the next"
