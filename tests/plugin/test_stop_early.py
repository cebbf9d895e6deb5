"""`--stop-early`: a task's trials end once its verdict is proven, by order of start, and the report says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_rltask.clock import utc_now
from pytest_rltask.report.summary import summarise
from pytest_rltask.report.table import gate_line
from tests.conftest import SUITE, WAYS, WAYS_IDS, Suite, unwrapped, workers_at_once

# Policies whose trials wait, without computing, until as many of others have begun or ended as they ask for.
WAITING = (
    SUITE
    + '''
import asyncio, pathlib, time
from pytest_rltask import SandboxError

class WaitingEpisode(SumEpisode):
    def __init__(self, task, seed):
        super().__init__(task, seed)
        pathlib.Path("begun").mkdir(exist_ok=True)
        pathlib.Path("missed").mkdir(exist_ok=True)
        pathlib.Path("ended").mkdir(exist_ok=True)
        pathlib.Path("begun", str(seed)).touch()
    @tool
    async def wait(self, what: str, number: int) -> str:
        """Wait for others."""
        end = time.monotonic() + 30
        while len(list(pathlib.Path(what).iterdir())) < number:
            assert time.monotonic() < end, f"{what}: {number} never came"
            await asyncio.sleep(0.005)
        return "waited"
    @tool
    def no_room(self) -> str:
        """Fail before any code ran."""
        raise SandboxError("no room")
    def close(self):
        pathlib.Path("ended", str(self.seed)).touch()
        if self.answer == 0:
            pathlib.Path("missed", str(self.seed)).touch()

def slow_passes(view):
    """Every third trial passes, but not before almost all that miss have missed."""
    if view.seed % 3 == 0:
        yield call("wait", what="missed", number=50)
    yield call("submit", number=view.seed + 1 if view.seed % 3 == 0 else 0)

def together(view):
    """The first six pass, once ten have begun; the others miss."""
    yield call("wait", what="begun", number=10)
    yield call("submit", number=view.seed + 1 if view.seed < 48 else 0)

def ten_at_once(view):
    yield call("wait", what="begun", number=10)
    yield call("submit", number=view.seed + 1)

def two_crash(view):
    yield call("no_room") if view.seed in (42, 44) else call("submit", number=view.seed + 1)

@dataclass(frozen=True)
class Waiting(Sum):
    policies = {**Sum.policies, "slow_passes": slow_passes, "together": together}
    policies |= {"ten_at_once": ten_at_once, "two_crash": two_crash}
    def open(self, seed):
        return WaitingEpisode(self, seed)
'''
)

TEST = """
from tasks import *

@pytest.mark.rltask(task=Waiting({threshold}))
def test_sum(trial):
    assert trial.score >= {at_least}, trial.reason
