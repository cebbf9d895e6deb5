"""What commit 97dd2a8 wrote is read, shown, replayed and gone on with by today's code: `tests/data/runs/97dd2a8`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pytest_rltask.report.files import write_reports
from pytest_rltask.report.summary import Summary, summarise
from pytest_rltask.report.terminal import summary_lines
from pytest_rltask.run.load import Run, load_plan, load_run
from pytest_rltask.run.planned import NotStarted
from pytest_rltask.run.record import Usage
from tests.claude.desk import MODEL
from tests.conftest import unwrapped
from tests.plugin.resumed import headline, refused
from tests.run.of_97dd2a8 import (
    CHEATED,
    CLAUDE,
    FAULTY,
    FOUND,
    NOT_FOUND,
    OVERRULED,
    PEEKED,
    POLICIES,
    UNKNOWN,
    WRITTEN,
    short,
    told,
)
from tests.support.messages_api import reply, text
from tests.support.serving import Serve, serve  # noqa: F401

COUNTS = ("passed", "failed", "cheated", "errored", "lost", "not_needed", "not_afforded", "reasons", "faults")


@pytest.fixture
def copied(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all that was written, in the folder of an inner pytest, which is no worker even if this process is."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # by it seed 49 kills its process
    shutil.copytree(WRITTEN, pytester.path, dirs_exist_ok=True)
    return pytester.path


def shown(summary: Summary, run: Run) -> str:
    lines = summary_lines(summary, run_dir=run.path, command=["pytest"], width=300, unicode=False)
    return "\n".join(line for line, _ in lines)


def test_the_policies_run_is_read_to_the_last_line():
    run = load_run(WRITTEN / "policies")

    assert {short(trial_id): told(record) for trial_id, record in run.records.items()} == POLICIES
    assert len(load_plan(run.path)) == 36
    assert len(run.plan) == 34, "a mark skipped two"
    assert {trial.task for trial in run.plan} == {"guess", "judged", "hopeless", "sides", "later"}
    assert sorted(map(short, (record.trial_id for record in run.superseded))) == [
        *(f"guess[run-0{run}]" for run in (3, 4, 7)),
        *(f"judged[run-0{run}]" for run in (3, 4)),
    ]
    early = NotStarted("proven", "stopped early: too hard is proven after 3 runs, 0 of them passed", rule=1)
    assert run.not_started == {f"guesses.py::test_hopeless[run-{run:02d}]": early for run in range(3, 12)}
    assert [len(run.starts[f"guesses.py::test_guess[run-0{number}]"]) for number in (0, 4, 7)] == [1, 2, 3]
    assert run.damaged_lines == 1
    records = run.records.values()
    assert {(record.grader, record.surroundings, len(record.history)) for record in records} == {("", "", 0)}
    assert {(trial.grader, trial.alone) for trial in run.plan} == {("", "")}
    assert {trial.band for trial in run.plan} == {(0.1, 0.4), (0.8, 1.0)}


def test_the_claude_run_is_read_with_what_it_cost():
    run = load_run(WRITTEN / "claude")

    read = {short(trial_id): (told(record), record.cost_usd) for trial_id, record in run.records.items()}
    assert read == {name: (what, pytest.approx(cost)) for name, (what, cost) in CLAUDE.items()}
    peeked, refused_once = sorted(run.superseded, key=lambda record: record.seed)
    assert (told(peeked), peeked.cost_usd, refused_once.cost_usd) == (FAULTY, 0.002, 0.002)
    refusal = refused_once.fault
    assert refusal is not None
    assert (refusal.kind, refusal.message) == ("api", "HTTP 400: a request that was not liked")
    last = "--max-cost 0.0235: $0.0205 is spent, and another trial may cost $0.0055"
    assert run.not_started == {"guesses.py::test_guess[run-07]": NotStarted("cost", last)}
    assert run.starts.keys() - run.records.keys() == {"guesses.py::test_guess[run-05]"}

    first, second = (run.records[f"guesses.py::test_guess[run-0{number}]"] for number in (0, 1))
    assert first.usage == Usage(1100, 350, cache_read_tokens=2000, cache_write_tokens=2000)
    assert (first.turns, first.tool_calls, first.metrics, first.tried) == (2, 2, {"guesses": 2}, "500, 43")
    assert [message["role"] for message in first.messages] == ["user", "assistant"] * 2 + ["user"]
    assert first.messages[1]["content"][0] == {"type": "text", "text": "Half of it."}
    (empty,) = second.requests
    assert (empty.empty, empty.faults) == (True, ("HTTP 529: scripted overloaded_error",))


def test_the_policies_run_is_summarised(copied: Path):
    run = load_run(copied / "policies")
    was = {row["test"]: row for row in json.loads((run.path / "report.json").read_text())["rows"]}

    summary = summarise(run, "point")
    write_reports(run, summary)

    for now in summary.rows:
        # Then, cheats were among the reasons.
        count = {name: getattr(now, name) for name in COUNTS} | {"reasons": now.reasons | now.cheats}
        assert count == {name: was[now.test][name] for name in COUNTS}, now.test
    said = shown(summary, run)
    assert f"judged errored: 1 x task fault: {PEEKED}, 1 x the test did not judge the trial: ValueError: a bug" in said
    assert (
        "hopeless: 9 of 12 planned trials were not started, on a proof that an earlier version's rule took for one; "
        "go on with --resume"
    ) in said
    page = (run.path / "report.html").read_text()
    assert all(f"test_{name}" in page for name in POLICIES)


def test_the_claude_run_is_summarised(copied: Path):
    run = load_run(copied / "claude")

    summary = summarise(run, "point")
    write_reports(run, summary)

    (row,) = summary.rows
    assert (row.passed, row.failed, row.cheated, row.errored, row.cut_off, row.not_afforded) == (2, 2, 1, 1, 1, 1)
    assert row.usage == Usage(10000, 1953, cache_read_tokens=2000, cache_write_tokens=2000)
    assert row.cost_usd == pytest.approx(0.022465)
    said = shown(summary, run).splitlines()
    assert "guess: the money (--max-cost) ended it: 1 of 8 planned trials were not started" in said
    assert "guess: 1 of 8 planned trials were not played to the end" in said
    assert "$0.0225" in (run.path / "report.html").read_text()


def test_it_is_replayed_by_todays_tools_and_grader(pytester: pytest.Pytester, copied: Path):
    suite = (copied / "guesses.py").read_text()
    # Alone in its file: every task of a file must have been recorded.
    (copied / "alone.py").write_text(suite[: suite.index("@pytest.mark.rltask(task=Guess(high=500)")])
    play = ("alone.py", "--model", "replay:claude", "--runs")

    assert pytester.runpytest(*play, "3", "--log-dir=first").parseoutcomes()["missed"] == 1
    assert pytester.runpytest(*play, "1", "--seed", "46", "--log-dir=second").parseoutcomes()["passed"] == 1

    (first, second) = (load_run(next((copied / name).glob("run_*"))).records for name in ("first", "second"))
    assert {record.seed: told(record) for record in first.values()} == {42: FOUND, 43: NOT_FOUND, 44: CHEATED}
    assert [(told(record), record.cost_usd) for record in second.values()] == [(FOUND, 0.0)]


def test_gone_on_with_it_asks_what_becomes_of_grades_of_an_unknown_grader(pytester: pytest.Pytester, copied: Path):
    files = {path: path.read_bytes() for path in copied.glob("policies/trials.*.jsonl")}

    said = refused(pytester.runpytest("guesses.py", "--model", "policy:mixed", "--resume=policies"))

    tasks = ("guess", "judged", "hopeless", "sides", "later")
    assert said.startswith(
        f"ERROR: --resume policies: {'; '.join(f'what grades task {task} changed: {UNKNOWN}' for task in tasks)}; "
        "write --resume=policies --changed=regrade (grade the recorded trials anew, without a model), --resume=policies"
    )
    assert {path: path.read_bytes() for path in copied.glob("policies/trials.*.jsonl")} == files


@pytest.mark.parametrize("way", ["reuse", "regrade"])
def test_the_policies_run_is_gone_on_with(pytester: pytest.Pytester, copied: Path, way: str):
    play = ("guesses.py", "--model", "policy:mixed", "--resume=policies")

    result = pytester.runpytest(*play, "--changed", way)

    assert headline(result) == "rltask: resuming policies: 20 trials reused, 3 errored ones and 11 missing to be played"
    run = load_run(copied / "policies")
    now = {short(trial_id): told(record) for trial_id, record in run.records.items()}
    bug = ("errored", "task fault", "policy 'mixed' raised RuntimeError: a bug of the policy", None, None)
    # A limit's label is that of the grader as well since, where a trial is graded anew.
    named = {"guess[run-06]": ("failed", "not found (tool-call limit)", *POLICIES["guess[run-06]"][2:])}
    overruled = {"judged[run-01]": ("passed", "", f"{OVERRULED} missed", 0.0, False)}
    regraded = named | overruled if way == "regrade" else {}
    assert now == POLICIES | regraded | {"guess[run-07]": bug} | {
        f"hopeless[run-{run:02d}]": NOT_FOUND for run in range(3, 12)
    }
    how = {"reuse": "reuse", "regrade": "replay"}[way]
    assert sum([step.how for step in record.history] == [how] for record in run.records.values()) == 20
    mark = {"reuse": f"4 of 4 grades are by an earlier grader (--changed=reuse), despite: {UNKNOWN}"}
    assert mark.get(way, "6 of 7 trials were graded anew (--changed=regrade)") in unwrapped(result)
    result.stdout.fnmatch_lines(["sides[[]far] by policy:mixed: *", "   50 % *", "  1 of 2 passed *"])
    result.stdout.fnmatch_lines(["hopeless by policy:mixed: *", "    0 % *", "  0 of 12 passed *"])


@pytest.mark.parametrize(
    ("way", "paid"), [("reuse", [45, 47, 49]), ("regrade", [45, 47, 49]), ("rerun", list(range(42, 50)))]
)
def test_what_claude_was_paid_for_is_paid_once(
    pytester: pytest.Pytester,
    copied: Path,
    serve: Serve,  # noqa: F811
    way: str,
    paid: list[int],
):
    api = serve(lambda body, turn: reply(text("No idea."), usage={"input_tokens": 1000, "output_tokens": 200}))

    pytester.runpytest("guesses.py::test_guess", "--model", MODEL, "--resume=claude", "--changed", way)

    asked = [request.body["messages"][0]["content"][0]["text"] for request in api.requests]
    assert sorted(int(prompt.split()[1].rstrip(":")) for prompt in asked) == paid
    (row,) = json.loads((copied / "claude" / "report.json").read_text())["rows"]
    assert row["cost_usd"] == pytest.approx(0.022465 + 0.002 * len(paid))
    assert (row["judged"], row["passed"], row["cheated"]) == ((8, 0, 0) if way == "rerun" else (8, 2, 1))


@pytest.fixture
def two_policies(copied: Path) -> Path:
    """The same, with a second policy."""
    suite = copied / "guesses.py"
    second = '{"null": lambda view: (yield "I give up."), "mixed"'
    suite.write_text(suite.read_text().replace('{"mixed"', second))
    return copied


def test_a_model_joins_a_run_whose_names_leave_the_model_out(pytester: pytest.Pytester, two_policies: Path):
    play = ("guesses.py::test_guess", "--model", "policy:mixed", "--resume=policies", "--changed=reuse", "--runs=3")

    result = pytester.runpytest(*play, "--model", "policy:null")

    assert headline(result).startswith("rltask: resuming policies: 3 trials reused, 3 missing to be played")
    run = load_run(two_policies / "policies")
    names = {trial_id.partition("[")[2] for trial_id in run.records if "test_guess" in trial_id}
    assert {"run-00]", "run-01]", "run-02]", "policy:null-run-00]", "policy:null-run-01]"} <= names
    assert not [name for name in names if name.startswith("policy:mixed")]


def test_another_model_alone_is_refused_by_a_run_whose_names_leave_the_model_out(
    pytester: pytest.Pytester, two_policies: Path
):
    result = pytester.runpytest("guesses.py::test_guess", "--model", "policy:null", "--resume=policies")

    assert "test_guess was played by policy:mixed, now policy:null" in refused(result)
