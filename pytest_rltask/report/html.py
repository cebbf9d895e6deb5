"""The run as one self-contained HTML page, worst first: does the gate hold, what says so, and what to read next.

The page asks nothing of a network. Its Content-Security-Policy forbids that, and any script but the page's own, which
sorts, filters and searches the trials and shows their conversations (`html_*.js`); without it the tables stand, and the
trials' links lead to their transcripts. Numbers of a row are written by :mod:`~pytest_rltask.report.table`, markup by
:mod:`~pytest_rltask.report.html_markup` alone. The page is made piece by piece: its conversations, of whatever length,
are never all in memory a second time.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files

from pytest_rltask.clock import utc_now
from pytest_rltask.report.html_blocks import MOST_CHARS, blocks
from pytest_rltask.report.html_markup import Html, clip, code, element
from pytest_rltask.report.html_rows import overview, section
from pytest_rltask.report.html_trials import LINE_CHARS, TRIAL_COLUMNS, TrialView
from pytest_rltask.report.isolation import warning
from pytest_rltask.report.summary import Summary
from pytest_rltask.run.brief import Conversations
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial

__all__ = ["html", "pieces"]

GATE_RULES = {
    "point": "the observed pass rate must lie in the band, both ends included",
    "proven": "fails only where the pass rate is proven outside the band",
    "strict": "holds only where the pass rate is proven inside the band",
}
SWEEP_CHARS = 2000
SCRIPTS = ("html_data.js", "html_list.js", "html_reader.js", "html_beside.js", "html_live.js", "html_start.js")
"""The parts of the page's script, which share one scope."""
NUMBERS = ("score", "turns", "usd", "seconds")
"""Columns of the table of trials that are set to the right."""
NO_SCRIPT = (
    "Without JavaScript the tables can be read, but not sorted, filtered or searched, and no conversation is shown: "
    "each trial's link leads to its transcript, a text file beside this page."
)


def html(run: Run, summary: Summary) -> str:
    """Return a run as a page: headline, a table of task and model pairs, their trials, and how it was made."""
    return "".join(pieces(run, summary))


def pieces(
    run: Run, summary: Summary, *, refresh_s: float | None = None, most_chars: int = MOST_CHARS
) -> Iterator[str]:
    """Yield the page in pieces, in order.

    Args:
        run: as loaded; without conversations these are read one by one.
        summary: of it.
        refresh_s: while the run goes on, the seconds after which the page loads itself again; None: it has ended.
        most_chars: room for packed conversations.
    """
    trials = _trials(run, summary, is_live=refresh_s is not None)
    everyone = [trial for group in trials for trial in group]
    style = _resource("html_style.css")
    script = code("\n".join(['"use strict";', "(() => {", *map(_resource, SCRIPTS), "})();"]))
    headline = _headline(run, summary, is_live=refresh_s is not None)
    live = {} if refresh_s is None else {"data_refresh": f"{refresh_s:.0f}", "data_written": utc_now()}
    # Well-formed as XML as well: what stands between an opening and its closing tag comes in pieces.
    yield '<!DOCTYPE html>\n<html lang="en">'
    yield _head(headline, style, script)
    yield element("body", data_run=run.path.name, data_id=str(run.header.get("id", "")), **live).removesuffix("</body>")
    yield element("a", "Skip to the trials", href="#trials", class_="skip")
    yield _opening(run, summary, headline, is_live=refresh_s is not None)
    yield element("main", _list(summary, trials, is_live=refresh_s is not None), element("div", id="reader", hidden=""))
    yield _footer(run)
    # Before the conversations, so that the page can be used while the browser still reads these.
    yield element("script", script)
    yield from blocks(everyone, most_chars=most_chars)
    yield "</body></html>\n"


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _head(headline: str, style: str, script: str) -> Html:
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", headline),
        element("style", Html(style)),
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _trials(run: Run, summary: Summary, *, is_live: bool) -> list[list[TrialView]]:
    """Return the trials of each row; a group keeps its number while a run goes on and its rows change places."""
    groups: dict[tuple[str, str], list[PlannedTrial]] = {}
    for planned in run.plan:
        groups.setdefault((planned.test, planned.model), []).append(planned)
    number = {key: index for index, key in enumerate(groups)}
    conversations = Conversations(run.path)
    return [
        [
            TrialView(run, row, planned, number[row.test, row.model], is_live, conversations)
            for planned in groups[row.test, row.model]
        ]
        for row in summary.rows
    ]


