"""A conversation as text a person can read: who said what, which tool was called with what, what came back.

It can be had piece by piece while its trial goes on: `beginning`, then what was `said_between`, then `ending`; `render`
is all of it. A line that begins with `---` is a title: no text of a model or tool passes for one, or moves a cursor.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from pytest_rltask.report.visible import visible
from pytest_rltask.run.images import sandbox_text
from pytest_rltask.run.messages import asked_in, said_in
from pytest_rltask.run.record import Record, cost_text, outcome_word

__all__ = [
    "RULE",
    "beginning",
    "ending",
    "grades_before",
    "judges_text",
    "lost_to_api",
    "render",
    "said_between",
    "shown",
]

RULE = "--- "
"""What a title begins with, and no other line."""
_LIKE_A_TITLE = re.compile(f"^(?={RULE})", re.MULTILINE)
_TITLE_CHARS = 200


def render(record: Record) -> str:
    """Return a finished trial as readable text."""
    return beginning(record) + said_between(record, 0, len(record.messages)) + ending(record)


def beginning(record: Record) -> str:
    """Return what is known of a trial before anything is said, with the system prompt."""
    head = shown("\n".join([*_head(record), ""]))
    return head + _section("system", record.system) if record.system else head


def said_between(record: Record, first: int, end: int) -> str:
    """Return some messages of a trial, which may go on.

    Args:
        record: of the trial.
        first: place of the first message.
        end: place behind the last.
    """
    parts = said_in(record.messages[:end], first, lambda place: asked_in(record, place))
    return "".join(_section(part.title, part.text) for part in parts)


def ending(record: Record) -> str:
    """Return how a trial ended: what judges were asked behind the last message, then the outcome."""
    asked = "".join(_section(part.title, part.text) for part in asked_in(record, len(record.messages)))
    return asked + _section(outcome_word(record.outcome), record.reason) + shown("\n".join([*_foot(record), ""]))


def shown(text: str) -> str:
    """Return a text of whatever origin as a transcript shows it."""
    seen = visible(text)
    return _LIKE_A_TITLE.sub(" ", seen) if RULE in seen else seen


def _section(title: str, text: str) -> str:
    title = visible(" ".join(title.split()))[:_TITLE_CHARS]  # a model may call a tool of any name
    body = shown((textwrap.dedent(text) if text[:1].isspace() else text).rstrip())
    return f"\n{RULE}{title} {'-' * max(3, 74 - len(title))}\n" + (f"{body}\n" if body else "")


def _head(record: Record) -> Iterator[str]:
    yield f"{record.trial_id}"
    yield f"task {record.task} · model {record.model} · run {record.run} · seed {record.seed} · {record.started}"
    for name, value in record.info.items():
        yield f"  {name}: {value}"


def _foot(record: Record) -> Iterator[str]:
    score = "none" if record.score is None else f"{record.score:g}"
    threshold = "" if record.threshold is None else f" (threshold {record.threshold:g})"
    yield f"score: {score}{threshold}"
    for name, value in record.metrics.items():
        yield f"  {name}: {value}"
    for told in grades_before(record):
        yield f"graded before: {told}"
    if record.sandbox:
        yield f"sandbox: {sandbox_text(record.sandbox, record.images)}"
    for artifact in record.artifacts:
        yield f"kept: {artifact.path} ({artifact.bytes:,} bytes)"
    for name, why in record.artifacts_left_out.items():
        yield f"not kept: {name}: {why}"
    if record.tried:
        yield f"tried: {record.tried}"
    yield f"ended by: {record.limit or record.stop or 'fault'}"
    yield f"turns: {record.turns} · tool calls: {record.tool_calls} · " + _paid(record)
    yield "seconds: " + ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in record.seconds.items())
    if lost := list(lost_to_api(record)):
        yield "lost to the API: " + "\n  ".join(lost)
    if record.fault and record.fault.request_id:
        yield f"request id: {record.fault.request_id}"
    if record.fault and record.fault.details:
        yield record.fault.details


def grades_before(record: Record) -> Iterator[str]:
    """Yield each grade that a trial had before, when another took its place, by what, and why."""
    ways = {
        "threshold": "graded anew from its score",
        "artifacts": "graded anew from what was kept",
        "replay": "graded anew by a replay",
        "reuse": "kept as it was",
    }
    for step in record.history:
        score, threshold = step.before.get("score"), step.before.get("threshold")
        told = f"{outcome_word(str(step.before.get('outcome')))}, score {'none' if score is None else f'{score:g}'}"
        told += "" if threshold is None else f" of {threshold:g}"
        by = step.before.get("grader") or "an earlier version"
        how = ways.get(step.how, step.how)
        yield f"{told} (by {by}); {how} at {step.at[:19]} by {step.grader}, since: {step.changes}"


def lost_to_api(record: Record) -> Iterator[str]:
    """Yield the time that went into faults and limits of the API, and each fault with its turn."""
    if record.model == "human":
        return  # who thinks it over
    is_faulty = any(request.faults for request in record.requests)
    if (seconds := sum(request.lost_s for request in record.requests)) >= (0.1 if is_faulty else 1.0):
        yield f"{seconds:.1f} s" + ("" if is_faulty else " of waiting for a place among its limits")
    for turn, request in enumerate(record.requests, start=1):
        for fault in request.faults:
            yield f"turn {turn}: {fault}"
    for request in record.judge_requests:
        for fault in request.faults:
            yield f"judge {request.judge}: {fault}"


def _paid(record: Record) -> str:
    cost = f"${record.cost_usd:.4f}" if record.cost_usd is not None else cost_text(None, record.known_cost_usd)
    judges = judges_text(record)
    return f"tokens: {record.usage.total:,} · cost: {cost}" + (f", of it judges: {judges}" if judges else "")


def judges_text(record: Record) -> str:
    """Return what a trial's judges cost, and their tokens; empty if none was paid."""
    if not record.judge_requests:
        return ""
    known = sum(request.cost_usd for request in record.judge_requests if request.cost_usd is not None)
    cost = f"${record.judge_cost_usd:.4f}" if record.judge_cost_usd is not None else cost_text(None, known)
    return f"{cost} ({len(record.judge_requests)} requests, {record.judge_usage.total:,} tokens)"
