"""Transcripts of trials that go on: what is in the file after each turn, and at the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.report.growing import GrowingTranscripts
from pytest_rltask.report.transcript import render
from pytest_rltask.run.planned import transcript_path
from pytest_rltask.run.record import Record
from pytest_rltask.trial.play import play
from tests.report.pages import HOSTILE
from tests.run.written import record_of
from tests.support.workbench import Bench, plays, raises, spec_of


class Watched:
    """A trial of the bench, and its transcript as it was at each call."""

    def __init__(self, run_dir: Path) -> None:
        self.transcripts = GrowingTranscripts(run_dir)
        self.path = transcript_path(run_dir, "bench", "bench[run-00]")
        self.seen: list[str] = []

    def turn(self, record: Record) -> None:
        self.transcripts.turn(record, len(record.messages))
        self.seen.append(self.text)

    @property
    def text(self) -> str:
        return self.path.read_text() if self.path.exists() else ""

    def play(self, bench: Bench, model: PolicyModel | None = None) -> Record:
        record = asyncio.run(play(spec_of(bench), model or PolicyModel("moves"), turned=self.turn))
        self.transcripts.end(record)
        return record


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_each_turn_is_added_to_what_stood_there(watched: Watched) -> None:
    record = watched.play(Bench(moves=plays("work", "rest")))
    opened, first, second, *_ = watched.seen

    assert opened.endswith("--- prompt " + "-" * 68 + "\nWork.\n")
    assert first.startswith(opened)
    assert second.startswith(first)
    assert ("turn 1 · calls work" in first, "result of work" in first, "turn 2" in first) == (True, True, False)
    assert "result of rest" in second
    assert watched.text == render(record)


def test_a_trial_that_is_played_again_starts_anew(watched: Watched) -> None:
    watched.play(Bench(moves=plays("work", "work", "work")))
    again = watched.play(Bench(moves=plays("rest")))
    assert "calls work" not in watched.seen[-1]
    assert watched.text == render(again)


def test_a_fault_within_a_turn_is_told_with_the_turn(watched: Watched) -> None:
    record = watched.play(Bench({"work": raises(KeyError("oh"))}))
    assert (record.outcome, watched.text) == ("errored", render(record))
    assert "calls work" in watched.text
    assert "KeyError: 'oh'" in watched.text


def test_a_disk_that_refuses_ends_the_text_and_not_the_trial(watched: Watched) -> None:
    watched.path.parent.write_text("a file in its place")
    assert watched.play(Bench()).outcome == "passed"


def test_what_has_a_hole_is_not_gone_on_with(watched: Watched) -> None:
    away = watched.path.with_suffix(".away")
    hooks = {"work": lambda: watched.path.rename(away), "rest": lambda: None}
    record = asyncio.run(play(spec_of(Bench(hooks, plays("work", "rest"))), PolicyModel("moves"), turned=watched.turn))
    away.rename(watched.path)

    watched.transcripts.end(record)

    assert watched.text == watched.seen[0], "the prompt, and not what came behind the missing turns"


@given(st.lists(st.sampled_from(["--- passed ----", "\r--- failed", "a", "", "  --- x", *HOSTILE]), max_size=6))
def test_nothing_that_was_said_can_pass_for_a_title(lines: list[str]) -> None:
    text = "\n".join(["said", *lines])
    use = {"type": "tool_use", "id": "1", "name": f"work\n{text}", "input": {"a": text}}
    said = [
        {"role": "user", "content": [{"type": "text", "text": text}]},
        {"role": "assistant", "content": [{"type": "text", "text": text}, use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": text}]},
    ]
    record = record_of(text, outcome="passed", reason=text, info={"x": text}, metrics={text: text}, messages=said)

    titles = [line for line in render(record).split("\n") if line.startswith("--- ")]

    kinds = [title.split()[1] for title in titles]
    assert kinds == ["prompt", "turn", "turn", "result", "passed"]
    assert not any(c in render(record) for c in "\x00\x1b\x9b\r\u202e")
