"""What GitHub Actions is told: annotations that it reads back as they were meant, and a summary that harms no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.report.github import MOST_BYTES, append_summary, workflow_commands
from pytest_rltask.report.summary import Summary, summarise
from pytest_rltask.report.visible import visible
from tests.report.test_table import a_run

ACTIONS = {"GITHUB_ACTIONS": "true"}


def a_summary(*outcomes: str, **changes: object) -> Summary:
    summary = summarise(a_run(*outcomes), "point")  # type: ignore[arg-type]
    return replace(summary, rows=[replace(row, line=12, **changes) for row in summary.rows])  # type: ignore[arg-type]


def parsed(command: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as Actions' runner does: split first, decoded then."""
    head, _, message = command.removeprefix("::").partition("::")
    kind, _, told = head.partition(" ")
    pairs = (pair.partition("=") for pair in told.split(","))
    return kind, {name: unquote(value) for name, _, value in pairs}, unquote(message)


def test_a_gate_that_fails_is_an_error_at_its_test(tmp_path: Path):
    (command,) = workflow_commands(a_summary(*["passed"] * 10), tmp_path, ACTIONS)

    kind, told, message = parsed(command)
    assert (kind, told["file"], told["line"]) == ("error", "test_sum.py", "12")
    assert told["title"] == "sum by claude-haiku-4-5: too easy"
    assert message.startswith("too easy, proven: pass rate 10/10 = 100 % of sum")


def test_a_gate_that_holds_unproven_is_a_warning_and_a_proven_one_nothing(tmp_path: Path):
    unproven = a_summary(*["passed"] * 2, *["failed"] * 8)
    (command,) = workflow_commands(unproven, tmp_path, ACTIONS)
    proven = workflow_commands(a_summary(*["passed"] * 50, *["failed"] * 150), tmp_path, ACTIONS)

    kind, _, message = parsed(command)
    assert kind == "warning"
    assert message.endswith(f"about {unproven.rows[0].verdict.more_runs} more runs would prove it")
    assert list(proven) == []


def test_elsewhere_there_is_no_command(tmp_path: Path):
    assert list(workflow_commands(a_summary("passed"), tmp_path, {"GITHUB_ACTIONS": "false"})) == []


def test_a_file_is_named_from_the_workspace_wherever_pytest_has_its_root(tmp_path: Path):
    (command,) = workflow_commands(
        a_summary("passed"), tmp_path / "a,b" / "c:d", ACTIONS | {"GITHUB_WORKSPACE": str(tmp_path)}
    )

    assert parsed(command)[1]["file"] == "a,b/c:d/test_sum.py"


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_no_text_breaks_out_of_its_place(text: str):
    (command,) = workflow_commands(a_summary("passed", task=text), Path("/work"), ACTIONS)

    assert len(command.splitlines()) == 1 or {"\u2028", "\u2029"} & set(command)  # which end no line of a log
    assert "\n" not in command
    assert "\r" not in command
    kind, told, message = parsed(command)
    assert (kind, told.keys(), told["line"]) == ("error", {"file", "line", "title"}, "12")
    seen = "\r".join(map(visible, text.split("\r")))
    assert told["title"] == f"{seen} by claude-haiku-4-5: too easy"
    assert f"of {seen} by" in message


def test_a_summary_is_appended_to_what_stands_there(tmp_path: Path):
    step = tmp_path / "step.md"
    assert append_summary(step, "# first", whole=tmp_path) == ""
    assert append_summary(step, "# second", whole=tmp_path) == ""

    assert step.read_text() == "# first\n\n# second\n"


@pytest.mark.parametrize("standing", [0, 1000, MOST_BYTES - 5, MOST_BYTES, MOST_BYTES + 7])
def test_a_long_summary_is_cut_between_lines_and_says_so(tmp_path: Path, standing: int):
    step = tmp_path / "step.md"
    step.write_text("x" * standing)

    said = append_summary(step, "ünï|cödé\n" * 200_000, whole=tmp_path / "summary.md")

    text = step.read_bytes()
    assert text.startswith(b"x" * standing)
    assert len(text) <= max(MOST_BYTES, standing)
    assert said == f"the summary of the step was cut at 1 MiB; all of it is in {tmp_path / 'summary.md'}"
    if standing < MOST_BYTES - 1000:
        *lines, _, note = text[standing:].decode().strip().split("\n")
        assert set(lines) <= {"ünï|cödé", ""}
        assert note.startswith("**Cut here")
        assert len(text) > MOST_BYTES - 1000


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path):
    said = append_summary(tmp_path, "text", whole=tmp_path)

    assert said.startswith("the summary could not be appended to GITHUB_STEP_SUMMARY: ")
