"""The names of run directories and of transcripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.run.files import choose_run_dir, find_run_dir
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import transcript_path
from tests.run.written import HEADER, python, record_of

NOW = datetime(2026, 11, 21, 22, 30, 5)


def test_a_run_directory_is_named_by_its_time_and_numbered_if_taken(tmp_path: Path):
    first = choose_run_dir(tmp_path, NOW)
    first.mkdir()

    assert first.name == "run_20261121_223005"
    assert choose_run_dir(tmp_path, NOW).name == "run_20261121_223005_2"


CREATE = """
import json, sys
from pathlib import Path
from pytest_rltask.run.log import RunWriter
header = json.loads(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
print(RunWriter(Path(sys.argv[1]), sys.argv[3], header).path, flush=True)
"""


def created(path: Path, headers: list[Mapping[str, Any]]) -> list[Path]:
    """Return where processes that create the same run directory at the same time find themselves."""
    processes = [python(CREATE, path, json.dumps(header), f"gw{n}") for n, header in enumerate(headers)]
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    paths = []
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate(timeout=30)
        paths.append(Path(out.strip()))
    return paths


def test_processes_of_one_run_agree_on_its_directory(tmp_path: Path):
    paths = created(tmp_path / "logs" / "run", [HEADER] * 3)

    assert paths == [tmp_path / "logs" / "run"] * 3
    assert sorted(path.name for path in paths[0].parent.iterdir()) == [".gitignore", "run"]


def test_runs_that_chose_the_same_directory_get_one_each(tmp_path: Path):
    headers = [{**HEADER, "id": name} for name in "abc"]

    paths = created(tmp_path / "run", headers)

    assert {path.name for path in paths} == {"run", "run_2", "run_3"}
    for path, header in zip(paths, headers, strict=True):
        assert json.loads((path / "run.json").read_text()) == header
        assert find_run_dir(tmp_path / "run", header["id"]) == path
    assert find_run_dir(tmp_path / "run", "another") is None


@pytest.mark.parametrize("trial_id", ["test_sum[run-00]", "test_sum[a/../../b-run-00]", "test_sum[ü $(rm)-run-00]"])
def test_a_transcript_stays_in_its_folder_under_a_name_no_shell_asks_to_quote(tmp_path: Path, trial_id: str):
    path = transcript_path(tmp_path, "sum", trial_id)

    assert path.parent == tmp_path / "transcripts"
    assert path.name.startswith("sum-")
    assert not set(path.name) & set(" $()/'\"")


def test_a_transcript_with_lone_surrogates_is_written(writer: RunWriter):
    path = writer.write_transcript(record_of(), "a\ud800b")

    assert path.read_text() == "a?b"


def test_names_of_servers_own_that_differ_in_a_colon_have_a_file_each(tmp_path: Path):
    ids = [f"test_sum.py::test_sum[{name}-run-00]" for name in ("api:a:b", "api:a_b", "api:a@effort=high,top_k=4")]

    names = [transcript_path(tmp_path, "sum", trial_id).name for trial_id in ids]

    assert len(set(names)) == 3
    assert names[1:] == ["sum-api_a_b-run-00.txt", "sum-api_a@effort=high,top_k=4-run-00.txt"]
