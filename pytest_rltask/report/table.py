"""How numbers of a summary are written, for every report alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pytest_rltask.report.summary import Row
from pytest_rltask.run.record import cost_text, dollars
from pytest_rltask.task import Band
from pytest_rltask.verdict import CAUSES

__all__ = [
    "BAR_WIDTH",
    "COLUMNS",
    "aligned",
    "bar",
    "cells",
    "cost",
    "duration_text",
    "filled",
    "gate_line",
    "graders",
    "is_meant_so",
    "judged",
    "not_started",
    "prices",
    "remarks",
    "shown_interval",
    "tokens_text",
    "verdict_text",
]

COLUMNS = (
    "task", "model", "trials", "passed", "rate", "interval", "pass rate 0-100 %", "verdict",
    "score", "turns", "tokens", "cost", "time",
)  # fmt: skip
BAR_WIDTH = 20
MEANT = {"policy:solver": ("too easy", "passes", "90,100"), "policy:null": ("too hard", "misses", "0,10")}
"""Of policies that every task ships to be checked by: the verdict that they are meant to get, what an audit
asks of them, and a band that they lie in."""


def cells(row: Row, *, unicode: bool = True) -> list[str]:
    """Return a row's cells, in the order of COLUMNS."""
    verdict = row.verdict
    rate = "-" if verdict.rate is None else f"{verdict.rate * 100:.0f} %"
    return [
        row.name,
        row.model,
        str(row.judged) if row.judged == row.planned else f"{row.judged}/{row.planned}",
        str(row.passed),
        rate,
        shown_interval(row),
        bar(row, unicode=unicode),
        verdict_text(row),
        "-" if row.mean_score is None else f"{row.mean_score:.3f}",
        "-" if row.turns is None else f"{row.turns:.1f}",
        tokens_text(row.usage.total),
        cost(row),
        duration_text(row.seconds),
    ]