"""


class Stopped(Suite):
    """A suite whose trials wait for each other."""

    def __init__(self, pytester: pytest.Pytester, workers: tuple[str, ...] = ()) -> None:
        super().__init__(pytester, workers)
        self.asserts()

    def asserts(self, *, at_least: float = 1.0, threshold: str = "") -> None:
        """Write the test."""
        self.write(tasks=WAITING, test_sum=TEST.format(at_least=at_least, threshold=threshold))

    def play(self, *arguments: str, model: str = "policy:solver") -> pytest.RunResult:
        """Run the inner pytest with the option."""
        return self.run("--stop-early", "-rs", *arguments, model=model)

    @property
    def row(self) -> dict[str, Any]:
        """The only row of the newest report."""
        (row,) = self.report()["rows"]
        return row

    @property
    def said(self) -> tuple[str, bool]:
        """The verdict of the only row, and whether it is proven."""
        return self.row["verdict"]["word"], self.row["verdict"]["proven"]


@pytest.fixture
def stopped(pytester: pytest.Pytester) -> Stopped:
    """Played in one process."""
    return Stopped(pytester)


@pytest.fixture(params=WAYS, ids=WAYS_IDS)
def any_stopped(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Stopped:
    """Played in one process and, in a second test, by two workers."""
    return Stopped(pytester, request.param)


@workers_at_once("any_stopped")
def test_what_is_proven_is_played_no_further_and_every_report_says_so(any_stopped: Stopped):
    result = any_stopped.play("--runs", "20", "--concurrency", "2")

    row, run = any_stopped.row, any_stopped.last_run()
    assert any_stopped.said == ("too easy", True)
    assert row["proof"] == {"word": "too easy", "passed": 6, "judged": 6}
    assert 6 <= row["judged"] < 20  # and what was begun before the sixth had ended
    assert (row["planned"], row["lost"], row["not_needed"]) == (20, 0, 20 - row["judged"])
    assert len(run.starts) == len(run.records) == row["judged"]
    text = result.stdout.str()
    why = "stopped early: too easy is proven after 6 runs, 6 of them passed"
    assert f"SKIPPED [{row['not_needed']}] test_sum.py:3: {why}" in text
    assert f"{why}; {row['not_needed']} of 20 planned trials were not started" in unwrapped(result)
    assert why in (run.path / "summary.md").read_text()
    page = (run.path / "report.html").read_text()
    assert "stopped early: proven after 6 of 20 runs" in page
    assert page.count(f"not started: {why}") == 2 * row["not_needed"]  # the square and the entry of each
    result.assert_outcomes(passed=row["judged"], failed=1, skipped=row["not_needed"])  # the failure is the gate's


def test_without_the_option_everything_is_played(stopped: Stopped):
    stopped.run("--runs", "20", model="policy:solver")

    assert (stopped.row["judged"], stopped.row["proof"], stopped.row["not_needed"]) == (20, None, 0)


def test_fast_failures_do_not_count_before_what_started_with_them(any_stopped: Stopped):
    # In the order in which they end, 50 misses come first: 37 would prove "too hard" of a task in the band.
    concurrency = "15" if any_stopped.workers else "30"
    any_stopped.play("--runs", "100", "--concurrency", concurrency, model="policy:slow_passes")

    assert (any_stopped.row["judged"], any_stopped.row["proof"]) == (100, None)


def test_what_is_in_flight_is_recorded_and_changes_no_verdict(any_stopped: Stopped):
    # Of two workers nobody knows which six of the ten begin first: there all of them pass.
    concurrency, model = ("5", "policy:ten_at_once") if any_stopped.workers else ("10", "policy:together")
    result = any_stopped.play("--runs", "20", "--concurrency", concurrency, model=model)

    assert any_stopped.row["passed"] == (any_stopped.row["judged"] if any_stopped.workers else 6)
    assert any_stopped.row["judged"] >= 10
    assert any_stopped.said == ("too easy", True)
    assert any_stopped.row["proof"]["judged"] == 6
    of_the_proof = " of 6" if any_stopped.row["judged"] > 6 else ""
    result.stdout.fnmatch_lines([f"*45-100 %{of_the_proof}*"])


def test_each_task_and_model_stops_by_itself(any_stopped: Stopped):
    models = ("--model", "policy:null", "--model", "policy:solver")
    any_stopped.play("--runs", "60", "--concurrency", "1", *models, model="policy:baseline")

    rows = {row["model"]: row for row in any_stopped.report()["rows"]}
    assert rows["policy:baseline"]["judged"] == 60
    assert rows["policy:null"]["proof"]["word"] == "too hard"
    assert rows["policy:solver"]["proof"]["word"] == "too easy"
    assert rows["policy:solver"]["judged"] <= 10


def test_sequential_runs_stop_too(any_stopped: Stopped):
    any_stopped.play("--runs", "20", "--sequential")

    assert (any_stopped.row["judged"], any_stopped.row["not_needed"]) == (6, 14)


def test_a_stopped_run_that_is_resumed_stays_stopped(any_stopped: Stopped):
    any_stopped.play("--runs", "20", "--concurrency", "1")
    before = any_stopped.last_run().starts

    result = any_stopped.play("--runs", "20", "--resume", "last")

    assert any_stopped.last_run().starts == before
    assert any_stopped.said == ("too easy", True)
    result.assert_outcomes(passed=len(before), failed=1, skipped=20 - len(before))


def test_resumed_without_the_option_all_of_it_is_played_and_judged(stopped: Stopped):
    stopped.play("--runs", "20", "--concurrency", "1")

    stopped.run("--runs", "20", "--resume", "last", model="policy:solver")

    assert (stopped.row["judged"], stopped.row["proof"], stopped.row["not_needed"]) == (20, None, 0)


def test_a_proof_stands_however_many_runs_are_planned_later(stopped: Stopped):
    stopped.play("--runs", "20", "--concurrency", "1")

    stopped.play("--runs", "100", "--resume", "last", "--concurrency", "1")

    assert (stopped.row["judged"], stopped.row["not_needed"]) == (6, 94)
    assert (stopped.said, stopped.report()["rule_of_proof"]) == (("too easy", True), 2)


def stopped_by_the_old_rule(stopped: Stopped) -> None:
    """Leave a run that an earlier version stopped after five passes, which proved it too easy then."""
    stopped.play("--runs", "20", "--concurrency", "1")
    (log,) = stopped.run_dirs[-1].glob("trials.*.jsonl")
    lines = []
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if "run-05]" in entry.get("trial_id", "") and entry["type"] != "skipped":
            continue
        if entry.pop("rule", None):
            entry["reason"] = "stopped early: too easy is proven after 5 runs, 5 of them passed"
        lines.append(json.dumps(entry) + "\n")
    at = utc_now()
    skip = {
        "type": "skipped",
        "trial_id": "test_sum.py::test_sum[policy:solver-run-05]",
        "at": at,
        "why": "proven",
        "reason": "x",
    }
    log.write_text("".join(lines) + json.dumps(skip) + "\n")


def test_what_an_earlier_rule_took_for_a_proof_is_complete_but_proves_nothing_now(stopped: Stopped):
    stopped_by_the_old_rule(stopped)

    (row,) = summarise(stopped.last_run(), "point").rows

    assert (row.judged, row.not_needed, row.verdict.word, row.verdict.proven) == (5, 15, "too easy", False)
    assert "on a proof that an earlier version's rule took for one" in gate_line(row)


def test_a_run_that_an_earlier_rule_stopped_goes_on_until_it_is_proven(stopped: Stopped):
    stopped_by_the_old_rule(stopped)

    stopped.play("--runs", "20", "--resume", "last", "--concurrency", "1")

    assert (stopped.row["judged"], stopped.row["not_needed"], stopped.said) == (6, 14, ("too easy", True))


def test_errored_trials_prove_nothing(stopped: Stopped):
    stopped.play("--runs", "20", "--concurrency", "1", model="policy:two_crash")

    row = stopped.row
    assert (row["judged"], row["errored"], row["proof"]["judged"]) == (8, 2, 8)  # a fifth of ten is errored


def test_an_assertion_that_overrules_the_grader_is_what_counts(any_stopped: Stopped):
    any_stopped.asserts(at_least=2.0)  # the grader passes every trial, the test none

    any_stopped.play("--runs", "20")

    assert (any_stopped.row["judged"], any_stopped.row["passed"], any_stopped.row["not_needed"]) == (20, 0, 0)


def test_what_the_grader_kept_from_starting_starts_once_the_assertion_overrules_it(stopped: Stopped):
    stopped.asserts(at_least=2.0)
    test = (stopped.pytester.path / "test_sum.py").read_text()
    wait = "    while len(list(pathlib.Path('ended').iterdir())) < 10: time.sleep(0.005)\n"
    stopped.write(test_sum=test.replace("    assert", f"{wait}    assert"))

    stopped.play("--runs", "20", "--concurrency", "10", model="policy:ten_at_once")

    assert (stopped.row["judged"], stopped.row["passed"]) == (20, 0)


def test_a_grader_without_a_threshold_leaves_it_to_the_assertion(any_stopped: Stopped):
    any_stopped.asserts(threshold="None")

    any_stopped.play("--runs", "20", "--concurrency", "1")

    assert any_stopped.said == ("too easy", True)
    assert any_stopped.row["not_needed"] > 0


def test_a_trial_that_a_mark_skips_is_no_part_of_the_plan(stopped: Stopped):
    test = (stopped.pytester.path / "test_sum.py").read_text()
    stopped.write(test_sum=test.replace("@pytest", "@pytest.mark.skip(reason='not now')\n@pytest"))

    result = stopped.play("--runs", "20")

    result.assert_outcomes(skipped=20)
    assert stopped.last_run().plan == []
