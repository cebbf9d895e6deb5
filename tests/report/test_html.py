"""The HTML report as a document: well-formed, complete, true to report.json, and deaf to hostile text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from pytest_rltask.report.files import write_reports
from pytest_rltask.report.html import html
from pytest_rltask.report.html_charts import score_plot
from pytest_rltask.report.html_markup import clip, element
from pytest_rltask.report.summary import summarise
from pytest_rltask.report.table import COLUMNS, cells
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import NotStarted, PlannedTrial
from pytest_rltask.run.record import Fault, Outcome, Record, RequestLog, Usage
from pytest_rltask.verdict import Gate
from tests.conftest import Suite

HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></details></body><img src=x onerror=alert(1)>",
    "\"' onmouseover=alert(1) x='",
    "javascript:alert(1)",
    "]]></style><style>*{display:none}</style><!--",
    "\ud800 lone \udfff",
    "nul \x00 esc \x1b[31m bell \x07 del \x7f c1 \x9b cr \r",
    "\u202etxt.exe\u202c \u2066x\u2069 \ufffe\uffff",
    "&lt;b&gt; &amp;amp; &#x3c;",
]


def record(planned: PlannedTrial, outcome: Outcome, score: float | None = None, **changes: Any) -> Record:
    """Make a finished trial."""
    fields: dict[str, Any] = {
        "label": "" if outcome == "passed" else "score below threshold",
        "reason": "" if outcome == "passed" else f"{outcome} by run {planned.run}",
        "threshold": None if score is None else 0.875,
        "requests": [RequestLog("req", planned.model, "end_turn", Usage(1000, 200), 0.0123, 1.5)],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Do it."}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "How?"},
                    {"type": "text", "text": "I write a program."},
                    {"type": "tool_use", "id": "1", "name": "write_file", "input": {"path": "a.py", "content": "1\n2"}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "1", "content": '{"exit": 1}', "is_error": True}],
            },
        ],
        "turns": 1,
        "tool_calls": 1,
        "seconds": {"model": 1.5, "total": 2.25},
        "stop": "done",
        "metrics": {"accuracy": score},
    }
    if outcome == "errored":
        fields["fault"] = Fault("api", "overloaded", "req_123", details="Traceback")
    return Record(
        planned.trial_id, planned.task, "digest", planned.model, planned.run, planned.seed, outcome, score=score,
        **{**fields, **changes},
    )  # fmt: skip


def plan(task: str, model: str, runs: int) -> list[PlannedTrial]:
    """Plan the trials of one task and model."""
    test = f"test_{task}.py::test_{task}"
    return [
        PlannedTrial(f"{test}[{model}-run-{run:02d}]", test, task, "digest", model, run, 42 + run, (0.1, 0.4))
        for run in range(runs)
    ]


@pytest.fixture
def mixed(tmp_path: Path) -> Run:
    """A run with every outcome: one row in the band, one too easy, one incomplete."""
    good = plan("sums", "claude-haiku-4-5-20251001", 20)
    easy, broken = plan("sums", "policy:solver", 20), plan("words", "policy:null", 5)
    records = [record(trial, "passed", 0.9 + trial.run / 1000) for trial in [*good[:4], *easy]]
    records += [record(trial, "failed", 0.5 + trial.run / 100) for trial in good[4:17]]
    records += [record(good[17], "cheated", 1.0), record(good[18], "errored")]
    records += [record(trial, "errored") for trial in broken]
    header = {
        "schema": 1, "id": "f00d", "created": "2026-01-02T03:04:05+00:00", "command": "pytest --runs 20 'a b'",
        "gate": "point", "python": "3.11.7", "packages": {"pytest": "9.2.0", "pytest-rltask": "0.1.0"},
        "git_commit": "c0ffee",
    }  # fmt: skip
    return Run(tmp_path, header, [*good, *easy, *broken], {one.trial_id: one for one in records})


def written(run: Run, gate: Gate = "point") -> str:
    """Write a run's reports and return the page."""
    write_reports(run, summarise(run, gate))
    return (run.path / "report.html").read_text(encoding="utf-8")


def tree(page: str) -> Element:
    """Parse a page as XML, which forgives nothing."""
    return ElementTree.fromstring(page)


def text_of(node: Element | None) -> str:
    """Return all text within an element."""
    assert node is not None
    return "".join(node.itertext())


def by_class(node: Element, name: str) -> list[Element]:
    """Return the elements of a class."""
    return [one for one in node.iter() if name in one.get("class", "").split()]


