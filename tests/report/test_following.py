"""Following a run that goes on: what is told as it is written, and when it ends; another process holds its lock."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.report.following import follow_run, follow_trial
from pytest_rltask.report.growing import GrowingTranscripts
from pytest_rltask.report.transcript import render
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.record import Record
from tests.run.written import HEADER, planned, python, record_of

HOLDS = """
import sys
from pathlib import Path
from pytest_rltask.run.lock import RunLock
lock = RunLock(Path(sys.argv[1]), "main")
print("held", flush=True)
sys.stdin.read()
"""
SAID: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "Work."}]},
    {"role": "assistant", "content": [{"type": "text", "text": "First."}]},
    {"role": "user", "content": [{"type": "text", "text": "Go on."}]},
    {"role": "assistant", "content": [{"type": "text", "text": "Second."}]},
]


@dataclass
class Played:
    """A run that another process seems to play, step by step: each time the follower waits, the next step is taken."""

    path: Path
    process: subprocess.Popen[str]

    def __post_init__(self) -> None:
        self.writer = RunWriter(self.path, "main", HEADER)
        self.transcripts = GrowingTranscripts(self.path)
        self.record = record_of(messages=SAID, started="2026-11-28T10:00:00.000+00:00", reason="too little")

    def begin(self) -> None:
        self.writer.start(self.record.trial_id)
        self.transcripts.turn(self.record, 1)

    def turn(self) -> None:
        self.transcripts.turn(self.record, 3)

    def end(self) -> None:
        self.writer.append(self.record)
        self.transcripts.end(self.record)

    def die(self) -> None:
        self.process.communicate("", timeout=60)


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    path = tmp_path / "run_1"
    RunWriter(path, "main", HEADER).plan([planned()])
    process = python(HOLDS, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield Played(path, process)
    process.kill()
    process.communicate()


def told(played: Played, *steps: Callable[[], None]) -> tuple[str, list[str]]:
    """Follow the trial, a step at each wait; return all of it, and what was told before each step."""
    left, lines, before = list(steps), list[str](), list[str]()

    def wait() -> None:
        before.append("\n".join(lines))
        left.pop(0)()

    for line in follow_trial(played.path, planned(), wait):
        lines.append(line)
    assert left == []
    return "\n".join([*lines, ""]), before


def test_turns_are_told_as_they_are_written_and_the_end_ends_it(played: Played) -> None:
    text, before = told(played, played.begin, played.turn, played.end)
    assert text == render(played.record)
    assert [("Work." in one, "First." in one, "Second." in one) for one in before] == [
        (False, False, False),
        (True, False, False),
        (True, True, False),
    ]


def test_a_trial_whose_process_is_gone_is_left_as_it_was(played: Played) -> None:
    text, _ = told(played, played.begin, played.turn, played.die)
    assert text.endswith("Go on.\n\nthe process that played it is gone\n")


def test_a_trial_that_begins_again_is_told_anew(played: Played) -> None:
    played.begin()
    played.turn()

    def again() -> None:
        played.record = record_of(messages=SAID, started="2026-11-28T11:00:00.000+00:00")
        played.begin()

    text, _ = told(played, again, played.turn, played.end)
    first, _, second = text.partition("--- played again ")
    assert ("First." in first, first.count("Work.")) == (True, 1)
    assert render(played.record) in second


def test_a_trial_that_is_played_again_goes_on(played: Played) -> None:
    played.record = record_of(outcome="errored", started="2026-11-28T09:00:00.000+00:00")
    played.begin()
    played.end()
    played.record = record_of(messages=SAID, started="2026-11-28T11:00:00.000+00:00")
    played.begin()
    assert told(played, played.turn, played.end)[0] == render(played.record)


def test_a_trial_that_has_ended_is_told_at_once(played: Played) -> None:
    played.begin()
    played.end()
    assert told(played) == (render(played.record), [])


def test_of_a_run_that_nobody_plays_nothing_is_waited_for(played: Played) -> None:
    played.die()
    assert told(played)[0] == "it was never begun\n"
    played.end()
    assert [record.trial_id for record in follow_run(played.path, wait=list)] == [played.record.trial_id]


def test_trials_are_told_as_they_end_and_again_when_an_assertion_overrules(played: Played) -> None:
    unjudged = record_of("test_sum[run-01]", outcome="errored", score=0.5)
    steps: list[Callable[[], None]] = [
        played.end,
        lambda: played.writer.amend(played.record.trial_id, "passed", "good enough"),
        lambda: played.writer.append(unjudged),
        lambda: played.writer.amend(unjudged.trial_id, "failed", "no"),
        played.die,
    ]
    followed = follow_run(played.path, lambda: steps.pop(0)())
    seen = [(record.trial_id, record.outcome, len(steps)) for record in followed]
    assert seen == [
        ("test_sum[run-00]", "failed", 4),
        ("test_sum[run-00]", "passed", 3),
        ("test_sum[run-01]", "failed", 1),
    ]


def test_half_a_line_is_left_for_later(played: Played) -> None:
    played.begin()
    record: Record = played.record
    (file,) = played.path.glob("trials.*.jsonl")

    def half() -> None:
        with file.open("a") as lines:
            lines.write('{"type": "trial", "trial_id": ')

    def rest() -> None:
        with file.open("a") as lines:
            lines.write('"x"}\n[1]\n{"type": "trial"}\n')

    assert told(played, half, rest, played.turn, played.end)[0] == render(record)
