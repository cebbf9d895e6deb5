"""The rows of the HTML report, one for each task and model: a line of the table, and a section with what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_rltask.report.html_charts import rate_bar, score_plot, share_bar
from pytest_rltask.report.html_markup import Html, clip, element
from pytest_rltask.report.html_trials import GLYPHS, LINE_CHARS, TrialView
from pytest_rltask.report.summary import Row, Summary
from pytest_rltask.report.table import COLUMNS, cells, graders, judge_costs
from pytest_rltask.verdict import MOST_RUNS

__all__ = ["overview", "section"]

MOST_SQUARES = 200
"""Trials of a task and model up to which each has a square: more are looked at in the table, which can be sorted."""
NUMBERS = ("rate", "interval", "passed", "trials", "score", "turns", "tokens", "cost", "time")
HOW_TO_READ = (
    "Shaded: the band. Line: the interval, the pass rates that the rule of proof does not rule out; at any one look it "
    "holds the true rate in at least 95 of 100 suites. Dot: observed rate. Score and turns are means; "
    "what cheats scored is left out."
)


def overview(summary: Summary, trials: Sequence[Sequence[TrialView]], *, is_live: bool) -> Html:
    """Return the table: a line for each task and model.

    Args:
        summary: of the run.
        trials: of each row.
        is_live: whether the run goes on, so that no verdict is the last word.
    """
    axis = element("span", *(element("span", text) for text in ("0 %", "pass rate", "100 %")), class_="ends")
    heads = [
        element("th", text, scope="col", role="columnheader", data_key=key)
        for text, key in (("task and model", "name"), ("verdict", None), (axis, None))
    ]
    heads += [
        element("th", text, scope="col", role="columnheader", class_="number", data_key=key)
        for text, key in ((text, None if text == "interval" else text) for text in NUMBERS)
    ]
    lines = [_line(row, own, is_live=is_live) for row, own in zip(summary.rows, trials, strict=True)]
    # A style sheet that lays a table out as cards takes its meaning from it; the roles give it back.
    return element(
        "table",
        element("caption", HOW_TO_READ),
        element("thead", element("tr", *heads, role="row"), role="rowgroup"),
        element("tbody", *lines, role="rowgroup"),
        class_="overview",
        role="table",
    )


def _line(row: Row, trials: Sequence[TrialView], *, is_live: bool) -> Html:
    cell = dict(zip(COLUMNS, cells(row), strict=True))
    name = element("a", clip(cell["task"], LINE_CHARS), href=f"#{_anchor(trials)}")
    model = element("span", clip(row.model, LINE_CHARS), class_="muted")
    is_last_word = not (is_live and row.lost)
    verdict = cell["verdict"] if is_last_word else "not over"
    ended = "a process died" if row.died else "interrupted"
    gate = "gate holds" if row.verdict.holds else ended if row.lost else "gate fails"
    facts = [gate, f"band {row.band}", *_proof(row)] if is_last_word else [f"band {row.band}"]
    parts = [*(f"{fact}; " for fact in facts[:-1]), facts[-1]]  # a span each: lines break between them
    proof = element("span", *(element("span", part) for part in parts), class_="proof muted")
    words = f"pass rate {cell['rate']}, rates not ruled out {cell['interval']}, band {row.band}"
    good = "good" if row.verdict.holds else "bad"
    return element(
        "tr",
        element("th", name, model, scope="row", role="rowheader"),
        element("td", element("strong", verdict), proof, role="cell", class_="verdict"),
        element("td", rate_bar(row, words), role="cell", class_="drawn"),
        *(element("td", cell[key], role="cell", class_="number", data_label=key) for key in NUMBERS),
        role="row",
        class_=good if is_last_word else "open",
        **_keys(row),
    )


def _keys(row: Row) -> dict[str, str | int | float | None]:
    """Return the numbers that the table is sorted by."""
    return {
        "data_rate": row.verdict.rate,
        "data_passed": row.passed,
        "data_trials": row.judged,
        "data_score": row.mean_score,
        "data_turns": row.turns,
        "data_tokens": row.usage.total,
        "data_cost": row.known_cost_usd,
        "data_time": row.seconds,
    }


def _anchor(trials: Sequence[TrialView]) -> str:
    return f"row-{trials[0].group}"


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
    yield from judge_costs(row)
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


def section(row: Row, trials: Sequence[TrialView]) -> Html:
    """Return what came of a task and model: outcomes, reasons, scores."""
    count = Counter(trial.outcome for trial in trials)
    plot = score_plot(trial.record for trial in trials if trial.record and trial.record.outcome != "errored")
    figures = [
        _counted("Why trials missed", row.reasons, "missed"),
        _counted("How trials cheated", row.cheats, "cheated"),
        _counted("Why trials errored", row.faults, "errored"),
        plot and element("figure", element("figcaption", "Raw scores", _key(count)), plot),
    ]
    squares = [element("li", trial.square()) for trial in trials] if len(trials) <= MOST_SQUARES else []
    by = element("span", " by ", class_="muted")
    return element(
        "section",
        element("h2", clip(row.name, LINE_CHARS), by, clip(row.model, LINE_CHARS), id=_anchor(trials)),
        element("ul", *_legend(count), class_="legend"),
        *([element("ol", *squares, class_="strip", aria_label="trials, in order")] if squares else []),
        element("div", *(figure for figure in figures if figure), class_="figures"),
        aria_labelledby=_anchor(trials),
        class_="row",
        data_group=trials[0].group,
        data_test=row.test,
    )


def _legend(count: Counter[str]) -> Iterator[Html]:
    for outcome, glyph in GLYPHS.items():
        if count[outcome]:
            mark = element("span", glyph, class_=f"mark {outcome.replace(' ', '-')}", aria_hidden="true")
            yield element("li", mark, f" {count[outcome]:,} {'not started' if outcome == 'skipped' else outcome}")


def _counted(title: str, reasons: dict[str, int], kind: str) -> Html | None:
    if not reasons:
        return None
    total = sum(reasons.values())
    lines = [
        element(
            "tr",
            element("td", f"{count:,}", class_="number"),
            element("td", share_bar(count, total)),
            element("td", clip(reason, LINE_CHARS), data_label=None if kind == "errored" else reason),
        )
        for reason, count in reasons.items()
    ]
    table = element("table", element("tbody", *lines), class_=f"counted {kind}")
    return element("figure", element("figcaption", title), table)


def _key(count: Counter[str]) -> Html:
    shapes = {"passed": "\u25cf passed", "missed": "\u25cb missed", "cheated": "\u25c7 cheated"}
    return element("span", ", ".join(shape for outcome, shape in shapes.items() if count[outcome]), class_="muted")
