"""The numbers of runs: which trials belong together, what counts as near, hollow and lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.analysis.stats import Group, Stats, is_hollow, is_near, stats
from pytest_rltask.analysis.stats_text import stats_lines
from pytest_rltask.report.painting import painter
from pytest_rltask.run.load import Run, load_run
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Outcome, Record, RequestLog, Usage
from tests.run.of_97dd2a8 import WRITTEN


def a_run(*outcomes: Outcome, task: str = "sum", digest: str = "d", **fields: Any) -> Run:
    run = Run(Path("run_1"), {}, [])
    for number, outcome in enumerate(outcomes):
        trial_id = f"t.py::test_{task}[run-{number:02d}]"
        run.plan.append(PlannedTrial(trial_id, f"t.py::test_{task}", task, digest, "m", number, number, (0.1, 0.4)))
        run.records[trial_id] = Record(trial_id, task, digest, "m", number, number, outcome=outcome, **fields)
    return run


def numbers(*runs: Run, ks: tuple[int, ...] = (1, 2)) -> Stats:
    return stats(runs, ks=ks)


def only(*runs: Run, **options: Any) -> Group:
    (group,) = numbers(*runs, **options).groups
    return group


def test_trials_of_several_runs_are_one_sample_unless_their_task_changed() -> None:
    one, other = a_run("passed", "failed"), a_run("failed", "cheated", "errored")
    group = only(one, other)
    assert (group.passed, group.judged, group.errored) == (1, 4, 1)
    assert (group.pass_at, group.pass_hat) == ({1: 0.25, 2: 0.5}, {1: 0.25, 2: 0.0})
    assert [group.judged for group in numbers(one, a_run("failed", digest="e")).groups] == [2, 1]


def test_a_k_without_enough_trials_is_refused_in_a_sentence() -> None:
    found = numbers(a_run("passed", "failed"), a_run("passed", task="word"), ks=(1, 2))
    assert found.refused == ["pass@2 and pass^2 need 2 judged trials of a task: word by m has 1"]
    assert list(found.groups[1].pass_at) == [1]
    assert list(found.suites[0].pass_at) == [1], "no mean over the tasks that happen to have enough"


@pytest.mark.parametrize(
    ("score", "threshold", "outcome", "near"),
    [
        (0.84, 0.875, "failed", True),
        (0.83, 0.875, "failed", False),
        (0.875, 0.875, "failed", False),  # the test's assertion asked for more
        (0.84, 0.875, "cheated", False),
        (0.84, 0.875, "passed", False),
        (-1.04, -1.0, "failed", True),
        (-1.06, -1.0, "failed", False),
        (None, 0.875, "failed", False),
        (0.84, None, "failed", False),
    ],
)
def test_near_is_a_share_of_the_threshold(score: float, threshold: float, outcome: Outcome, near: bool) -> None:
    (record,) = a_run(outcome, score=score, threshold=threshold).records.values()
    assert is_near(record, 0.05) is near


@pytest.mark.parametrize(
    ("blocks", "hollow"),
    [
        ([{"type": "thinking", "thinking": "How?"}], True),
        ([{"type": "text", "text": " \n"}], True),
        ([{"type": "text", "text": "Yes."}], False),
        ([{"type": "thinking"}, {"type": "tool_use", "name": "a"}], False),
    ],
)
def test_a_turn_is_hollow_without_call_and_text(blocks: list[dict[str, Any]], hollow: bool) -> None:
    assert is_hollow({"role": "assistant", "content": blocks}) is hollow


def test_what_went_to_waste_is_added_up() -> None:
    usage = Usage(input_tokens=10, output_tokens=99, cache_read_tokens=60, cache_write_tokens=30)
    request = RequestLog("r", "m", "end_turn", usage, 0.1, 2.0, lost_s=1.5, empty=True)
    said = [{"role": "user", "content": []}, {"role": "assistant", "content": [{"type": "thinking"}]}]
    run = a_run("passed", "failed", requests=[request], turns=2, messages=said, seconds={"total": 3.0})
    run.superseded.append(run.records[run.plan[0].trial_id])
    group = only(run)
    assert (group.hollow_turns, group.turns) == (4, 4), "an empty reply leaves no message"
    assert (group.cache_share, group.lost_s, group.seconds) == (0.6, 4.5, 6.0)


def test_the_numbers_of_an_older_run() -> None:
    found = stats([load_run(WRITTEN / "claude"), load_run(WRITTEN / "policies")], ks=(1, 5))
    claude = found.groups[0]
    assert (claude.task, claude.passed, claude.judged, claude.errored) == ("guess", 2, 5, 1)
    assert claude.reasons == {"not found": 2, "minus one": 1}
    text = "\n".join(stats_lines(found, painter(colour=False)))
    assert "guess by claude-haiku-4-5-20251001: 2 of 5 passed, 40 %, 1 errored" in text
    assert "pass@1 40 %   pass@5 100 %" in text
    assert "missed: 2 x not found (67 %), 1 x minus one (33 %)" in text
    assert "of all trials, clustered by 7 tasks" in text
    assert "pass@5 and pass^5 need 5 judged trials of a task: hopeless by policy:mixed has 3" in text


def test_what_a_grader_called_a_reason_moves_no_cursor() -> None:
    lines = list(stats_lines(numbers(a_run("failed", label="\x1b[2J gone")), painter(colour=False)))
    assert not any("\x1b" in line for line in lines)
