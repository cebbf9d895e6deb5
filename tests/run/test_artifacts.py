"""Artifacts on disk: hostile names, bounds, and that a changed one is noticed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.run import artifacts
from pytest_rltask.run.artifacts import LostArtifact, keep_artifacts, load_artifacts
from pytest_rltask.run.record import Record
from tests.run.written import record_of

NAMES = [
    "model.onnx",
    "a/b.txt",
    "a__b.txt",
    "../../etc/passwd",
    "/etc/passwd",
    ".hidden",
    "\x1b[31m",
    "a\nb",
    "é" * 150,
]


def kept(tmp_path: Path, **contents: bytes) -> Record:
    tmp_path.mkdir(exist_ok=True)
    record = record_of("test_a.py::test_sum[run-00]")
    keep_artifacts(tmp_path, record, contents)
    return record


def test_what_was_kept_is_read_by_its_own_name(tmp_path: Path):
    contents = {name: name.encode() * 3 for name in NAMES}

    record = kept(tmp_path, **contents)

    again = Record.from_json(record.to_json())
    assert load_artifacts(tmp_path, again) == contents
    assert {Path(one.path).parts[:2] for one in record.artifacts} == {("artifacts", "sum-run-00")}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == len(NAMES)
    assert all(path.name.isascii() and path.name.isprintable() and path.name[0] != "." for path in files)
    assert record.artifacts_left_out == {}


@given(names=st.sets(st.text(st.characters(), max_size=300), max_size=5))
def test_any_name_is_kept_below_the_run_or_told(names: set[str], tmp_path_factory: pytest.TempPathFactory):
    run_dir = tmp_path_factory.mktemp("run")
    record = kept(run_dir, **dict.fromkeys(names, b"x"))
    assert len(record.artifacts) + len(record.artifacts_left_out) >= min(1, len(names))
    assert set(load_artifacts(run_dir, record)) <= names
    for one in record.artifacts:
        assert (run_dir / one.path).resolve().is_relative_to(run_dir / "artifacts" / "sum-run-00")
    assert {one.name for one in record.artifacts} == {
        name for name in names if 0 < len(name) <= 200 and name == name.encode("utf-8", "replace").decode()
    }


def test_a_copy_of_a_run_reads_the_artifacts_of_the_first(tmp_path: Path):
    """A dry run has the records alone, and reads what is large where it is."""
    record = kept(tmp_path / "run", a=b"abc")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "artifacts").symlink_to(tmp_path / "run" / "artifacts")
    assert load_artifacts(tmp_path / "copy", record) == {"a": b"abc"}


@pytest.mark.parametrize("path", ["../secret", "trials.main.jsonl", "/etc/passwd"])
def test_a_record_that_names_another_file_reads_none(path: str, tmp_path: Path):
    record = kept(tmp_path, a=b"abc")
    for other in (tmp_path.parent / "secret", tmp_path / "trials.main.jsonl"):
        other.write_bytes(b"abc")
    record.artifacts = [dataclasses.replace(record.artifacts[0], path=path)]
    with pytest.raises(LostArtifact, match="is not there"):
        load_artifacts(tmp_path, record)


def test_what_is_too_much_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(artifacts, "MOST_BYTES", 10)
    monkeypatch.setattr(artifacts, "MOST_FILES", 2)

    record = kept(tmp_path, a=b"x" * 6, b=b"y" * 5, c=b"z" * 4, d=b"")

    assert [one.name for one in record.artifacts] == ["a", "c"]
    assert record.artifacts_left_out == {
        "b": "it has 5 bytes; 10 are kept at most of all that a trial leaves",
        "d": "2 are kept at most",
    }


def test_a_nearly_full_disk_is_spared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(artifacts, "SPARED_BYTES", 2**62)
    assert "of the disk would be left" in kept(tmp_path, a=b"x").artifacts_left_out["a"]


def test_a_disk_that_takes_nothing_costs_no_trial(tmp_path: Path):
    (tmp_path / "artifacts").write_text("in the way")
    assert kept(tmp_path, a=b"x").artifacts_left_out == {"a": "it could not be written: Not a directory"}


@pytest.mark.parametrize("how", ["changed", "longer", "gone", "elsewhere"])
def test_an_artifact_that_was_changed_is_noticed(how: str, tmp_path: Path):
    record = kept(tmp_path, a=b"abc")
    path = tmp_path / record.artifacts[0].path
    path.unlink()
    if how in ("changed", "longer"):
        path.write_bytes(b"abd" if how == "changed" else b"abcd")
    elif how == "elsewhere":
        (tmp_path.parent / "abc").write_bytes(b"abc")
        path.symlink_to(tmp_path.parent / "abc")

    with pytest.raises(LostArtifact, match=r"artifacts/sum-run-00/a (was changed|is not there)"):
        load_artifacts(tmp_path, record)
