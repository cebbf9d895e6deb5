"""The report files of a run directory: ``report.json`` for programs, ``summary.md`` and ``report.html`` for people."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_rltask.proof import RULE
from pytest_rltask.report.html import pieces
from pytest_rltask.report.isolation import warning
from pytest_rltask.report.summary import Summary, summarise
from pytest_rltask.report.table import COLUMNS, cells, filled, gate_line
from pytest_rltask.report.visible import visible
from pytest_rltask.run.files import write_text
from pytest_rltask.run.load import Run, load_run
from pytest_rltask.run.planned import transcript_path
from pytest_rltask.run.record import SCHEMA_VERSION
from pytest_rltask.verdict import Gate

__all__ = ["markdown", "report_on", "write_page", "write_reports"]


def report_on(run_dir: Path | None, gate: Gate, *, stop_early: bool) -> Summary | None:
    """Summarise a run directory and write its report files.

    Returns:
        The summary; None if no trial was planned.
    """
    if run_dir is None or not (run_dir / "plan.json").exists():
        return None
    run = load_run(run_dir, conversations=False)
    if not run.plan:
        return None
    summary = summarise(run, gate, stop_early=stop_early)
    try:
        write_reports(run, summary)
    except OSError as error:
        _warn(f"the report files could not be written: {error}")
    if step := os.environ.get("GITHUB_STEP_SUMMARY"):
        from pytest_rltask.report.github import append_summary

        if problem := append_summary(Path(step), markdown(run, summary), whole=run.path / "summary.md"):
            _warn(problem)
    return summary


def _warn(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # -W error would raise here, and cost the gate and the summary
        warnings.warn(text, stacklevel=1)


def write_reports(run: Run, summary: Summary) -> None:
    """Write the report files; what stood there before is replaced."""
    data = {
        "schema": SCHEMA_VERSION,
        "rule_of_proof": RULE,
        "run": run.header,
        "gate": summary.gate,
        "gate_holds": summary.holds,
        "sandboxes": summary.sandboxes,
        "rows": [row.to_json() for row in summary.rows],
        "sweeps": [sweep.to_json() for sweep in summary.sweeps],
    }
    write_text(run.path / "report.json", json.dumps(data, indent=1, default=str) + "\n")
    write_text(run.path / "summary.md", markdown(run, summary))
    write_page(run, pieces(run, summary))


def write_page(run: Run, page: Iterable[str]) -> None:
    """Write ``report.html`` piece by piece, and put it in its place in one step: nobody reads half a page."""
    draft = run.path / ".report.html.new"
    draft.unlink(missing_ok=True)  # one of a process that died, or a link
    try:
        with draft.open("x", encoding="utf-8", errors="replace") as file:
            file.writelines(page)
        draft.replace(run.path / "report.html")
    finally:
        draft.unlink(missing_ok=True)


def markdown(run: Run, summary: Summary) -> str:
    """Return the summary as Markdown."""
    return "\n".join([*_lines(run, summary), ""])


def _lines(run: Run, summary: Summary) -> Iterator[str]:
    if summary.part:
        yield f"# Pass rates of shard {summary.part}, which are not judged"
    else:
        yield f"# Pass rates, gate `{summary.gate}`: {summary.gate_word}"
    yield ""
    yield f"`{run.header['command']}`, {run.header['created']}"
    yield ""
    if unsafe := warning(summary.sandboxes):
        yield f"**{unsafe}**"
        yield ""
    names, *lines = filled([COLUMNS, *(cells(row) for row in summary.rows)])
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for line in lines:
        yield f"| {' | '.join(map(_escaped, line))} |"
    for sweep in summary.sweeps:
        yield ""
        yield _escaped(str(sweep))
    for row in summary.rows:
        yield ""
        yield f"- {_escaped(gate_line(row))}"
        for what, reasons in (("missed", row.reasons), ("cheated", row.cheats)):
            for reason, count in reasons.items():
                yield f"  - {what}: {count} x {_escaped(reason)}"
        for group in row.fault_groups:
            yield f"  - errored: {_escaped(str(group))}: {_escaped(', '.join(group.trials))}"
        if row.example:
            path = transcript_path(run.path, row.task, row.example).relative_to(run.path)
            yield f"  - a trial to read: `{path}`"


def _escaped(text: str) -> str:
    """Return a text as one line that Markdown takes for neither a table's edge nor a link, an image or markup."""
    line = visible(" ".join(text.split())).replace("<", "&lt;")
    return "".join(f"\\{char}" if char in "\\|[`" else char for char in line)
