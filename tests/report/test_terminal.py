"""What a run ends with on a terminal: a block a row where a table does not fit, and the command to type next."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.report.next_step import broken
from pytest_rltask.report.summary import summarise
from pytest_rltask.report.terminal import summary_lines, write_transcript
from pytest_rltask.report.visible import visible
from pytest_rltask.run.load import Run
from tests.report.test_table import a_run

RUN = Path("logs/run_1")


def shown(run: Run, width: int = 80, command: str = "pytest --runs 10", **changes: Any) -> list[str]:
    summary = summarise(run, "point")
    summary = replace(summary, rows=[replace(row, **changes) for row in summary.rows])
    lines = summary_lines(summary, run_dir=RUN, command=shlex.split(command), width=width, unicode=True)
    return [line for line, _ in lines]


def next_of(lines: list[str]) -> str:
    at = next(number for number, line in enumerate(lines) if line.startswith("next: "))
    return shlex.join(words_of(lines[at:]))


def words_of(lines: list[str]) -> list[str]:
    """Return the words that a shell reads; shlex alone does not know lines that go on."""
    return shlex.split("\n".join(lines).removeprefix("next: ").replace(" \\\n", " "))


def test_a_row_is_one_block_where_a_table_would_not_fit():
    assert shown(a_run(*["passed"] * 3, *["failed"] * 7))[:5] == [
        "sum by claude-haiku-4-5: in band, not proven",
        "   30 %  ·─[────●─]──────······  interval 6-68 %, band 10-40 %",
        "  3 of 10 passed · score 0.300 · 2.0 turns · 2000 tokens · cost $0.1000 ·",
        "  5 m 00 s",
        "  missed: 7 x below | threshold",
    ]


def test_a_wide_terminal_gets_a_table():
    names, row, missed, *_ = shown(a_run("passed", "failed", "failed"), width=160)

    assert names.split()[:5] == ["task", "model", "trials", "passed", "rate"]
    assert row.split()[:2] == ["sum", "claude-haiku-4-5"]
    assert missed == "sum missed: 2 x below | threshold"


def test_policies_have_neither_tokens_nor_costs():
    run = a_run("passed", "failed", cost=0.0, model="policy:baseline")
    for record in run.records.values():
        record.requests.clear()

    assert "tokens" not in shown(run, width=160)[0]
    assert "cost" not in shown(run, width=160)[0]
    assert not [line for line in shown(run) if "token" in line or "cost" in line]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_longer_than_the_terminal_is_wide(width: int):
    run = a_run(*["passed"] * 3, *["failed"] * 7, "errored")
    lines = shown(
        run, width=width, reasons={"a reason of many words " * 8: 3}, command="pytest -k 'a or b' " + "-x " * 60
    )

    own = [line for line in lines if "  interval" not in line and not line.startswith(("run dir", "a trial"))]
    assert max(map(len, own)) <= width


def test_what_a_model_wrote_cannot_move_the_cursor_or_add_a_line():
    text = "\n".join(shown(a_run("failed", "passed"), reasons={"\x1b[2Jgone\nverdict: fine": 1}))

    assert "\x1b" not in text
    assert "\nverdict" not in text
    assert "␛[2Jgone verdict: fine" in text


def test_a_transcript_is_written_whole_and_moves_no_cursor():
    lines: list[str] = []
    reporter = SimpleNamespace(ensure_newline=lambda: None, write_line=lines.append)

    write_transcript(reporter, "said\n" + "x" * 100_000 + "\r\x1b[1A\x07\n\n")
    write_transcript(None, "said")

    assert lines == ["said", "x" * 100_000 + "␍␛[1A␇"]


# ---- next ----


def test_an_unproven_verdict_asks_for_as_many_runs_as_would_prove_it():
    assert next_of(shown(a_run(*["passed"] * 2, *["failed"] * 8))) == "pytest --runs 53 --resume=logs/run_1"


def test_where_no_number_of_runs_would_prove_it_as_many_again_are_played():
    run = a_run(*["passed"] * 4, *["failed"] * 6)  # on the edge of the band

    assert summarise(run, "point").rows[0].verdict.more_runs is None
    assert next_of(shown(run)) == "pytest --runs 20 --resume=logs/run_1"


def test_a_selection_of_tasks_is_kept_and_one_of_runs_is_not_extended():
    run = a_run(*["passed"] * 2, *["failed"] * 8)

    assert next_of(shown(run, command="pytest -k sum")) == "pytest -k sum --runs 53 --resume=logs/run_1"
    for one in ("pytest -k run-03", "pytest test_sum.py::test_sum[run-03]", "pytest --lf"):
        assert next_of(shown(run, command=one)) == "less logs/run_1/summary.md"


@pytest.mark.parametrize(("policy", "outcome", "word"), [("solver", "passed", "easy"), ("null", "failed", "hard")])
def test_a_policy_that_fails_as_it_is_meant_to_is_sent_to_the_audit(policy: str, outcome: Any, word: str):
    run = a_run(*[outcome] * 10, model=f"policy:{policy}")
    command = f"pytest benchmarks -n 2 --model policy:{policy} --runs=10 --rltask-gate point --stop-early"

    lines = shown(run, command=command)

    said = " ".join(" ".join(lines).split())
    assert f"a {policy} policy is meant to be too {word}: --audit checks that it" in said
    assert "--gate asks it, like any model, to lie in the band" in said
    assert next_of(lines) == "pytest benchmarks -n 2 --audit"


def test_a_solver_that_misses_is_not_excused():
    lines = shown(a_run(*["failed"] * 40, model="policy:solver"))

    assert "meant to be" not in " ".join(lines)
    assert "--audit" not in next_of(lines)


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), max_size=30)


@given(st.lists(WORDS, min_size=1), st.integers(10, 100))
def test_a_command_in_lines_is_the_same_command_to_a_shell(words: list[str], width: int):
    lines = list(broken(words, width, begin="next: "))

    assert words_of(lines) == words
    assert all(line.endswith(" \\") for line in lines[:-1])


@given(st.text())
def test_visible_text_has_nothing_that_a_terminal_obeys(text: str):
    assert not [c for c in visible(text) if c not in "\n\t" and (ord(c) < 32 or 127 <= ord(c) < 160)]
