"""What ``rltask compare`` prints: for a terminal, and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_rltask.analysis.compare import Compared, Comparison, Side
from pytest_rltask.analysis.rows import printable
from pytest_rltask.analysis.run_changes import Change
from pytest_rltask.analysis.spread import drawn
from pytest_rltask.report.visible import visible

__all__ = ["comparison_lines", "comparison_markdown"]

_MOST = 12
"""Changes that are named."""
_LONGEST = 400
"""Characters of a line, which a path or a package of another may fill."""
_HEADS = ("task", "model", "A", "B", "B - A", "both", "only A", "only B", "none", "p", "B is")


def comparison_lines(found: Comparison, *, unicode: bool = True) -> Iterator[str]:
    """Yield the lines of the answer for a terminal."""
    yield f"A {printable(found.a)}"
    yield f"B {printable(found.b)}"
    yield from _named("changed", map(str, found.changes))
    for row in found.rows:
        yield ""
        yield f"{_title(row)}: {_said(row)}"
        yield from _rates(row)
        yield from _named("pairs" if row.pairs else "unpaired", _pairing(row))
        yield from _scores(row, unicode=unicode)
        yield from _named("changed", map(str, row.changes))
        yield from _named("grader", row.grader)
    yield from [""] * bool(found.only_a or found.only_b)
    yield from _named("only in A", found.only_a)
    yield from _named("only in B", found.only_b)


def _title(row: Compared) -> str:
    models = list(dict.fromkeys(printable(side.model) for side in (row.a, row.b)))
    return f"{printable(row.task)} by {' (A) and '.join(models)}{' (B), across models' if len(models) > 1 else ''}"


def _said(row: Compared) -> str:
    return row.word if row.word in ("not told apart", "nothing to compare") else f"B is {row.word}, at 5 %"


def _named(name: str, lines: Iterable[str], *, most: int = _MOST) -> Iterator[str]:
    """Yield lines with the name of what they tell before the first one."""
    told = list(lines)
    rest = [f"and {len(told) - most} more, see --json"] if len(told) > most else []
    for number, line in enumerate([*told[:most], *rest]):
        yield f"  {'' if number else name:<11} {_line(line)}"


def _line(text: str) -> str:
    """Return a line without control characters, its columns kept."""
    shown = visible(" ".join(text.splitlines())).replace("\t", " ")
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."


def _rates(row: Compared) -> Iterator[str]:
    for name, side in (("A", row.a), ("B", row.b)):
        yield f"  {name:<11} {_rate(side)}{_aside(side)}"
    if row.difference is not None and row.interval is not None and row.p is not None:
        low, high = (f"{100 * bound:+.0f}" for bound in row.interval)
        test = "McNemar" if row.pairs else "Fisher"
        yield f"  B - A       {100 * row.difference:+.0f} points ({low} to {high}), {test} {_p(row)}"


def _rate(side: Side) -> str:
    if side.interval is None:
        return "no judged trial"
    low, high = (f"{100 * bound:.0f}" for bound in side.interval)
    return f"{side.passed}/{side.judged} = {100 * side.passed / side.judged:.0f} % ({low}-{high} %)"


def _aside(side: Side) -> str:
    told = [f"{side.cheated} of them cheated"] * bool(side.cheated)
    told += [f"{side.errored} without a grade left out"] * bool(side.errored)
    return "".join(f", {one}" for one in told)


def _p(row: Compared) -> str:
    together = "" if row.p_all == row.p else f", {row.p_all:.2g} for all rows together"
    return f"p = {row.p:.2g}{together}"


def _pairing(row: Compared) -> Iterator[str]:
    if row.pairs is None:
        yield row.unpaired
        return
    pairs = row.pairs
    yield f"{pairs.total} by seed".ljust(14) + "  B passed  B missed"
    yield f"{'A passed':>14}  {pairs.both:>8}  {pairs.only_a:>8}"
    yield f"{'A missed':>14}  {pairs.only_b:>8}  {pairs.none:>8}"
    if any(row.alone):
        yield f"without a pair, and left out: {row.alone[0]} of A, {row.alone[1]} of B"


def _scores(row: Compared, *, unicode: bool) -> Iterator[str]:
    ends = [f"{edge:.4g}" for edge in row.edges]
    for name, side in (("A", row.a), ("B", row.b)):
        if side.scores:
            least, low, middle, high, best = (f"{value:.3g}" for value in side.scores)
            bars = f"{ends[0]} [{drawn(side.histogram, unicode=unicode)}] {ends[1]}"
            yield f"  scores {name}    {bars}  {least} to {best}, quartiles {low}, {middle}, {high}"


def comparison_markdown(found: Comparison) -> str:
    """Return the answer as Markdown."""
    return "\n".join([*_markdown(found), ""])


def _markdown(found: Comparison) -> Iterator[str]:
    yield f"### {_escaped(found.a)} (A) and {_escaped(found.b)} (B)"
    yield ""
    yield f"| {' | '.join(_HEADS)} |"
    yield f"|{'---|' * len(_HEADS)}"
    for row in found.rows:
        yield f"| {' | '.join(map(_escaped, _cells(row)))} |"
    yield from [""] * bool(found.rows)
    for row in found.rows:
        title = _escaped(_title(row))
        if row.unpaired:
            yield f"- {title}: unpaired, {_escaped(row.unpaired)}"
        if any(row.alone):
            yield f"- {title}: without a pair, and left out: {row.alone[0]} of A, {row.alone[1]} of B"
        for name, side in (("A", row.a), ("B", row.b)):
            if side.scores:
                least, low, middle, high, best = (f"{value:.3g}" for value in side.scores)
                bars = f"`[{drawn(side.histogram)}]`"  # of characters that Markdown knows nothing of
                yield f"- {title}: scores of {name} {bars} {least} to {best}, quartiles {low}, {middle}, {high}"
            if side.errored:
                yield f"- {title}: {side.errored} trials of {name} have no grade and are left out"
        yield from _bullets(f"{title}: ", row.changes)
        yield from (f"- {title}: grader: {_escaped(said)}" for said in row.grader[:_MOST])
    yield from (f"- only in A: {_escaped(name)}" for name in found.only_a)
    yield from (f"- only in B: {_escaped(name)}" for name in found.only_b)
    yield from _bullets("changed: ", found.changes)


def _bullets(before: str, changes: Sequence[Change]) -> Iterator[str]:
    yield from (f"- {before}{_escaped(str(change))}" for change in changes[:_MOST])
    if len(changes) > _MOST:
        yield f"- {before}and {len(changes) - _MOST} more"


def _cells(row: Compared) -> list[str]:
    models = " / ".join(dict.fromkeys((row.a.model, row.b.model)))
    pairs = row.pairs
    table = (
        [str(n) for n in (pairs.both, pairs.only_a, pairs.only_b, pairs.none)] if pairs else ["unpaired", "", "", ""]
    )
    difference = p = "-"
    if row.difference is not None and row.interval is not None and row.p is not None:
        low, high = (f"{100 * bound:+.0f}" for bound in row.interval)
        difference, p = f"{100 * row.difference:+.0f} ({low} to {high})", f"{row.p:.2g}"
    return [row.task, models, _rate(row.a), _rate(row.b), difference, *table, p, row.word]


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, and takes for neither a table's edge nor markup nor a mention."""
    shown = printable(text, 300).replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")
    return "".join(f"\\{char}" if char in "\\|`*_[]#~" else char for char in shown)