def filled(table: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return a table without the columns that say nothing in any line below the first, which names them."""
    kept = [column for column in range(len(table[0])) if any(line[column] != "-" for line in table[1:])]
    return [[line[column] for column in kept] for line in table]


def shown_interval(row: Row) -> str:
    """Return the pass rates that are not ruled out; of a proof that stands, those at the look that proved it."""
    verdict = row.verdict
    if verdict.interval is None:
        return "-"
    low, high = (_percent(bound, row.band) for bound in verdict.interval)
    of = "" if verdict.interval_runs == row.judged else f" of {verdict.interval_runs}"
    return f"{low}-{high} %{of}"


def _percent(bound: float, band: Band) -> str:
    """Return a bound in percent, with as many digits as keep it on its side of the band's edges."""
    for digits in range(12):
        shown = f"{bound * 100:.{digits}f}"
        if all(
            (float(shown) > edge * 100) == (bound > edge) and (float(shown) < edge * 100) == (bound < edge)
            for edge in (band.low, band.high)
        ):
            break
    return shown


def aligned(table: Sequence[Sequence[str]], text_columns: Collection[str], gap: str = "  ") -> Iterator[str]:
    """Yield the lines of a table, columns of text to the left and numbers to the right; the first line names them."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        cells = [
            cell.ljust(width) if name in text_columns else cell.rjust(width)
            for name, cell, width in zip(table[0], line, widths, strict=True)
        ]
        yield gap.join(cells).rstrip()


def bar(row: Row, *, unicode: bool = True) -> str:
    """Draw the pass rate from 0 to 100 %: the band in brackets, the interval as a line, the rate as a dot."""
    empty, line, dot = ("·", "─", "●") if unicode else (".", "-", "o")
    drawn = [empty] * BAR_WIDTH
    first, end = round(row.band.low * BAR_WIDTH), round(row.band.high * BAR_WIDTH)
    if row.verdict.interval and row.verdict.rate is not None:
        low, high = (_place(bound) for bound in row.verdict.interval)
        drawn[low : high + 1] = [line] * (high + 1 - low)
        place = _place(row.verdict.rate)
        # Both ends belong to the band, so a rate on its upper edge is drawn inside.
        drawn[min(place, end - 1) if row.verdict.rate in row.band else place] = dot
    return "".join([*drawn[:first], "[", *drawn[first:end], "]", *drawn[end:]])


def verdict_text(row: Row) -> str:
    """Return the verdict, and whether it is proven."""
    verdict = row.verdict
    if row.part and verdict.word != "incomplete":
        return "not judged"
    if verdict.word in ("incomplete", "undecided"):
        return verdict.word
    return f"{verdict.word}, {'proven' if verdict.proven else 'not proven'}"


def gate_line(row: Row) -> str:
    """Return one sentence: the rate, the band, and what they say."""
    verdict = row.verdict
    if verdict.word == "incomplete":
        expected = row.planned - row.not_afforded
        if not expected:
            return f"incomplete: the money (--max-cost) ended before any trial of {row.name} by {row.model}"
        return f"incomplete: {_missing(row, expected)}"
    assert verdict.rate is not None
    rate = f"pass rate {row.passed}/{row.judged} = {verdict.rate * 100:.0f} %"
    line = f"{verdict_text(row)}: {rate} of {row.name} by {row.model}, band {row.band}"
    return "; ".join([line, *remarks(row)])


def remarks(row: Row) -> Iterator[str]:
    """Yield what must be said beside a row's numbers, a phrase each."""
    yield from not_started(row)
    yield from graders(row)
    yield from judged(row)
    yield from prices(row)
    if is_meant_so(row):
        word, does, band = MEANT[row.model]
        kind = row.model.removeprefix("policy:")
        asks = f"--gate asks it, like any model, to lie in the band (--band {band} is one for it)"
        yield f"a {kind} policy is meant to be {word}: --audit checks that it {does}, while {asks}"


def judged(row: Row) -> Iterator[str]:
    """Yield what of the cost is the player's, and what the judges' whom the task asked, a phrase each."""
    if not row.asked:
        return
    players = None if row.cost_usd is None or row.judge_cost_usd is None else row.cost_usd - row.judge_cost_usd
    known = row.known_cost_usd - row.known_judge_cost_usd
    theirs = cost_text(row.judge_cost_usd, row.known_judge_cost_usd)
    who = ", ".join(f"{count} x {judge}" for judge, count in row.asked.items())
    tokens = tokens_text(row.judge_usage.total)
    yield f"cost: {cost_text(players, known)} of the player, {theirs} of judges ({who}; {tokens} tokens)"


def is_meant_so(row: Row) -> bool:
    """Say whether a row fails the gate as its policy is meant to."""
    return row.model in MEANT and not row.verdict.holds and row.verdict.word == MEANT[row.model][0]


def prices(row: Row) -> Iterator[str]:
    """Yield what is to be said of the cost, a phrase each."""
    for answered, asked in row.priced_as.items():
        yield f"cost by the price of {asked}, as the server answers as {answered}, whose price is not known"
    if row.guessed_cost_usd:
        guessed = dollars(row.guessed_cost_usd)
        yield f"{guessed} of the cost is an estimate, of replies that did not arrive and may be billed"


def graders(row: Row) -> Iterator[str]:
    """Yield what is to be said of who graded the trials, a phrase each."""
    if row.reused:
        despite = "; ".join(row.reused_despite)
        yield f"{row.reused} of {row.judged} grades are by an earlier grader (--changed=reuse), despite: {despite}"
    if row.regraded:
        yield f"{row.regraded} of {row.judged + row.errored} trials were graded anew (--changed=regrade)"
    if row.left_out:
        why = "their task or grader changed while the run went on"
        yield f"{row.left_out} trials are not counted, since other code graded them: {why}"


def _missing(row: Row, expected: int) -> str:
    """Say which trials have no grade, why that cannot be overlooked, and what to do."""
    groups = [group for group in row.fault_groups if not (row.untolerated and group.tolerated)]
    told = [str(group) for group in groups[:3]]
    told += [f"{len(groups) - 3} other faults"] * (len(groups) > 3)
    told += [f"{row.cut_off} cut off while it was played"] * (row.cut_off > 0)
    what = f": {'; '.join(told)}" if told else ""
    remedies = dict.fromkeys(CAUSES[group.cause].remedy for group in groups)
    next_step = ", ".join([*filter(None, remedies), "then go on with --resume"]).removeprefix("then ")
    if row.untolerated:
        missing = f"{row.untolerated} of {expected} trials of {row.name} by {row.model} have no grade"
        return f"{missing}, which may depend on what the model did{what}; {next_step}"
    missing = f"{expected - row.judged} of {expected} trials of {row.name} have no grade (at most 20 % may)"
    return f"{missing}{what}; {next_step}"


def not_started(row: Row) -> Iterator[str]:
    """Yield why planned trials were not started, a phrase each."""
    if row.not_needed and row.proof:
        yield f"stopped early: {row.proof}; {row.not_needed} of {row.planned} planned trials were not started"
    elif row.not_needed:
        yield f"{row.not_needed} of {row.planned} planned trials were not started, on a proof that {_undone(row)}"
    if row.given_up:
        yield f"given up after equal faults: {row.given_up} of {row.planned} planned trials were not started"
    if row.not_afforded:
        yield f"the money (--max-cost) ended it: {row.not_afforded} of {row.planned} planned trials were not started"


def _undone(row: Row) -> str:
    """Say why a proof for which trials were not started proves nothing any more."""
    if row.proven_by_old_rule:
        return "an earlier version's rule took for one; go on with --resume"
    return "the test's assertions have overruled since"


def cost(row: Row) -> str:
    """Return the cost in US dollars; a dash where nothing is paid."""
    is_free = not row.paid and row.cost_usd is not None and row.cost_usd < 0.995
    return "-" if is_free else cost_text(row.cost_usd, row.known_cost_usd)


def _place(rate: float) -> int:
    return min(int(rate * BAR_WIDTH), BAR_WIDTH - 1)


def tokens_text(tokens: int) -> str:
    """Return a number of tokens, rounded where it is long; a dash for none."""
    if not tokens:
        return "-"
    if tokens < 10_000:
        return str(tokens)
    return f"{tokens / 1e3:.0f}k" if tokens < 10_000_000 else f"{tokens / 1e6:.1f}M"


def duration_text(seconds: float) -> str:
    """Return a duration with the unit that suits it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} m"