class Balance(HTMLParser):
    """Checks that a browser's kind of parser sees every element closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.elements.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def elements_of(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """Return every element with its attributes, having checked the balance."""
    parser = Balance()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser.elements


def test_the_page_is_well_formed_and_its_ids_are_unique(mixed: Run):
    page = written(mixed)

    ids = [attributes["id"] for _, attributes in elements_of(page) if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert tree(page).get("lang") == "en"


def test_every_link_leads_within_the_page_or_to_a_transcript(mixed: Run):
    elements = elements_of(written(mixed))

    ids = {attributes.get("id") for _, attributes in elements}
    links = [str(attributes["href"]) for tag, attributes in elements if tag == "a"]
    assert {link for link in links if not link.startswith("transcripts/")} <= {f"#{name}" for name in ids}
    assert sum(link.startswith("transcripts/") for link in links) == len(mixed.records)


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

    page = tree(written(Run(tmp_path, header, trials, records)))

    facts = [
        dict(zip(map(text_of, body.iter("dt")), map(text_of, body.iter("dd")), strict=True))
        for body in by_class(page, "body")
    ]
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

    page = tree(written(Run(tmp_path, header, trials, records)))

    said = [text_of(fact) for body in by_class(page, "body") for fact in body.iter("dl")]
    assert ["sandboxnone" in facts for facts in said] == [True, False]


def test_trials_that_were_not_started_are_called_that(tmp_path: Path):
    trials = plan("sums", "policy:solver", 6)
    records = {trial.trial_id: record(trial, "passed", 1.0) for trial in trials[:5]}
    header = {"schema": 1, "id": "a", "created": "", "command": "pytest", "gate": "point"}
    skipped = {trials[5].trial_id: NotStarted("cost", "--max-cost 1: $1.00 is spent")}

    page = tree(written(Run(tmp_path, header, trials, records, not_started=skipped)))

    (legend,) = by_class(page, "legend")
    assert [text_of(entry) for entry in legend.iter("li")] == ["✓ 5 passed", "» 1 not started"]


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


def test_every_trial_has_a_square_and_an_entry(mixed: Run):
    page = tree(written(mixed))

    for section, row in zip(page.findall(".//section"), summarise(mixed, "point").rows, strict=True):
        planned = [trial for trial in mixed.plan if (trial.test, trial.model) == (row.test, row.model)]
        squares = section.findall("ol/li/a")
        targets = {one.get("id"): text_of(one) for one in section.iter() if one.get("id", "").startswith("t-")}
        assert len(squares) == len(planned) == row.planned
        for square, trial in zip(squares, planned, strict=True):
            finished = mixed.records.get(trial.trial_id)
            outcome, said = (finished.outcome, trial.trial_id) if finished else ("lost", "lost: planned")
            assert square.get("aria-label", "").startswith(f"run-{trial.run:02d}, {outcome}")
            assert said in targets[square.get("href", "")[1:]]


def test_reasons_and_faults_are_counted(mixed: Run):
    page = tree(written(mixed))

    counted = [text_of(line) for table in by_class(page, "counted") for line in table.iter("tr")]
    assert counted[:3] == ["5api fault: overloaded", "13score below threshold", "1score below threshold"]
    assert "5api fault: overloaded" in counted


def test_a_conversation_reads_like_its_transcript(mixed: Run):
    page = tree(written(mixed))

    said = [(one.get("class"), text_of(one[0]), text_of(one[1])) for one in by_class(page, "said")[-4:]]
    assert said == [
        ("said thinking", "turn 1 · thinking", "4 charactersHow?"),
        ("said model", "turn 1 · model", "I write a program."),
        ("said call", "turn 1 · calls write_file", "path: a.py\ncontent:\n    1\n    2"),
        ("said error", "error", "exit: 1"),
    ]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_never_becomes_markup(mixed: Run, hostile: str):
    harmless = [tag for tag, _ in elements_of(written(mixed))]
    for index, planned in enumerate(mixed.plan):
        values = {"label": "x", "reason": hostile, "stop": hostile, "metrics": {hostile: hostile}, "started": hostile}
        if index % 2:
            values["fault"] = Fault("task", hostile, hostile, details=hostile)
        if planned.trial_id in mixed.records:
            talk = json.loads(json.dumps(mixed.records[planned.trial_id].messages).replace("write_file", "NAME"))
            for message in talk:
                for block in message["content"]:
                    for key in set(block) & {"text", "thinking", "name", "content"}:
                        block[key] = hostile
                    block.get("input", {})["content"] = hostile
            vars(mixed.records[planned.trial_id]).update(values, messages=talk, system=hostile, info={"a": hostile})
    facts = dict.fromkeys(("command", "created", "python", "git_commit"), hostile)
    mixed.header.update(facts, packages={"pytest": hostile})

    page = written(mixed)

    elements = elements_of(page)
    tree(page)
    assert {tag for tag, _ in elements} <= set(harmless)
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on") or name == "style"]
    assert sum(tag == "style" for tag, _ in elements) == 1
    assert all(re.match(r"#|transcripts/", str(each["href"])) for _, each in elements if "href" in each)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)


def test_hostile_names_never_become_markup(tmp_path: Path):
    planned = [
        PlannedTrial(f"t.py::t[{name}-run-00]", f"t.py::t[{name}]", name, "d", f"policy:{name}", 0, 1, (0.1, 0.4))
        for name in HOSTILE
    ]
    run = Run(tmp_path, {"command": "pytest"}, planned, {one.trial_id: record(one, "failed", 0.1) for one in planned})

    page = html(run, summarise(run, "point")).encode("utf-8").decode()

    assert "script" not in {tag for tag, _ in elements_of(page)}
    assert len(tree(page).findall(".//section")) == len(HOSTILE)


def test_the_page_forbids_scripts_and_requests(mixed: Run):
    policies = [meta["content"] for tag, meta in elements_of(written(mixed)) if meta.get("http-equiv")]

    assert len(policies) == 1
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'", str(policies[0])
    )


def test_a_long_output_is_cut_in_the_middle(mixed: Run):
    first = mixed.plan[0].trial_id
    mixed.records[first].messages[0]["content"][0]["text"] = "<" * 5_000_000

    page = written(mixed)

    assert len(page) < 1_000_000
    assert "[... 4,950,000 characters left out ...]" in page


def test_conversations_too_long_for_a_page_are_linked_only(mixed: Run):
    for one in mixed.records.values():
        one.messages = [{"role": "user", "content": [{"type": "text", "text": "<" * 40_000}]}]

    page = written(mixed)

    assert len(page) < 500_000
    assert len(by_class(tree(page), "said")) == 0
    assert page.count("too long for one page") == len(mixed.records)
    assert page.count('href="transcripts/') == len(mixed.records)


@pytest.mark.parametrize("scores", [[1e308, -1e308], [3.0, 3.0], [0.0], [5e-324, 0.0], [0.1] * 300, [-1.5, 0.2, 7.0]])
def test_any_scores_can_be_drawn(scores: list[float]):
    trials = [record(trial, "failed", score) for trial, score in zip(plan("a", "m", 300), scores, strict=False)]

    plot = score_plot(trials)

    assert plot is not None
    dots = by_class(tree(plot), "dot")
    assert len(dots) == len(scores)
    assert all(0 <= float(dot.get("cx", "nan")) <= 340 and float(dot.get("cy", "nan")) > 0 for dot in dots)


def test_a_missed_score_is_drawn_left_of_the_threshold():
    trials = [record(trial, "failed", 0.8749) for trial in plan("a", "m", 9)]

    drawn = tree(score_plot([*trials, record(plan("b", "m", 1)[0], "passed", 0.0)]) or "")

    line = float(by_class(drawn, "threshold")[0].get("x1", "nan"))
    assert all(float(dot.get("cx", "nan")) <= line for dot in by_class(drawn, "failed"))


def test_only_markup_goes_unescaped():
    assert element("a", "<b>", title="\"'<") == '<a title="&quot;&#x27;&lt;">&lt;b&gt;</a>'
    assert element("a", element("b", "&")) == "<a><b>&amp;</b></a>"
    assert element("p", "\x00\ud800\r\n") == "<p>\u2400[U+D800]\n</p>"
    assert clip("x" * 10, 10) == "x" * 10


def test_a_run_leaves_the_page_in_its_directory(suite: Suite):
    suite.run("--runs", "3", model="policy:sometimes_crash")

    page = tree((suite.run_dirs[-1] / "report.html").read_text(encoding="utf-8"))
    links = [link.get("href", "") for link in page.iter("a") if link.get("href", "").startswith("transcripts/")]
    assert len(links) == 3
    assert all((suite.run_dirs[-1] / link).is_file() for link in links)


def test_a_row_without_a_judged_trial_is_shown(mixed: Run):
    mixed.plan, mixed.records = mixed.plan[:4], {}

    page = tree(written(mixed))

    assert text_of(page.find(".//h1")).endswith("is incomplete")
    assert len(by_class(page, "lost")) == 1 + 4 + 4
