"""A trial in the HTML report: its square in the strip of a row, its line in the table, and the facts of its record."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from pytest_rltask.report.html_markup import Html, clip, element
from pytest_rltask.report.summary import Row
from pytest_rltask.report.table import cost, duration_text, tokens_text
from pytest_rltask.report.transcript import grades_before, judges_text, lost_to_api
from pytest_rltask.report.visible import visible
from pytest_rltask.run.brief import Conversations
from pytest_rltask.run.images import sandbox_text
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial, transcript_path
from pytest_rltask.run.record import Record, outcome_word

__all__ = ["GLYPHS", "LINE_CHARS", "TRIAL_COLUMNS", "TrialView"]

GLYPHS = {
    "passed": "\u2713", "missed": "\u00d7", "cheated": "!", "errored": "E", "lost": "\u2013", "skipped": "\u00bb",
    "in flight": "\u2026", "waiting": "\u00b7",
}  # fmt: skip
"""A mark for each outcome, so that none is told by its colour alone."""
WITHOUT_RECORD = {
    "lost": "lost: planned, but not played to its end",
    "in flight": "in flight while this page was written",
    "waiting": "waiting for its turn while this page was written",
}
LINE_CHARS = 240
"""Longest text of a line; of a longer one the middle is left out, and the opened trial has it whole."""
TRIAL_COLUMNS = {
    "outcome": "outcome", "trial": "trial", "score": "score", "why": "why", "turns": "turns", "usd": "cost",
    "seconds": "time",
}  # fmt: skip
"""The columns of the table of trials: what they are sorted by, and what they are called."""


@dataclass(frozen=True)
class TrialView:
    """A planned trial as the page shows it."""

    run: Run
    row: Row
    planned: PlannedTrial
    group: int
    """Which section of the page it belongs to."""
    is_live: bool = False
    """Whether the run goes on, so that a trial without a record is not lost yet."""
    conversations: Conversations | None = None
    """Where those are that the run was loaded without; None: it has them."""

    @property
    def record(self) -> Record | None:
        """The finished trial; None for a lost one."""
        return self.run.records.get(self.planned.trial_id)

    @property
    def whole(self) -> Record | None:
        """The finished trial with its conversation, which is in memory only while somebody holds what this returns."""
        record = self.record
        return self.conversations.of(record) if self.conversations and record else record

    @property
    def outcome(self) -> str:
        """The record's outcome in the word that all reports use, or why there is none."""
        if self.record:
            return outcome_word(self.record.outcome)
        if self.planned.trial_id in self.run.not_started:
            return "skipped"
        if not self.is_live:
            return "lost"
        return "in flight" if self.planned.trial_id in self.run.starts else "waiting"

    @property
    def name(self) -> str:
        """The run as the trial's id names it."""
        return f"run-{self.planned.run:02d}"

    @property
    def label(self) -> str:
        """A few words that name why it did not pass, as the reasons are counted; empty if it did, or has not ended."""
        if self.record is None or self.record.outcome == "passed":
            return ""
        return self.record.label or {"failed": "assertion", "cheated": "tampering"}.get(self.record.outcome, "")

    @property
    def transcript(self) -> str:
        """Where the run directory has it as text."""
        path = transcript_path(self.run.path, self.planned.task, self.planned.trial_id)
        return path.relative_to(self.run.path).as_posix()

    def square(self) -> Html:
        """Return the trial's square: a link that says outcome, score and reason."""
        record = self.record
        told = [self.name, self.outcome, _score(record), self._why] if record else [self.name, self._why]
        return element(
            "a",
            GLYPHS[self.outcome],
            href=f"#trial={quote(visible(self.planned.trial_id), safe='')}",
            class_=f"mark {_class(self.outcome)}",
            aria_label=clip(", ".join(part for part in told if part), LINE_CHARS),  # shown on hover and on focus
        )

    def line(self, *, whose: str) -> Html:
        """Return the trial's line of the table.

        Args:
            whose: the task and model, where the run has several.
        """
        record, mark = self.record, f"mark {_class(self.outcome)}"
        name: Html | str = self.name
        if record or self.outcome == "in flight":  # the script leads the link to the conversation instead
            name = element("a", self.name, href=quote(self.transcript, errors="replace"))
        owner = [element("span", clip(whose, LINE_CHARS), class_="muted")] if whose else []
        cells = [
            element("td", element("span", GLYPHS[self.outcome], class_=mark, aria_hidden="true"), self.outcome),
            element("th", name, *owner, scope="row"),
            element("td", _score(record).removeprefix("score "), class_="number"),
            element("td", clip(self._why, LINE_CHARS), class_="why"),
            *(element("td", number, class_="number") for number in self._numbers(record)),
        ]
        return element(
            "tr",
            *cells,
            id=f"trial={self.planned.trial_id}",
            data_group=self.group,
            data_run=self.planned.run,
            data_outcome=self.outcome,
            data_label=self.label or None,
            **_keys(record),
        )

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what there is to know of the trial beside its conversation, each fact with its name."""
        record = self.record
        if record is None:
            yield "trial", self.planned.trial_id
            yield "seed", str(self.planned.seed)
        else:
            yield from ((name, value) for name, value in _facts(record) if value)

    def _numbers(self, record: Record | None) -> tuple[str, str, str]:
        if record is None:
            return "", "", ""
        paid = cost(dataclasses.replace(self.row, cost_usd=record.cost_usd, known_cost_usd=record.known_cost_usd))
        return str(record.turns), paid, duration_text(record.seconds.get("total", 0.0))

    @property
    def _why(self) -> str:
        if self.record:
            return _why(self.record)
        decision = self.run.not_started.get(self.planned.trial_id)
        return f"not started: {decision.reason}" if decision else WITHOUT_RECORD[self.outcome]


def _class(outcome: str) -> str:
    return outcome.replace(" ", "-")


def _keys(record: Record | None) -> dict[str, str]:
    """Return the numbers that the table is sorted by."""
    if record is None:
        return {}
    score = record.score if record.score is not None and math.isfinite(record.score) else None
    numbers = {"score": score, "turns": record.turns, "usd": record.cost_usd, "seconds": record.seconds.get("total")}
    return {f"data_{name}": f"{number:.9g}" for name, number in numbers.items() if number is not None}


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    why, fault = _why(record), record.fault
    yield "reason", why if len(why) > LINE_CHARS or "\n" in why else ""
    yield "trial", record.trial_id
    yield "seed", str(record.seed)
    yield "sandbox", sandbox_text(record.sandbox, record.images)
    yield "threshold", "" if record.threshold is None else f"{record.threshold:g}"
    yield "ended by", f"{record.limit} limit".replace("_", " ") if record.limit else record.stop or "fault"
    yield "graded before", "; ".join(grades_before(record))
    yield "fault of", fault.kind if fault else ""
    yield "request id", (fault and fault.request_id) or ""
    yield "tool calls", str(record.tool_calls)
    yield "tokens", tokens_text(record.usage.total) if record.usage.total else ""
    yield "judges", judges_text(record)
    yield "seconds", ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in record.seconds.items())
    yield "lost to the API", "; ".join(lost_to_api(record))
    yield "started", record.started
    yield "metrics", ", ".join(f"{name} {_plain(value)}" for name, value in record.metrics.items())
    yield "tried", record.tried
    yield "episode", ", ".join(f"{name} {_plain(value)}" for name, value in record.info.items())


def _why(record: Record) -> str:
    return "" if record.outcome == "passed" else record.reason or record.label


def _score(record: Record | None) -> str:
    if record is None:
        return ""
    if record.score is None:
        return "" if record.outcome == "errored" else "no score"
    return f"score {record.score:g}"


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
