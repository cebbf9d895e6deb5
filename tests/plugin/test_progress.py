"""The line that shows a run's progress: its numbers, and what becomes of it on a real screen."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.report.progress import Progress
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Fault, Outcome, Record, RequestLog, Usage
from tests.conftest import WAYS, WAYS_IDS, Suite, slow
from tests.support.screen import Terminal

EARLIER, BEGIN, NOW = (f"2026-11-22T1{hour}:00:00.000+00:00" for hour in (0, 1, 2))
"""An hour apart: an earlier invocation, the start of this one, and the time at which the line is looked at."""
HAIKU, OPUS = "claude-haiku", "claude-opus"


class RunUnderWay:
    """A run directory to which trials are written one by one."""

    def __init__(self, path: Path, *planned: tuple[str, str, int], alone: str = "") -> None:
        self.alone = alone
        trials = [(task, model, run) for task, model, runs in planned for run in range(runs)]
        self.writer = RunWriter(path, "gw0", {"id": "1"})
        self.writer.plan([self.planned(*trial) for trial in trials])
        self.progress = Progress(path, since=BEGIN)

    def planned(self, task: str, model: str, run: int) -> PlannedTrial:
        why = "it must" if task == self.alone else ""
        test = f"test.py::test_{task}"
        return PlannedTrial(name(task, model, run), test, task, "", model, run, 42, (0.1, 0.4), alone=why)

    def begin(self, *trials: tuple[str, str, int], at: str = BEGIN) -> None:
        for trial in trials:
            self.writer._append_line({"type": "started", "trial_id": name(*trial), "at": at})

    def end(self, *trials: tuple[str, str, int], outcome: Outcome = "failed", at: str = BEGIN, **more: Any) -> None:
        for task, model, run in trials:
            cost = more.get("cost", 0.25)
            self.writer.append(
                Record(
                    trial_id=name(task, model, run),
                    task=task,
                    task_digest="",
                    model=model,
                    run=run,
                    seed=42,
                    outcome=outcome,
                    score=more.get("score", None if outcome == "errored" else 0.0),
                    fault=Fault("api", "down") if outcome == "errored" and "score" not in more else None,
                    requests=[RequestLog(None, model, "end_turn", Usage(), cost, 1.0)],
                    seconds={"total": more.get("seconds", 1200.0)},
                    started=at,
                )
            )

    def line(self, width: int = 200, **options: Any) -> str:
        return self.progress.line(width, now=NOW, **options)


def name(task: str, model: str, run: int) -> str:
    return f"test.py::test_{task}[{model}-{run}]"


def some(task: str, model: str, runs: Sequence[int]) -> list[tuple[str, str, int]]:
    return [(task, model, run) for run in runs]


# ---- the numbers ----


def test_a_task_of_one_model_shows_its_pass_rate_cost_and_time_left(tmp_path: Path):
    run = RunUnderWay(tmp_path / "run", ("sum", HAIKU, 20))
    run.begin(*some("sum", HAIKU, range(8)))
    run.end(*some("sum", HAIKU, range(3)))
    run.end(("sum", HAIKU, 3), outcome="passed")
    run.end(("sum", HAIKU, 4), outcome="errored")

    # Each takes 20 minutes; 12 wait, and the 3 in flight have had more than that.
    said = "trials 5/20 · 3 in flight · pass rate 25 % (1/4) · 1 errored · $1.25 · about 80 min left"
    assert run.line() == said


def test_what_a_reading_found_is_kept_for_the_next(tmp_path: Path):
    run = RunUnderWay(tmp_path / "run", ("sum", "policy:a", 4))

    lines = [run.line()]
    for number in range(2):
        run.begin(("sum", "policy:a", number), at=NOW)
        lines.append(run.line())
        run.end(("sum", "policy:a", number), seconds=3.0)
    lines.append(run.line())

    assert lines == [
        "trials 0/4 · 0 in flight",
        "trials 0/4 · 1 in flight",
        "trials 1/4 · 1 in flight · pass rate 0 % (0/1) · about 10 s left",
        "trials 2/4 · 0 in flight · pass rate 0 % (0/2) · about 5 s left",
    ]


def test_of_several_tasks_those_being_played_come_first(tmp_path: Path):
    run = RunUnderWay(tmp_path / "run", ("sum", "policy:a", 2), ("onnx", "policy:a", 3), ("late", "policy:a", 2))
    run.begin(*some("sum", "policy:a", range(2)), *some("onnx", "policy:a", range(2)), at=NOW)
    run.end(*some("sum", "policy:a", range(2)))
    run.end(("onnx", "policy:a", 0), outcome="passed")

    said = "trials 3/7 · 1 in flight · onnx 100 % (1/1) · sum 0 % (0/2) · more than 40 min left"
    assert run.line() == said, "nothing is known of the last task's length"
    assert run.line(70) == "trials 3/7 · 1 in flight · onnx 100 % (1/1) · more than 40 min left"
    assert run.line(22, unicode=False) == "trials 3/7"
    assert run.line(28, unicode=False) == "trials 3/7 | 1 in flight"


def test_trials_that_go_one_by_one_are_not_reckoned_to_overlap(tmp_path: Path):
    run = RunUnderWay(tmp_path / "run", ("sum", "policy:a", 10), ("alone", "policy:a", 9), alone="alone")
    run.begin(*some("sum", "policy:a", range(10)), at=NOW)
    assert "10 in flight" in run.line()
    run.end(*some("sum", "policy:a", range(9)), seconds=60)
    run.end(("sum", "policy:a", 9), seconds=60, outcome="passed")
    assert "left" not in run.line()

    run.begin(("alone", "policy:a", 0), at=NOW)
    run.end(("alone", "policy:a", 0), seconds=60)
    assert run.line().endswith("about 8 min left")


def test_several_models_are_told_apart(tmp_path: Path):
    run = RunUnderWay(tmp_path / "run", ("sum", HAIKU, 2), ("sum", OPUS, 2))
    run.end(("sum", HAIKU, 0), ("sum", OPUS, 0))
    assert f"{HAIKU} 0 % (0/1) · {OPUS} 0 % (0/1)" in run.line()

    both = RunUnderWay(tmp_path / "both", ("sum", HAIKU, 2), ("onnx", OPUS, 2))
    both.end(("sum", HAIKU, 0), ("onnx", OPUS, 0))
    assert f"sum by {HAIKU} 0 % (0/1) · onnx by {OPUS} 0 % (0/1)" in both.line()


def test_no_time_is_named_while_only_the_shortest_trials_have_ended(tmp_path: Path):
    run = RunUnderWay(tmp_path / "run", ("sum", "policy:a", 40))
    run.begin(*some("sum", "policy:a", range(10)), at=NOW)
    assert "in flight" in run.line()

    run.end(*some("sum", "policy:a", range(9)), seconds=60)
    assert "left" not in run.line()

    run.begin(*some("sum", "policy:a", range(10, 19)), at=NOW)
    run.end(("sum", "policy:a", 9), seconds=60)
    assert run.line().endswith("about 3 min left")


def test_a_run_that_goes_on_counts_what_it_keeps_and_plays_the_errored_again(tmp_path: Path):
    run = RunUnderWay(tmp_path / "run", ("sum", HAIKU, 4))
    run.end(("sum", HAIKU, 0), outcome="passed", at=EARLIER)
    run.end(("sum", HAIKU, 1), outcome="errored", at=EARLIER)
    run.begin(("sum", HAIKU, 1), ("sum", HAIKU, 2), at=EARLIER)
    run.begin(("sum", HAIKU, 1), at=NOW)

    assert run.line().startswith("trials 1/4 · 1 in flight · pass rate 100 % (1/1) · $0.50")

    run.end(("sum", HAIKU, 1), outcome="failed")

    assert run.line().startswith("trials 2/4 · 0 in flight · pass rate 50 % (1/2) · $0.75")


def test_the_tests_assertion_decides_and_skipped_trials_are_not_waited_for(tmp_path: Path):
    run = RunUnderWay(tmp_path / "run", ("sum", HAIKU, 6))
    run.end(("sum", HAIKU, 0), outcome="passed", cost=None)
    run.end(("sum", HAIKU, 1), outcome="errored", score=0.5)  # the grader named no threshold
    run.writer.skip(name("sum", HAIKU, 5))
    assert run.line().startswith("trials 2/5 · 0 in flight · pass rate 50 % (1/2) · cost unknown")

    run.writer.amend(name("sum", HAIKU, 0), "failed", "not enough")
    run.writer.amend(name("sum", HAIKU, 1), "errored", "not judged")
    assert run.line().startswith("trials 2/5 · 0 in flight · pass rate 0 % (0/1) · 1 errored · cost unknown")


# ---- the screen ----

WAITING = """
import pathlib, threading
from tasks import *

