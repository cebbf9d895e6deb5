"""What GitHub Actions is told of a run: its summary on the page of the workflow, and an annotation per gate that fails.

Actions says by environment variables where and whether: ``GITHUB_STEP_SUMMARY`` names the file of the step's summary,
``GITHUB_ACTIONS`` is ``true``. Annotations are workflow commands, lines of the standard output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pytest_rltask.report.summary import Row, Summary
from pytest_rltask.report.table import gate_line
from pytest_rltask.report.visible import visible

__all__ = ["append_summary", "workflow_commands"]

MOST_BYTES = 1024 * 1024
"""What Actions takes as the summary of a step, of all programs in it together."""


def workflow_commands(summary: Summary, root: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a workflow command for each gate that fails, and for each that holds without proof; none elsewhere.

    Args:
        summary: of the run.
        root: of the tests' paths.
        environment: of the process.
    """
    if environment.get("GITHUB_ACTIONS") != "true" or summary.part:
        return
    workspace = Path(environment.get("GITHUB_WORKSPACE") or root)
    for row in summary.rows:
        if not row.verdict.holds:
            yield _command("error", row, root, workspace, gate_line(row))
        elif not row.verdict.proven:
            yield _command("warning", row, root, workspace, f"{gate_line(row)}; {_more(row)}")


def append_summary(file: Path, text: str, *, whole: Path) -> str:
    """Append the summary of a run to that of the step, and say what did not work; empty if all did.

    Args:
        file: of the step's summary.
        text: Markdown.
        whole: where all of it can be read, if there is not enough room.
    """
    try:
        standing = file.stat().st_size if file.exists() else 0
        room, data = MOST_BYTES - standing - 1, f"{text}\n".encode(errors="replace")
        is_cut = len(data) > room
        if is_cut:
            note = f"\n\n**Cut here: Actions takes 1 MiB a step. All of it is in {whole}.**\n".encode()
            data = _lines_within(data, room - len(note)) + note if len(note) <= room else b""
        if data:
            with file.open("ab") as end:
                end.write(b"\n" * bool(standing) + data)
    except OSError as error:
        return f"the summary could not be appended to GITHUB_STEP_SUMMARY: {error}"
    return f"the summary of the step was cut at 1 MiB; all of it is in {whole}" if is_cut else ""


def _lines_within(data: bytes, size: int) -> bytes:
    """Return as many whole lines as fit; never a part of a character or of a table's row."""
    return data[: data.rfind(b"\n", 0, max(size, 0)) + 1]


def _more(row: Row) -> str:
    more = row.verdict.more_runs
    return f"about {more} more runs would prove it" if more else "more runs may prove it"


def _command(kind: str, row: Row, root: Path, workspace: Path, message: str) -> str:
    """Return a workflow command; what would end it, or a property of it, is escaped as Actions undoes it."""
    path = root / row.test.partition("::")[0]
    file = path.relative_to(workspace) if path.is_relative_to(workspace) else path
    title = f"{row.name} by {row.model}: {row.verdict.word}"
    place = {"file": str(file), "line": str(row.line or 1), "title": title}
    told = ",".join(f"{name}={_property(value)}" for name, value in place.items())
    return f"::{kind} {told}::{_data(message)}"


def _data(text: str) -> str:
    # github.com/actions/toolkit, packages/core/src/command.ts: escapeData
    return _visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    # The same, escapeProperty
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _visible(text: str) -> str:
    """Return a text with what a terminal would obey made visible, and its ends of lines left."""
    return "\r".join(visible(part) for part in text.split("\r"))
