"""How a run's numbers are counted and drawn, from records alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_rltask.proof import proven
from pytest_rltask.report.files import markdown
from pytest_rltask.report.summary import Row, summarise
from pytest_rltask.report.table import BAR_WIDTH, COLUMNS, bar, cells, gate_line, shown_interval, verdict_text
from pytest_rltask.report.terminal import summary_lines
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Fault, Outcome, Record, RequestLog, Usage
from pytest_rltask.task import Band


def a_run(*outcomes: Outcome | None, cost: float | None = 0.01, model: str = "claude-haiku-4-5") -> Run:
    """Return a run with one trial for each outcome; None: planned, but not played to its end."""
    run = Run(Path("logs/run_1"), {"command": "pytest --runs 10", "created": "2026-11-21"}, [])
    for index, outcome in enumerate(outcomes):
        trial = f"test_sum.py::test_sum[run-{index:02d}]"
        run.plan.append(PlannedTrial(trial, "test_sum.py::test_sum", "sum", "d", model, index, index, (0.1, 0.4)))
        if outcome is not None:
            run.records[trial] = a_record(trial, outcome, index, cost=cost, model=model)
    return run


def a_record(trial: str, outcome: Outcome, index: int, *, cost: float | None, model: str) -> Record:
    request = RequestLog(f"req_{index}", model, "end_turn", Usage(100, 20, 30, 50), cost, 1.5)
    fault = Fault("api", "HTTP 529: Overloaded", "req_x") if outcome == "errored" else None
    return Record(
        trial_id=trial,
        task="sum",
        task_digest="d",
        model=model,
        run=index,
        seed=index,
        outcome=outcome,
        label="" if outcome == "passed" else "below | threshold",
        reason="<b>why</b>",
        score=None if outcome == "errored" else float(outcome == "passed"),
        fault=fault,
        requests=[request],
        turns=2,
        seconds={"total": 30.0},
    )


def row_of(run: Run) -> Row:
    (row,) = summarise(run, "point").rows
    return row


def test_errored_and_lost_trials_are_no_part_of_the_pass_rate():
    row = row_of(a_run("passed", *["failed"] * 5, "cheated", "errored", None))

    assert (row.planned, row.judged, row.passed, row.failed, row.cheated, row.errored, row.lost) == (
        9,
        7,
        1,
        5,
        1,
        1,
        1,
    )
    assert row.verdict.rate == pytest.approx(1 / 7)


def test_what_errored_trials_cost_is_counted():
    row = row_of(a_run(*["passed"] * 4, "errored"))

    assert row.cost_usd == pytest.approx(0.05)
    assert row.usage.total == 5 * 200


def test_an_unknown_price_is_shown_as_unknown_and_never_as_nothing():
    assert cells(row_of(a_run("passed", cost=None)))[11] == "unknown"
    assert cells(row_of(a_run("passed", cost=0.0123)))[11] == "$0.0123"
    assert cells(row_of(a_run("passed", cost=0.0, model="policy:null")))[11] == "-"


@pytest.mark.parametrize("passed", range(11))
def test_the_dot_lies_between_the_brackets_just_when_the_rate_is_in_the_band(passed: int):
    row = row_of(a_run(*["passed"] * passed, *["failed"] * (10 - passed)))

    drawn = bar(row)

    assert len(drawn) == BAR_WIDTH + 2
    assert drawn.count("●") == 1
    assert (drawn.index("[") < drawn.index("●") < drawn.index("]")) == (1 <= passed <= 4)


def test_the_bar_can_be_drawn_in_ascii():
    assert bar(row_of(a_run("passed", "failed", "failed")), unicode=False).isascii()


def test_a_row_without_a_grade_shows_dashes():
    row = row_of(a_run("errored", None))

    assert verdict_text(row) == "incomplete"
    assert cells(row)[4:6] == ["-", "-"]
    missing = "2 of 2 trials of sum have no grade (at most 20 % may)"
    assert gate_line(row) == f"incomplete: {missing}: 1 x api fault: HTTP 529: Overloaded; go on with --resume"


def test_the_worst_row_comes_first():
    run = a_run(*["passed"] * 3, *["failed"] * 7)
    other = a_run(*["passed"] * 10, model="policy:solver")
    for trial in other.plan:
        run.plan.append(PlannedTrial(**{**vars(trial), "trial_id": f"b{trial.trial_id}"}))
        run.records[f"b{trial.trial_id}"] = other.records[trial.trial_id]

    assert [row.verdict.word for row in summarise(run, "point").rows] == ["too easy", "in band"]


def lines_of(run: Run) -> list[str]:
    lines = summary_lines(
        summarise(run, "point"), run_dir=run.path, command=["pytest", "--runs", "10", "-x"], width=160, unicode=True
    )
    return [line for line, _ in lines]


def test_the_next_command_after_faults_goes_on_with_the_run():
    assert lines_of(a_run("errored", "errored", "passed"))[-1] == "next: pytest --runs 10 -x --resume=logs/run_1"


def test_a_proven_misfit_asks_to_read_a_trial():
    assert lines_of(a_run(*["passed"] * 10))[-1] == "next: less logs/run_1/transcripts/sum-run-00.txt"


def test_reasons_cheats_and_faults_are_counted_apart():
    run = a_run("failed", "failed", "cheated", "errored")

    lines, text = lines_of(run), markdown(run, summarise(run, "point"))

    assert "sum missed: 2 x below | threshold" in lines
    assert "sum cheated: 1 x below | threshold" in lines
    assert "sum errored: 1 x api fault: HTTP 529: Overloaded" in lines
    assert "  - missed: 2 x below \\| threshold\n  - cheated: 1 x below \\| threshold\n  - errored: 1 x api" in text


def test_what_a_cheat_scored_is_no_part_of_the_mean_score():
    run = a_run("passed", "failed", "failed", "failed", "cheated", "cheated")
    for record in run.records.values():
        record.score = 1.0 if record.outcome == "cheated" else record.score

    assert row_of(run).mean_score == 0.25
    assert cells(row_of(run))[COLUMNS.index("score")] == "0.250"


def test_a_row_of_cheats_alone_has_no_mean_score():
    assert row_of(a_run("cheated", "cheated")).mean_score is None


def test_text_of_models_cannot_break_the_markdown_table():
    run = a_run("failed", "passed")

    text = markdown(run, summarise(run, "point"))

    rows = [line for line in text.splitlines() if line.startswith("| sum")]
    assert len(rows) == 1
    assert "below \\| threshold" in text


def test_no_shown_interval_contradicts_the_verdict():
    for n in (1, 6, 10, 37, 45, 60, 100):
        for k in range(n + 1):
            row = row_of(a_run(*["passed"] * k, *["failed"] * (n - k)))
            low, high = (float(bound) for bound in shown_interval(row).removesuffix(" %").split("-"))

            inside = "in band" if low > 10 and high < 40 else None
            shown = "too easy" if low > 40 else "too hard" if high < 10 else inside

            assert shown == proven(k, n, Band())


def test_an_interval_has_as_many_digits_as_its_side_of_an_edge_takes():
    assert shown_interval(row_of(a_run(*["passed"] * 3, *["failed"] * 7))) == "6-68 %"
    assert shown_interval(row_of(a_run(*["failed"] * 37))) == "0-9.9 %"  # 0-10 % would touch the band
    assert shown_interval(row_of(a_run(None, None))) == "-"


def test_a_trial_that_was_begun_and_left_no_record_is_not_tolerated():
    run = a_run("passed", *["failed"] * 8, None)
    assert row_of(run).verdict.word == "in band"

    run.starts[run.plan[-1].trial_id] = ["2026-11-28T10:00:00.000+00:00"]

    row = row_of(run)
    assert (row.lost, row.cut_off, row.verdict.word) == (1, 1, "incomplete")
    assert "1 cut off while it was played; go on with --resume" in gate_line(row)
