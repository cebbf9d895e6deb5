"""What the HTML report tells: complete, and true to report.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import Element

import pytest

from pytest_rltask.report.html import pieces
from pytest_rltask.report.html_charts import score_plot
from pytest_rltask.report.summary import summarise
from pytest_rltask.report.table import COLUMNS, cells
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import NotStarted
from pytest_rltask.run.record import RequestLog, Usage, outcome_word
from pytest_rltask.verdict import Gate
from tests.conftest import Suite
from tests.report.pages import by_class, opened, plan, record, text_of, tree, written


def test_the_headline_says_whether_the_gate_holds_and_names_the_worst(mixed: Run):
    page = tree(written(mixed))

    assert text_of(page.find(".//h1")) == "The gate fails for 2 of 3; worst: words by policy:null is incomplete"
    assert text_of(page.find(".//header")).count("the observed pass rate must lie in the band, both ends included") == 1
    assert text_of(page.find(".//header/pre")) == "pytest --runs 20 'a b'"
    assert text_of(page.find(".//time")) == "2026-01-02 03:04 UTC"


def test_what_a_trial_lost_to_the_api_stands_beside_its_seconds(tmp_path: Path):
    trials = plan("sums", "claude-haiku-4-5-20251001", 3)
    faults = ("HTTP 529: overloaded", "no reply within 60 s")
    waited = RequestLog("req", "", "end_turn", Usage(1000, 200), 0.0123, 70.0, lost_s=61.25, faults=faults)
    quick = RequestLog("req", "", "end_turn", Usage(1000, 200), 0.0123, 1.5, lost_s=0.0004)
    requests = [[quick, waited], [waited, waited], [quick]]
    records = {
        trial.trial_id: record(trial, "passed", 1.0, requests=asked)
        for trial, asked in zip(trials, requests, strict=True)
    }
    header = {"schema": 1, "id": "a", "created": "", "command": "pytest", "gate": "point"}

    page = opened(written(Run(tmp_path, header, trials, records)))

    facts = [trial["facts"] for trial in page]
    assert facts[0]["lost to the API"] == "61.3 s; turn 2: HTTP 529: overloaded; turn 2: no reply within 60 s"
    assert facts[1]["lost to the API"].startswith("122.5 s; turn 1: HTTP 529")
    assert "lost to the API" not in facts[2]
    assert list(facts[0]).index("lost to the API") == list(facts[0]).index("seconds") + 1


def test_a_trial_says_what_isolated_its_code(tmp_path: Path):
    trials = plan("sums", "policy:solver", 2)
    records = {
        trial.trial_id: record(trial, "passed", 1.0, sandbox=sandbox)
        for trial, sandbox in zip(trials, ("none", ""), strict=True)
    }
    header = {"schema": 1, "id": "a", "created": "", "command": "pytest", "gate": "point"}

    page = opened(written(Run(tmp_path, header, trials, records)))

    assert [trial["facts"].get("sandbox") for trial in page] == ["none", None]


def test_trials_that_were_not_started_are_called_that(tmp_path: Path):
    trials = plan("sums", "policy:solver", 6)
    records = {trial.trial_id: record(trial, "passed", 1.0) for trial in trials[:5]}
    header = {"schema": 1, "id": "a", "created": "", "command": "pytest", "gate": "point"}
    skipped = {trials[5].trial_id: NotStarted("cost", "--max-cost 1: $1.00 is spent")}

    page = tree(written(Run(tmp_path, header, trials, records, not_started=skipped)))

    (legend,) = by_class(page, "legend")
    assert [text_of(entry) for entry in legend.iter("li")] == ["✓ 5 passed", "» 1 not started"]


def test_a_shard_is_not_judged(mixed: Run):
    mixed.header["shard"] = {"index": 2, "of": 3}

    page = tree(written(mixed))

    assert text_of(page.find(".//h1")) == "Pass rates of shard 2/3, which are not judged"


def test_a_gate_that_holds_is_said_to_hold(mixed: Run):
    mixed.plan = mixed.plan[:20]

    page = tree(written(mixed))

    assert text_of(page.find(".//h1")) == "The gate holds"


@pytest.mark.parametrize(
    ("gate", "said"),
    [("point", "more runs would prove it"), ("strict", "more runs would decide"), ("proven", "more runs would decide")],
)
def test_an_unproven_verdict_says_what_proof_would_take(mixed: Run, gate: Gate, said: str):
    mixed.plan = mixed.plan[:20]

    verdict = text_of(by_class(tree(written(mixed, gate)), "verdict")[0])

    more = summarise(mixed, gate).rows[0].verdict.more_runs
    assert f"about {more} {said}" in verdict


def test_the_numbers_are_those_of_the_report_for_programs(mixed: Run):
    page = tree(written(mixed))
    data = json.loads((mixed.path / "report.json").read_text())
    rows = summarise(mixed, "point").rows

    lines = page.findall(".//table[@class='overview']/tbody/tr")
    assert len(lines) == len(data["rows"]) == 3
    for line, row, facts in zip(lines, rows, data["rows"], strict=True):
        shown = {cell.get("data-label"): text_of(cell) for cell in line.iter("td") if cell.get("data-label")}
        table = dict(zip(COLUMNS, cells(row), strict=True))
        assert shown == {name: table[str(name)] for name in shown}
        assert shown["passed"] == str(facts["passed"])
        assert shown["trials"].split("/")[0] == str(facts["judged"])
        drawn = by_class(line, "drawn")[0]
        (band,) = by_class(drawn, "band")
        assert band.get("x") == f"{facts['band']['low'] * 100:.2f}%"
        rate = [dot.get("cx") for dot in by_class(drawn, "rate")]
        assert rate == ([f"{facts['verdict']['rate'] * 100:.2f}%"] if facts["verdict"]["rate"] is not None else [])
        if facts["verdict"]["interval"]:
            ends = by_class(drawn, "interval")[0]
            assert [ends.get("x1"), ends.get("x2")] == [f"{end * 100:.2f}%" for end in facts["verdict"]["interval"]]


def test_every_trial_has_a_square_and_a_line(mixed: Run):
    page = tree(written(mixed))

    lines = {line.get("id"): line for line in page.findall(".//table[@class='trials of-several']/tbody/tr")}
    assert len(lines) == len(mixed.plan)
    for section, row in zip(by_class(page, "row"), summarise(mixed, "point").rows, strict=True):
        planned = [trial for trial in mixed.plan if (trial.test, trial.model) == (row.test, row.model)]
        squares = section.findall("ol/li/a")
        assert len(squares) == len(planned) == row.planned
        for square, trial in zip(squares, planned, strict=True):
            finished = mixed.records.get(trial.trial_id)
            outcome, said = (outcome_word(finished.outcome), finished.reason) if finished else ("lost", "lost: planned")
            assert square.get("aria-label", "").startswith(f"run-{trial.run:02d}, {outcome}")
            line = lines[unquote(square.get("href", "")[1:])]
            assert line.get("data-outcome") == outcome
            assert said in text_of(line)


def test_a_row_of_very_many_trials_has_no_squares(tmp_path: Path):
    trials = plan("sums", "policy:solver", 201)
    header = {"command": "pytest", "created": ""}
    run = Run(tmp_path, header, trials, {one.trial_id: record(one, "passed", 1.0) for one in trials})

    page = tree(written(run))

    assert by_class(page, "strip") == []
    assert len(page.findall(".//table[@class='trials']/tbody/tr")) == 201
    assert text_of(by_class(page, "legend")[0]) == "✓ 201 passed"


def test_reasons_and_faults_are_counted(mixed: Run):
    page = tree(written(mixed))

    counted = [text_of(line) for table in by_class(page, "counted") for line in table.iter("tr")]
    assert counted[:3] == ["5api fault: overloaded", "13score below threshold", "1score below threshold"]
    assert "5api fault: overloaded" in counted


def test_a_conversation_reads_like_its_transcript(mixed: Run):
    page = written(mixed)

    said = opened(page)[-2]["said"]
    assert said == [
        ("prompt", "prompt", "Do it."),
        ("thinking", "turn 1 · thinking", "How?"),
        ("model", "turn 1 · model", "I write a program."),
        ("call", "turn 1 · calls write_file", "path: a.py\ncontent:\n    1\n    2"),
        ("error", "error of write_file", "exit: 1"),
    ]


def test_a_long_output_is_whole(mixed: Run):
    first = mixed.plan[0].trial_id
    text = "<" * 999_999 + "end"
    mixed.records[first].messages[0]["content"][0]["text"] = text

    page = written(mixed)

    assert len(page) < 500_000
    assert ("prompt", "prompt", text) in [said for trial in opened(page) for said in trial["said"]]


def test_no_conversation_is_left_out_however_many_there_are(mixed: Run):
    texts = [str(index) * 400_000 for index in range(len(mixed.records))]
    for text, one in zip(texts, mixed.records.values(), strict=True):
        one.messages = [{"role": "user", "content": [{"type": "text", "text": text}]}]

    page = written(mixed)

    said = [text for trial in opened(page) for _, _, text in trial["said"]]
    assert sorted(said) == sorted(texts)
    assert by_class(tree(page), "left-out") == []


def test_what_no_browser_could_hold_is_left_out_by_name(mixed: Run):
    for index, one in enumerate(mixed.records.values()):
        one.messages = [{"role": "user", "content": [{"type": "text", "text": f"{index:04d}" * 100_000}]}]
    whole = len("".join(pieces(mixed, summarise(mixed, "point"))))

    page = "".join(pieces(mixed, summarise(mixed, "point"), most_chars=20_000))

    kept = len(opened(page))
    (told,) = by_class(tree(page), "left-out")
    assert 0 < kept < len(mixed.plan)
    assert len(page) < whole
    assert text_of(told).startswith(f"The conversations of {len(mixed.plan) - kept} trials are not in this page")
    rows = tree(page).findall(".//table[@class='trials of-several']/tbody/tr")
    link = rows[kept].find("th/a")
    assert link is not None
    assert unquote(link.get("href", "")) in text_of(told)


@pytest.mark.parametrize("scores", [[1e308, -1e308], [3.0, 3.0], [0.0], [5e-324, 0.0], [0.1] * 300, [-1.5, 0.2, 7.0]])
def test_any_scores_can_be_drawn(scores: list[float]):
    trials = [record(trial, "failed", score) for trial, score in zip(plan("a", "m", 300), scores, strict=False)]

    plot = score_plot(trials)

    assert plot is not None
    dots = [place for dot in by_class(tree(plot), "dot") for place in places_of(dot)]
    assert len(dots) == len(scores)
    assert all(0 <= x <= 340 and y > 0 for x, y in dots)


def test_very_many_scores_are_one_shape_for_each_outcome():
    trials = plan("a", "m", 3000)
    records = [record(trial, "passed" if trial.run % 3 else "failed", trial.run / 3000) for trial in trials]

    plot = tree(score_plot(records) or "")

    dots = {dot.get("class"): len(places_of(dot)) for dot in by_class(plot, "dot")}
    assert dots == {"dot failed": 1000, "dot passed": 2000}


def test_a_missed_score_is_drawn_left_of_the_threshold():
    trials = [record(trial, "failed", 0.8749) for trial in plan("a", "m", 9)]

    drawn = tree(score_plot([*trials, record(plan("b", "m", 1)[0], "passed", 0.0)]) or "")

    line = float(by_class(drawn, "threshold")[0].get("x1", "nan"))
    assert all(x <= line for dot in by_class(drawn, "failed") for x, _ in places_of(dot))


def places_of(dot: Element) -> list[tuple[float, float]]:
    """Return the centres of the dots that a shape draws."""
    starts = re.findall(r"M(-?[\d.]+) (-?[\d.]+)a", dot.get("d", ""))
    return [(float(x) + 3.5, float(y)) for x, y in starts]


def test_a_run_leaves_the_page_in_its_directory(suite: Suite):
    suite.run("--runs", "3", model="policy:sometimes_crash")

    page = tree((suite.run_dirs[-1] / "report.html").read_text(encoding="utf-8"))
    links = [
        unquote(link.get("href", "")) for link in page.iter("a") if link.get("href", "").startswith("transcripts/")
    ]
    assert len(links) == 3
    assert all((suite.run_dirs[-1] / link).is_file() for link in links)


def test_a_row_without_a_judged_trial_is_shown(mixed: Run):
    mixed.plan, mixed.records = mixed.plan[:4], {}

    page = tree(written(mixed))

    said = "The gate is undecided, since the run was interrupted (4 trials did not end)"
    assert text_of(page.find(".//h1")) == said
    assert len(by_class(page, "lost")) == 1 + 4 + 4
