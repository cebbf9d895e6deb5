"""The run as one self-contained HTML page, worst first: does the gate hold, what says so, and what to read next.

The page asks nothing of a network and runs no script; its own Content-Security-Policy forbids both. Numbers of a
row are written by :mod:`~pytest_rltask.report.table`, markup by :mod:`~pytest_rltask.report.html_markup` alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files

from pytest_rltask.report.html_charts import rate_bar, score_plot, share_bar
from pytest_rltask.report.html_markup import Html, clip, element
from pytest_rltask.report.html_trials import GLYPHS, LINE_CHARS, TrialView, conversations
from pytest_rltask.report.isolation import warning
from pytest_rltask.report.summary import Row, Summary
from pytest_rltask.report.table import COLUMNS, cells, graders
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.verdict import MOST_RUNS

__all__ = ["html"]

GATE_RULES = {
    "point": "the observed pass rate must lie in the band, both ends included",
    "proven": "fails only where the pass rate is proven outside the band",
    "strict": "holds only where the pass rate is proven inside the band",
}
UNFOLDED_UP_TO = 60
"""Trials in a run up to which their lists are shown unfolded."""


def html(run: Run, summary: Summary) -> str:
    """Return a run as a page: headline, a table of task and model pairs, their trials, and how it was made."""
    style = files(__package__).joinpath("html_style.css").read_text(encoding="utf-8")
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    headline = _headline(summary)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element(
            "meta",
            http_equiv="Content-Security-Policy",
            content=f"default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'",
        ),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", headline),
        element("style", Html(style)),
    )
    body = element(
        "body",
        _opening(run, summary, headline),
        element("main", _overview(summary), *_sections(run, summary)),
        _footer(run),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _headline(summary: Summary) -> str:
    failing = [row for row in summary.rows if not row.verdict.holds]
    if not failing:
        return "The gate holds" if summary.rows else "No trial was planned"
    worst = failing[0]
    who = clip(f"{worst.name} by {worst.model}", LINE_CHARS)
    if len(failing) == 1:
        return f"The gate fails: {who} is {worst.verdict.word}"
    return f"The gate fails for {len(failing)} of {len(summary.rows)}; worst: {who} is {worst.verdict.word}"


def _opening(run: Run, summary: Summary, headline: str) -> Html:
    proven = sum(row.verdict.proven for row in summary.rows)
    rule = f"Gate {summary.gate}: {GATE_RULES[summary.gate]}."
    if len(summary.rows) > 1:
        rule += f" {proven} of {len(summary.rows)} verdicts {'is' if proven == 1 else 'are'} proven."
    created = str(run.header.get("created", "at an unknown time"))
    return element(
        "header",
        element("p", "pytest-rltask, run of ", element("time", _when(created), datetime=created), class_="muted"),
        element("h1", headline, class_="good" if summary.holds else "bad"),
        element("p", rule),
        *([element("p", unsafe, class_="bad")] if (unsafe := warning(summary.sandboxes)) else []),
        element("p", "This command plays the run again:", class_="muted"),
        element("pre", str(run.header.get("command", "unknown")), class_="command"),
    )


def _when(created: str) -> str:
    try:
        return f"{datetime.fromisoformat(created).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return created


NUMBERS = ("rate", "interval", "passed", "trials", "score", "turns", "tokens", "cost", "time")
HOW_TO_READ = (
    "Shaded: the band. Line: the interval, the pass rates that the rule of proof does not rule out; at any one look it "
    "holds the true rate in at least 95 of 100 suites. Dot: observed rate. Score and turns are means; "
    "what cheats scored is left out."
)


def _overview(summary: Summary) -> Html:
    """Return the table: a line for each task and model."""
    axis = element("span", *(element("span", text) for text in ("0 %", "pass rate", "100 %")), class_="ends")
    heads = [element("th", text, scope="col", role="columnheader") for text in ("task and model", "verdict", axis)]
    heads += [element("th", text, scope="col", role="columnheader", class_="number") for text in NUMBERS]
    lines = [_line(row, index) for index, row in enumerate(summary.rows)]
    # A style sheet that lays a table out as cards takes its meaning from it; the roles give it back.
    return element(
        "table",
        element("caption", HOW_TO_READ),
        element("thead", element("tr", *heads, role="row"), role="rowgroup"),
        element("tbody", *lines, role="rowgroup"),
        class_="overview",
        role="table",
    )


def _line(row: Row, index: int) -> Html:
    cell = dict(zip(COLUMNS, cells(row), strict=True))
    name = element("a", clip(cell["task"], LINE_CHARS), href=f"#row-{index}")
    model = element("span", clip(row.model, LINE_CHARS), class_="muted")
    gate = "gate holds" if row.verdict.holds else "gate fails"
    facts = [gate, f"band {row.band}", *_proof(row)]
    parts = [*(f"{fact}; " for fact in facts[:-1]), facts[-1]]  # a span each: lines break between them
    proof = element("span", *(element("span", part) for part in parts), class_="proof muted")
    words = f"pass rate {cell['rate']}, rates not ruled out {cell['interval']}, band {row.band}"
    return element(
        "tr",
        element("th", name, model, scope="row", role="rowheader"),
        element("td", element("strong", cell["verdict"]), proof, role="cell", class_="verdict"),
        element("td", rate_bar(row, words), role="cell", class_="drawn"),
        *(element("td", cell[key], role="cell", class_="number", data_label=key) for key in NUMBERS),
        role="row",
        class_="good" if row.verdict.holds else "bad",
    )


def _proof(row: Row) -> Iterator[str]:
    """Yield what ended the trials, and what proof of the verdict would take."""
    verdict = row.verdict
    if row.not_needed and row.proof:
        yield f"stopped early: proven after {row.proof.judged} of {row.planned} runs"
    elif row.not_needed:
        yield "stopped early on a proof that assertions overruled"
    if row.not_afforded:
        yield f"the money (--max-cost) ended it: {row.not_afforded} of {row.planned} planned trials not started"
    yield from graders(row)
    prove = "decide" if verdict.word == "undecided" else "prove it"
    if verdict.word == "incomplete":
        if row.planned == row.not_afforded:
            yield "no trial was started"
        elif row.untolerated:
            yield f"{row.untolerated} of {row.planned} trials have no grade, which may depend on what the model did"
        else:
            yield "too many trials have no grade"
        if row.given_up:
            yield f"given up after equal faults: {row.given_up} of {row.planned} planned trials not started"
    elif verdict.more_runs is not None:
        yield f"about {verdict.more_runs} more run{'s' * (verdict.more_runs != 1)} would {prove}"
    elif not verdict.proven:
        yield f"at this rate, {MOST_RUNS:,} runs would not {prove}"


def _sections(run: Run, summary: Summary) -> Iterator[Html]:
    """Yield a section for each line of the table."""
    groups: dict[tuple[str, str], list[PlannedTrial]] = {}
    for planned in run.plan:
        groups.setdefault((planned.test, planned.model), []).append(planned)
    talks = conversations(run)
    for index, row in enumerate(summary.rows):
        trials = [
            TrialView(run, row, planned, f"t-{index}-{number}", None if talks is None else talks.get(planned.trial_id))
            for number, planned in enumerate(groups[row.test, row.model])
        ]
        yield _section(row, trials, f"row-{index}", unfolded=len(run.plan) <= UNFOLDED_UP_TO)


def _section(row: Row, trials: list[TrialView], anchor: str, *, unfolded: bool) -> Html:
    count = Counter(trial.outcome for trial in trials)
    plot = score_plot(trial.record for trial in trials if trial.record and trial.record.outcome != "errored")
    figures = [
        _counted("Why trials missed", row.reasons, "missed"),
        _counted("How trials cheated", row.cheats, "cheated"),
        _counted("Why trials errored", row.faults, "errored"),
        plot and element("figure", element("figcaption", "Raw scores", _key(count)), plot),
    ]
    squares = [element("li", trial.square()) for trial in trials]
    by = element("span", " by ", class_="muted")
    return element(
        "section",
        element("h2", clip(row.name, LINE_CHARS), by, clip(row.model, LINE_CHARS), id=anchor),
        element("ul", *_legend(count), class_="legend"),
        element("ol", *squares, class_="strip", aria_label="trials, in order"),
        element("div", *(figure for figure in figures if figure), class_="figures"),
        element(
            "details",
            element("summary", f"{len(trials)} trials, one by one", class_="fold"),
            *(trial.entry() for trial in trials),
            open="" if unfolded else None,
            class_="trials",
        ),
        aria_labelledby=anchor,
    )


def _legend(count: Counter[str]) -> Iterator[Html]:
    for outcome, glyph in GLYPHS.items():
        if count[outcome]:
            mark = element("span", glyph, class_=f"mark {outcome}", aria_hidden="true")
            yield element("li", mark, f" {count[outcome]} {'not started' if outcome == 'skipped' else outcome}")


def _counted(title: str, reasons: dict[str, int], kind: str) -> Html | None:
    if not reasons:
        return None
    total = sum(reasons.values())
    lines = [
        element(
            "tr",
            element("td", f"{count}", class_="number"),
            element("td", share_bar(count, total)),
            element("td", clip(reason, LINE_CHARS)),
        )
        for reason, count in reasons.items()
    ]
    table = element("table", element("tbody", *lines), class_=f"counted {kind}")
    return element("figure", element("figcaption", title), table)


def _key(count: Counter[str]) -> Html:
    shapes = {"passed": "\u25cf passed", "failed": "\u25cb failed", "cheated": "\u25c7 cheated"}
    return element("span", ", ".join(shape for outcome, shape in shapes.items() if count[outcome]), class_="muted")


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
