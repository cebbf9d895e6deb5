"""The table of trials: a line each, cells that start no formula, the numbers of the report."""

from __future__ import annotations

import csv
import io

from pytest_rltask.export.selection import select
from pytest_rltask.export.table import write_table
from pytest_rltask.report.summary import summarise
from pytest_rltask.run.load import Run
from tests.export.exported import hostile_run, written


def rows(run: Run) -> list[dict[str, str]]:
    file = io.StringIO()
    write_table(select(run), file)
    found = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert len(file.getvalue().splitlines()) == len(found) + 1
    return found


def test_its_numbers_are_those_of_the_report():
    run = written("claude")
    (told,) = summarise(run, "point").rows
    found = rows(run)
    judged = [row for row in found if row["passed"]]
    assert sum(row["passed"] == "True" for row in judged) / len(judged) == told.verdict.rate
    scores = [float(row["score"]) for row in judged if row["outcome"] != "cheated"]
    assert sum(scores) / len(scores) == told.mean_score
    assert abs(sum(float(row["cost_usd"]) for row in found) - told.known_cost_usd) < 0.02
    assert {row["metric.guesses"] for row in judged} == {"", "0", "1", "2"}


def test_no_cell_begins_a_formula_or_another_line():
    (row,) = rows(hostile_run())
    assert row["label"].startswith("'=cmd()?")
    assert all(cell.isprintable() for cell in row.values())
    assert row["metric.said"] == row["label"]


def test_a_run_without_records_is_a_line_of_names():
    run = hostile_run()
    run.records.clear()
    assert rows(run) == []
