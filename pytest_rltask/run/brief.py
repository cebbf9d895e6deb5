"""Reads a record's line without its conversation, which is most of it: what a table needs takes a tenth of the time.

The conversation is cut out of the line as text, between two keys that :class:`~pytest_rltask.run.record.Record` writes
around it. Neither key can begin within a string, where its quote would have a backslash before it. As a key of
something nested it can: then the brackets do not match, or keys of the record are missing, and the whole line is read.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from pytest_rltask.run.record import Record

__all__ = ["with_conversation", "without_conversation"]

_BEFORE, _BEHIND = b', "tools": [', b', "requests": ['
_INSTEAD = b', "tools": [], "messages": [], "asked": []'
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


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except (ValueError, RecursionError):
        return {}  # half a line of a process that died
