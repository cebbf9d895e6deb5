"""A grader's file that changes during a run is read where pytest may parse at the same time: off its thread."""

from __future__ import annotations

import ast
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_rltask.graders import project, sources
from pytest_rltask.graders.project import Project

TEXT = "LIMIT = 0.5\ndef grade(x):\n    return x > LIMIT\n"


def parsing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the threads that parse."""
    parse, threads = ast.parse, []

    def noted(*arguments: object) -> ast.AST:
        threads.append(threading.current_thread().name)
        return parse(*arguments)

    monkeypatch.setattr(ast, "parse", noted)
    return threads


@pytest.mark.parametrize("text", [TEXT, "def broken(:\n", ""])
def test_no_other_thread_parses_where_that_disturbs(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "grader.py"
    file.write_text(text)
    here, threads = sources.read_source(file), parsing(monkeypatch)
    monkeypatch.setattr(sources, "_PARSE_DISTURBS", True)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(sources.read_source, file).result() == here
        assert threads == []
        with pytest.raises(FileNotFoundError):
            pool.submit(sources.read_source, tmp_path / "none.py").result()


def test_what_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    for file in files:
        file.write_text(TEXT)
    first = Project(tmp_path)
    before = [first.read(file) for file in files]
    files[1].write_text(TEXT * 2)
    read: list[Path] = []
    monkeypatch.setattr(project, "read_source", lambda path: read.append(path) or sources.read_source(path))

    second = Project(tmp_path, first)

    assert second.read(files[0]) == before[0]
    assert second.read(files[1]) != before[1]
    assert read == [files[1]]
