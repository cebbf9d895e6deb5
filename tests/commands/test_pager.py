"""The pager: which, when, and that it can be left at any time."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from pytest_rltask.commands.pager import pager_of, show_lines


@pytest.mark.parametrize(
    ("environ", "command"),
    [
        ({"PAGER": "most -s"}, "most -s"),
        ({"PAGER": ""}, ""),
        ({"PAGER": "cat"}, ""),
        ({"PAGER": "most", "TERM": "dumb"}, ""),
        ({"PATH": "/nowhere"}, ""),
    ],
)
def test_the_pager_is_the_one_that_is_named(environ: dict[str, str], command: str) -> None:
    assert pager_of(environ) == command


def test_less_is_taken_where_it_is(tmp_path: Path) -> None:
    less = tmp_path / "less"
    less.touch(mode=0o755)
    assert pager_of({"PATH": str(tmp_path)}) == "less"


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.usefixtures("on_terminal")
def test_a_pager_gets_the_text_and_can_be_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    monkeypatch.delenv("LESS", raising=False)
    monkeypatch.setenv("PAGER", f"(echo $LESS; head -n 2) > '{told}'")
    show_lines((f"line {n}" for n in itertools.count()), paged=True)  # no end: it is left to the pager
    assert told.read_text() == "FRX\nline 0\nline 1\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_without_terminal_or_wish_there_is_none(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("PAGER", "false")
    show_lines(["a", "b"], paged=not is_terminal)
    assert capsys.readouterr().out == "a\nb\n"


@pytest.mark.usefixtures("on_terminal")
def test_a_pager_that_is_not_there_hides_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAGER", "no-such-pager --fast")
    show_lines((f"line {n}" for n in range(3)), paged=True)
    assert capfd.readouterr().out == "line 0\nline 1\nline 2\n"
