"""What the tests of the HTML report share: runs to show, and how to look at their pages."""

from __future__ import annotations

import base64
import json
import zlib
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from pytest_rltask.report.files import write_reports
from pytest_rltask.report.summary import summarise
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Fault, Outcome, Record, RequestLog, Usage
from pytest_rltask.verdict import Gate

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


def opened(page: str) -> list[dict[str, Any]]:
    """Return what the page's blocks hold of each trial, in order: facts, a fault's details, and what was said."""
    trials = []
    for script in tree(page).iter("script"):
        if script.get("class") == "block":
            block = json.loads(zlib.decompress(base64.b64decode(text_of(script))))
            texts = block["texts"]
            assert int(script.get("data-first", "")) == len(trials)
            assert int(script.get("data-count", "")) == len(block["trials"])
            for trial in block["trials"]:
                said = [(kind, texts[title], texts[text]) for kind, title, text, _ in trial["said"]]
                details = "" if trial["details"] is None else texts[trial["details"]]
                trials.append({"facts": dict(trial["facts"]), "details": details, "said": said})
    return trials


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