def waits(view):
    while view.seed > 43 and not pathlib.Path("go").exists():
        threading.Event().wait(0.01)
    yield "nothing"

class Waiting(Sum):
    policies = {"waits": waits}

@pytest.mark.rltask(task=Waiting())
def test_waits(trial):
    assert trial.passed
"""
NOBODY_WATCHES = """
import os
from pytest_rltask.report import progress
from pytest_rltask.report import statusline

line = progress.Progress.line
progress.Progress.line = lambda self, width, **more: line(self, width, **more).ljust(width, "~")  # nothing covers it
if "NOBODY_WATCHES" in os.environ:
    statusline.is_wanted = lambda config: False
"""
PLAYED = ("--model=policy:waits", "--runs=6", "--concurrency=2", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")


@contextlib.contextmanager
def terminal(suite: Suite, *arguments: str, **options: Any) -> Iterator[Terminal]:
    one = Terminal(suite.pytester.path, arguments, **options)
    try:
        yield one
    finally:
        one.kill()


def without_numbers(text: str) -> list[str]:
    """Return the lines without what differs from run to run, and without their order, which is that of workers."""
    return sorted(re.sub(r" *\d[\d.]*", "0", line).strip() for line in text.splitlines())


@pytest.mark.parametrize("arguments", [(), slow(("-v",)), slow(("-n", "2", "-v"))], ids=" ".join)
def test_the_line_is_there_while_trials_are_played_and_leaves_no_trace(suite: Suite, arguments: tuple[str, ...]):
    suite.write(test_sum=WAITING, conftest=NOBODY_WATCHES)
    in_flight = 4 if "-n" in arguments else 2

    # So few rows that the screen scrolls under the line.
    with terminal(suite, *PLAYED, *arguments, lines=12) as one:
        shown = one.wait_for(lambda text: f"trials 2/6 · {in_flight} in flight · pass rate 0 % (0/2)" in text)
        (suite.pytester.path / "go").touch()
        with_line = one.finish()
    shutil.rmtree(suite.pytester.path / "logs")  # a run of the same second would be numbered
    with terminal(suite, *PLAYED, *arguments, lines=12, NOBODY_WATCHES="1") as plain:
        without_line = plain.finish()

    above, line = shown.splitlines()[-2:]
    assert line.startswith("trials 2/6")
    assert above.startswith(("test_sum.py", "[gw", "mm"))
    # How many blank lines pytest leaves between the lines of workers goes by their order.
    has_blanks = "-n" not in arguments
    told = [[line for line in without_numbers(text) if line or has_blanks] for text in (with_line, without_line)]
    assert told[0] == told[1]
    assert b"in flight" not in plain.raw


@pytest.mark.parametrize("workers", WAYS, ids=WAYS_IDS)
def test_ctrl_c_takes_the_line_away(suite: Suite, workers: tuple[str, ...]):
    suite.write(test_sum=WAITING)

    with terminal(suite, *PLAYED, *workers) as one:
        one.wait_for(lambda text: "in flight" in text)
        one.type(b"\x03")
        text = one.finish()

    assert one.process.returncode == pytest.ExitCode.INTERRUPTED
    assert "in flight" not in text
    assert "!!! KeyboardInterrupt !!!" in text
    assert "--resume" in text


def test_a_narrower_terminal_gets_a_shorter_line(suite: Suite):
    suite.write(test_sum=WAITING)

    with terminal(suite, *PLAYED) as one:
        one.wait_for(lambda text: "in flight" in text)
        one.resize(32, 30)
        text = one.wait_for(lambda text: text.endswith("\ntrials 2/6 · 2 in flight"))
        (suite.pytester.path / "go").touch()
        one.finish()

    assert "pass rate" not in text.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (("-q",), {}),
        (("-s",), {}),
        (("--capture=tee-sys",), {}),
        (("--color=no",), {}),
        (("--log-cli-level=INFO",), {}),
        ((), {"TERM": "dumb"}),
        ((), {"NO_COLOR": "1"}),
        ((), {"CI": "true"}),
        (("-v",), {}),
        (("-p", "no:logging"), {}),
    ],
)
def test_it_is_shown_only_where_nobody_else_writes(suite: Suite, arguments: tuple[str, ...], env: dict[str, str]):
    suite.write(
        conftest="""
        from pytest_rltask.report.statusline import is_wanted
        def pytest_sessionstart(session):
            print("is wanted:", is_wanted(session.config))
        """
    )

    with terminal(suite, "--collect-only", "--runs=1", "-p", "no:hypothesispytest", *arguments, **env) as one:
        text = one.finish()

    assert f"is wanted: {arguments in (('-v',), ('-p', 'no:logging'))}" in text


def test_a_pipe_gets_no_line_however_colourful(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PY_COLORS", "1")
    monkeypatch.setenv("TERM", "xterm")
    suite.write(conftest="from pytest_rltask.report import statusline\nstatusline.INTERVAL_S = 0.001\n")

    result = suite.pytester.runpytest_subprocess("--runs=4", "--model=policy:null", *suite.workers)

    assert "\x1b[" in result.stdout.str()
    assert "\x1bD" not in result.stdout.str()
    assert "in flight" not in result.stdout.str()
