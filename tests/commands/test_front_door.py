"""The command ``rltask`` as typed: help, wrong usage, which run is meant, completion."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from pytest_rltask.cli import COMMANDS, main
from pytest_rltask.commands.runs import log_dir_of, path_of
from pytest_rltask.run.log import RunWriter


def rltask(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_rltask", *words],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )


def made(path: Path) -> Path:
    RunWriter(path, "main", {"id": path.name, "schema": 1, "command": "pytest", "created": path.name})
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself_by_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    told = capsys.readouterr().out
    assert (ended.value.code, told.count("example:")) == (0, 1)
    assert f"rltask {name}" in importlib.import_module(f"pytest_rltask.commands.{name}").EXAMPLE


def test_wrong_usage_is_one_sentence(tmp_path: Path) -> None:
    for words, said in (
        (("shwo",), "invalid choice: 'shwo'"),
        (("list", "--jsno"), "unrecognized arguments: --jsno"),
        ((), "COMMAND"),
    ):
        told = rltask(*words, cwd=tmp_path)
        assert (told.returncode, told.stdout) == (4, "")
        assert told.stderr.startswith("rltask: ")
        assert said in told.stderr
        assert len(told.stderr.splitlines()) == 1


def test_a_run_that_is_not_there_is_told_with_what_to_write(tmp_path: Path) -> None:
    told = rltask("show", "1128", cwd=tmp_path)
    assert told.returncode == 4
    assert f"1128: {tmp_path}/1128 is not a directory; `rltask list` shows those of {tmp_path}/logs" in told.stderr


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pytest.ini", "[pytest]\nrltask_log_dir = kept\n"),
        ("pyproject.toml", "[tool.pytest.ini_options]\nrltask_log_dir = 'kept'\n"),
        ("setup.cfg", "[tool:pytest]\nrltask_log_dir = kept\n"),
    ],
)
def test_runs_are_looked_for_where_pytest_writes_them(
    file: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file).write_text(text)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    run = made(tmp_path / "kept" / "run_1")
    assert log_dir_of(Namespace(log_dir="")) == tmp_path / "kept"
    assert path_of("last", Namespace(log_dir="")) == run
    assert log_dir_of(Namespace(log_dir="elsewhere")) == Path("elsewhere")


def test_names_of_runs_are_completed(tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    made(tmp_path / "logs" / "run_20261128_100000")
    line = "rltask show run_2026"
    told = tmp_path / "told"
    rltask(
        cwd=tmp_path,
        _ARGCOMPLETE="1",
        _ARGCOMPLETE_STDOUT_FILENAME=str(told),
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
        _ARGCOMPLETE_IFS="\n",
    )
    assert told.read_text().strip() == "run_20261128_100000"