def _headline(run: Run, summary: Summary, *, is_live: bool) -> str:
    if is_live:
        ended = sum(trial.trial_id in run.records or trial.trial_id in run.not_started for trial in run.plan)
        return f"The run goes on: {ended:,} of {len(run.plan):,} trials have ended"
    if summary.part:
        return f"Pass rates of shard {summary.part}, which are not judged"
    if summary.gate_word.startswith("undecided"):
        return f"The gate is {summary.gate_word}"
    failing = [row for row in summary.rows if not row.verdict.holds]
    if not failing:
        return "The gate holds" if summary.rows else "No trial was planned"
    worst = failing[0]
    who = clip(f"{worst.name} by {worst.model}", LINE_CHARS)
    if len(failing) == 1:
        return f"The gate fails: {who} is {worst.verdict.word}"
    return f"The gate fails for {len(failing)} of {len(summary.rows)}; worst: {who} is {worst.verdict.word}"


def _opening(run: Run, summary: Summary, headline: str, *, is_live: bool) -> Html:
    proven = sum(row.verdict.proven for row in summary.rows)
    rule = f"Gate {summary.gate}: {GATE_RULES[summary.gate]}."
    if len(summary.rows) > 1 and not is_live:
        rule += f" {proven} of {len(summary.rows)} verdicts {'is' if proven == 1 else 'are'} proven."
    created = str(run.header.get("created", "at an unknown time"))
    return element(
        "header",
        element("p", "pytest-rltask, run of ", element("time", _when(created), datetime=created), class_="muted"),
        element("h1", headline, class_=None if is_live or summary.part else "good" if summary.holds else "bad"),
        *([element("p", f"As of {_when(utc_now())}. ", id="live", class_="muted")] if is_live else []),
        element("p", rule),
        *([element("p", unsafe, class_="bad")] if (unsafe := warning(summary.sandboxes)) else []),
        element("p", "This command plays the run again:", class_="muted"),
        element("pre", str(run.header.get("command", "unknown")), class_="command"),
        element("noscript", element("p", NO_SCRIPT, class_="bad")),
    )


def _when(created: str) -> str:
    try:
        return f"{datetime.fromisoformat(created).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return created


def _list(summary: Summary, trials: list[list[TrialView]], *, is_live: bool) -> Html:
    sections = [section(row, own) for row, own in zip(summary.rows, trials, strict=True)]
    sweeps = [element("p", clip(str(sweep), SWEEP_CHARS), class_="sweep") for sweep in summary.sweeps if not is_live]
    return element("div", overview(summary, trials, is_live=is_live), *sweeps, *sections, _table(trials), id="list")


def _table(trials: list[list[TrialView]]) -> Html:
    """Return the table of all trials, which the script makes one to sort, filter and search."""
    heads = [
        element(
            "th",
            name,
            scope="col",
            data_key=key,
            class_="number" if key in NUMBERS else None,
        )
        for key, name in TRIAL_COLUMNS.items()
    ]
    classes = "trials of-several" if len(trials) > 1 else "trials"
    lines = [
        trial.line(whose=f"{trial.row.name} by {trial.row.model}" if len(trials) > 1 else "")
        for group in trials
        for trial in group
    ]
    return element(
        "section",
        element("h2", "Trials", id="trials", tabindex="-1"),
        element("div", id="controls", hidden=""),
        element("table", element("thead", element("tr", *heads)), element("tbody", *lines), class_=classes),
        aria_labelledby="trials",
    )


def _footer(run: Run) -> Html:
    packages = run.header.get("packages")
    versions: dict[str, object] = packages if isinstance(packages, dict) else {}
    facts = {"python": run.header.get("python"), "platform": run.header.get("platform")}
    facts |= {name: versions.get(name) for name in ("pytest-rltask", "pytest", "anthropic")}
    facts |= {"git commit": run.header.get("git_commit"), "run": run.header.get("id")}
    if run.damaged_lines:
        facts["half-written lines skipped"] = run.damaged_lines
    terms = [
        element("div", element("dt", name), element("dd", clip(str(value or "unknown"), LINE_CHARS)))
        for name, value in facts.items()
    ]
    return element("footer", element("dl", *terms))
