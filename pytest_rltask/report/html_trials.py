"""A trial in the HTML report: its square in the strip of a row, its entry in the list, and its conversation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from pytest_rltask.report.html_markup import Html, clip, element, join
from pytest_rltask.report.summary import Row
from pytest_rltask.report.table import cost, duration_text, tokens_text
from pytest_rltask.report.transcript import grades_before, lost_to_api
from pytest_rltask.run.load import Run
from pytest_rltask.run.messages import Part, said
from pytest_rltask.run.planned import PlannedTrial, split_trial_id, transcript_path
from pytest_rltask.run.record import Record

__all__ = ["GLYPHS", "LINE_CHARS", "TrialView", "conversations"]

GLYPHS = {"passed": "\u2713", "failed": "\u00d7", "cheated": "!", "errored": "E", "lost": "\u2013", "skipped": "\u00bb"}
"""A mark for each outcome, so that none is told by its colour alone."""
LOST = "lost: planned, but not played to its end"
TOO_LONG = "The conversations of this run are too long for one page; the transcript has this one."
INLINE_CHARS = 5_000_000
"""Conversations are part of the page unless together they are longer; the transcripts are linked in any case."""
BLOCK_CHARS, FACT_CHARS, LINE_CHARS = 50_000, 4_000, 240
"""Longest text of a conversation's block, of a fact, and of a line; of a longer one the middle is left out."""


@dataclass(frozen=True)
class TrialView:
    """A planned trial as the page shows it."""

    run: Run
    row: Row
    planned: PlannedTrial
    anchor: str
    """Where the page's links to the trial lead."""
    conversation: Html | None
    """None: too long for the page."""

    @property
    def record(self) -> Record | None:
        """The finished trial; None for a lost one."""
        return self.run.records.get(self.planned.trial_id)

    @property
    def outcome(self) -> str:
        """The record's outcome, or `lost` or `skipped`."""
        if self.record:
            return self.record.outcome
        return "skipped" if self.planned.trial_id in self.run.not_started else "lost"

    @property
    def name(self) -> str:
        """The run as the trial's id names it."""
        return f"run-{self.planned.run:02d}"

    def square(self) -> Html:
        """Return the trial's square: a link that says outcome, score and reason."""
        record = self.record
        told = [self.name, self.outcome, _score(record), _why(record)] if record else [self.name, self._why_no_record]
        return element(
            "a",
            GLYPHS[self.outcome],
            href=f"#{self.anchor}",
            class_=f"mark {self.outcome}",
            aria_label=clip(", ".join(part for part in told if part), LINE_CHARS),  # shown on hover and on focus
        )

    def entry(self) -> Html:
        """Return the trial's line, which unfolds to all there is to know of it."""
        record = self.record
        mark = element("span", GLYPHS[self.outcome], class_=f"mark {self.outcome}", aria_hidden="true")
        name = element("span", self.name, class_="name")
        if record is None:
            return element(
                "div", mark, name, element("span", self._why_no_record, class_="why"), class_="entry", id=self.anchor
            )
        paid = cost(dataclasses.replace(self.row, cost_usd=record.cost_usd, known_cost_usd=record.known_cost_usd))
        turns = f"{record.turns} turn{'s' * (record.turns != 1)}"
        numbers = [turns, *([paid] if paid != "-" else []), duration_text(record.seconds.get("total", 0.0))]
        head = [
            mark,
            name,
            element("span", self.outcome, class_="outcome"),
            element("span", _score(record), class_="score"),
            element("span", clip(_why(record), LINE_CHARS), class_="why"),
            element("span", *(element("span", number) for number in numbers), class_="numbers"),
        ]
        return element("details", element("summary", *head, class_="entry"), self._body(record), class_="trial")

    @property
    def _why_no_record(self) -> str:
        decision = self.run.not_started.get(self.planned.trial_id)
        return f"not started: {decision.reason}" if decision else LOST

    def _traceback(self, details: str) -> Html:
        """Return a fault's traceback; for all but the first of equal ones, where to find it."""
        own = split_trial_id(self.planned.trial_id)[1]
        group = next((group for group in self.row.fault_groups if own in group.trials), None)
        if group is None or group.trials[0] == own:
            return element("pre", clip(details, FACT_CHARS))
        return element("p", f"The traceback is that of {group.trials[0]}.", class_="muted")

    def _body(self, record: Record) -> Html:
        path = transcript_path(self.run.path, record.task, record.trial_id).relative_to(self.run.path).as_posix()
        terms = [*_facts(record), ("transcript", element("a", path, href=quote(path, errors="replace")))]
        parts = [element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in terms))]
        if record.fault and record.fault.details:
            parts.append(self._traceback(record.fault.details))
        if self.conversation is None:
            parts.append(element("p", TOO_LONG, class_="muted"))
        else:
            parts.append(element("div", self.conversation, class_="talk"))
        # The link's target lies within the folded part: a browser unfolds what hides its target.
        return element("div", *parts, class_="body", id=self.anchor)


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    for name, value in _all_facts(record):
        if value:
            yield name, clip(value, FACT_CHARS)


def _all_facts(record: Record) -> Iterator[tuple[str, str]]:
    why, fault = _why(record), record.fault
    yield "reason", why if len(why) > LINE_CHARS or "\n" in why else ""
    yield "trial", record.trial_id
    yield "seed", str(record.seed)
    yield "sandbox", record.sandbox
    yield "threshold", "" if record.threshold is None else f"{record.threshold:g}"
    yield "ended by", f"{record.limit} limit".replace("_", " ") if record.limit else record.stop or "fault"
    yield "graded before", "; ".join(grades_before(record))
    yield "fault of", fault.kind if fault else ""
    yield "request id", (fault and fault.request_id) or ""
    yield "tool calls", str(record.tool_calls)
    yield "tokens", tokens_text(record.usage.total) if record.usage.total else ""
    yield "seconds", ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in record.seconds.items())
    yield "lost to the API", "; ".join(lost_to_api(record))
    yield "started", record.started
    yield "metrics", ", ".join(f"{name} {_plain(value)}" for name, value in record.metrics.items())
    yield "tried", record.tried
    yield "episode", ", ".join(f"{name} {_plain(value)}" for name, value in record.info.items())


def _why(record: Record) -> str:
    return "" if record.outcome == "passed" else record.reason or record.label


def _score(record: Record) -> str:
    if record.score is None:
        return "" if record.outcome == "errored" else "no score"
    return f"score {record.score:g}"


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def conversations(run: Run) -> dict[str, Html] | None:
    """Return every conversation by trial id; None if together they are too long for a page."""
    shown: dict[str, Html] = {}
    length = 0
    for trial_id, record in run.records.items():
        parts = []
        for part in map(_said, said(record)):
            length += len(part)
            if length > INLINE_CHARS:
                return None
            parts.append(part)
        shown[trial_id] = join(parts)
    return shown


def _said(part: Part) -> Html:
    body = element("pre", clip(part.text.rstrip(), BLOCK_CHARS))
    if part.kind == "thinking":
        body = element("details", element("summary", f"{len(part.text):,} characters"), body)
    who = element("div", clip(part.title, LINE_CHARS), class_="who")
    return element("div", who, body, class_=f"said {part.kind}")
