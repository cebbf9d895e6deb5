"""What differs between two runs: how they were started, on what they ran, and what played and graded each task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_rltask.analysis.rows import Row, command_words
from pytest_rltask.graders.fingerprint import Grader
from pytest_rltask.run.images import sandbox_text
from pytest_rltask.run.load import Run, load_grader
from pytest_rltask.run.record import Record

__all__ = ["Change", "grader_changes", "row_changes", "run_changes"]

_OF_NO_RUN = ("--log-dir", "--rltask-log-dir", "--resume", "--rltask-resume", "--changed", "--rltask-changed")
"""Options that say where a run is, or how it was gone on with."""
_MOST = 12


@dataclass(frozen=True)
class Change:
    """One thing that differs between A and B."""

    what: str
    was: str
    """In A; empty if it is not there."""
    now: str

    def __str__(self) -> str:
        if not self.was or not self.now:
            return f"{self.what} {self.was or self.now}, only in {'A' if self.was else 'B'}"
        return f"{self.what} {self.was} -> {self.now}"


def run_changes(a: Run, b: Run) -> list[Change]:
    """Return what the headers of two runs tell: options, commit, packages, Python, machine."""
    found = list(_options(command_words(a), command_words(b)))
    for key, what in (("git_commit", "commit"), ("python", "Python"), ("platform", "platform")):
        found += _change(what, a.header.get(key) or "none", b.header.get(key) or "none")
    found += _changes("package ", _table(a.header.get("packages")), _table(b.header.get("packages")))
    return found


def row_changes(a: Row, b: Row) -> list[Change]:
    """Return what differs between the trials of a task in two runs: model, limits, task, tools, sandbox, band.

    What grades them is told by :func:`grader_changes`, and prompts by the pairs.
    """
    found = list(_change("model", a.model, b.model))
    found += _change("answered by", _answering(a.judged), _answering(b.judged))
    found += _change("band", a.band, b.band)
    found += _changes("limit ", a.planned[0].limits, b.planned[0].limits)
    found += _change("tools", _tools(a.judged), _tools(b.judged))
    found += _change("system prompt", _systems(a.judged), _systems(b.judged))
    found += _change("sandbox", *(_all(sandbox_text(r.sandbox, r.images) for r in row.judged) for row in (a, b)))
    return found


def grader_changes(run_a: Run, a: Row, run_b: Run, b: Row) -> list[str]:
    """Say how what graded the trials of B differs from what graded those of A, a phrase each; nothing if in nothing."""
    was, now = _graded_by(a.judged), _graded_by(b.judged)
    if was == now or not was or not now:
        return []
    old, new = (_grader(run, found[0]) for run, found in ((run_a, was), (run_b, now)))
    if old is None or new is None or len(was) > 1 or len(now) > 1:
        return [f"{', '.join(was)} -> {', '.join(now)}"]
    phrases = list(old.differences(new))
    return phrases[:_MOST] + [f"and {len(phrases) - _MOST} more"] * (len(phrases) > _MOST)


def _graded_by(records: Sequence[Record]) -> list[str]:
    return sorted({record.graded_by for record in records if record.graded_by})


def _grader(run: Run, digest: str) -> Grader | None:
    data = load_grader(run.path, digest)
    try:
        return Grader.from_json(data) if data else None
    except TypeError:
        return None


def _answering(records: Iterable[Record]) -> str:
    """Name the models that answered, as they name themselves: an alias may have moved on."""
    return ", ".join(sorted({request.model for record in records for request in record.requests if request.model}))


def _tools(records: Iterable[Record]) -> str:
    """Name the tools, with a digest that tells whether they are described alike."""
    known = {record.tools_digest: record for record in records}
    return "; ".join(f"{_names(known[digest].tools)} ({digest[:8]})" for digest in sorted(known))


def _names(tools: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(str(tool.get("name")) for tool in tools) or "none"


def _systems(records: Iterable[Record]) -> str:
    texts = {record.system for record in records}
    return f"of {len(max(texts, key=len))} characters" if any(texts) else "none"


def _all(values: Iterable[str]) -> str:
    return ", ".join(sorted({value or "none" for value in values}))


def _options(a: Sequence[str], b: Sequence[str]) -> Iterator[Change]:
    was, now = _by_flag(a), _by_flag(b)
    for flag in dict.fromkeys([*was, *now]):
        if flag not in _OF_NO_RUN and was.get(flag) != now.get(flag):
            yield Change(f"option {flag}" if flag else "arguments", was.get(flag, ""), now.get(flag, ""))


def _by_flag(words: Sequence[str]) -> dict[str, str]:
    """Return the values of each option; an option without any has a dash."""
    found: dict[str, list[str]] = {}
    flag = ""
    for word in words[1:]:
        if word.startswith("-"):
            flag, separator, value = word.partition("=")
            found.setdefault(flag, [])
            if separator:
                found[flag].append(value)
                flag = ""
        else:
            found.setdefault(flag, []).append(word)
            flag = ""
    return {flag: " ".join(values) or "-" for flag, values in found.items()}


def _change(what: str, was: object, now: object) -> Iterator[Change]:
    if str(was) != str(now):
        yield Change(what, str(was), str(now))


def _changes(what: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys([*was, *now]):
        old, new = str(was.get(name, "")), str(now.get(name, ""))
        if old != new:
            yield Change(f"{what}{name}", old, new)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
