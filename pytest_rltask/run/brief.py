"""Reads a record's line without its conversation, which is most of it: what a table needs takes a tenth of the time.

The conversation is cut out of the line as text, between two keys that :class:`~pytest_rltask.run.record.Record` writes
around it. Neither key can begin within a string, where its quote would have a backslash before it. As a key of
something nested it can: then the brackets do not match, or keys of the record are missing, and the whole line is read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_rltask.run.record import Record

__all__ = ["Conversations", "with_conversation", "without_conversation"]

_BEFORE, _BEHIND = b', "tools": [', b', "requests": ['
_INSTEAD = b', "tools": [], "messages": [], "asked": []'
_NAMED = re.compile(rb'\{"type": "trial", (?:"schema": \d+, )?"trial_id": ("(?:[^"\\\\]|\\\\.)*")')
_KEPT = ("trial_id", "outcome", "tools", "messages", "requests", "turns", "tool_calls", "seconds", "started")


def without_conversation(line: bytes) -> Any:
    """Return what a line says, the messages and tools of a record left out.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    start, end = line.find(_BEFORE), line.rfind(_BEHIND)
    if 0 < start < end and line.startswith(b'{"type": "trial"'):
        try:
            entry = json.loads(line[:start] + _INSTEAD + line[end:])
        except ValueError:
            entry = {}
        if all(name in entry for name in _KEPT):
            return entry
    entry = json.loads(line)
    return (
        entry | {"tools": [], "messages": [], "asked": []}
        if isinstance(entry, dict) and entry.get("type") == "trial"
        else entry
    )


def with_conversation(run_dir: Path, record: Record) -> Record:
    """Return a record that was read without its conversation together with it.

    Args:
        run_dir: the run directory.
        record: as it counts now, whatever was said of it since it was written.
    """
    named = b'"trial_id": ' + json.dumps(record.trial_id).encode()
    for file in sorted(run_dir.glob("trials.*.jsonl")):
        with file.open("rb") as lines:
            for line in lines:
                if line.startswith(b'{"type": "trial"') and named in line[: len(named) + 100]:
                    entry = _parsed(line)
                    if entry.get("trial_id") == record.trial_id and entry.get("started") == record.started:
                        whole = Record.from_json(entry)
                        return dataclasses.replace(
                            record, messages=whole.messages, tools=whole.tools, asked=whole.asked
                        )
    return record


class Conversations:
    """The conversations of a run directory, each read when it is asked for: together they may be larger than memory.

    Args:
        run_dir: the run directory.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir

    @cached_property
    def _lines(self) -> dict[str, list[tuple[Path, int]]]:
        """Where the records of each trial stand."""
        found: dict[str, list[tuple[Path, int]]] = {}
        for file in sorted(self._run_dir.glob("trials.*.jsonl")):
            at = 0
            with file.open("rb") as lines:
                for line in lines:
                    if named := _NAMED.match(line):
                        with contextlib.suppress(ValueError):
                            found.setdefault(json.loads(named[1]), []).append((file, at))
                    at += len(line)
        return found

    def of(self, record: Record) -> Record:
        """Return a record that was read without its conversation together with it; one that has it, as it is."""
        if record.messages or record.tools or record.asked:
            return record
        for file, at in self._lines.get(record.trial_id, ()):
            with file.open("rb") as lines:
                lines.seek(at)
                entry = _parsed(lines.readline())
            if entry.get("trial_id") == record.trial_id and entry.get("started") == record.started:
                whole = Record.from_json(entry)
                return dataclasses.replace(record, messages=whole.messages, tools=whole.tools, asked=whole.asked)
        return record


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except (ValueError, RecursionError):
        return {}  # half a line of a process that died
