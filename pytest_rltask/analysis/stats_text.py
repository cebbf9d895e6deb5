"""What `rltask stats` prints: a block for each task and model, then the suite of each model."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from pytest_rltask.analysis.passes import Mean
from pytest_rltask.analysis.stats import Group, Stats, Suite
from pytest_rltask.report.painting import Paint
from pytest_rltask.report.table import duration_text, tokens_text
from pytest_rltask.report.visible import visible
from pytest_rltask.run.record import dollars

__all__ = ["stats_lines"]

_WIDTH = 100


def stats_lines(stats: Stats, paint: Paint) -> Iterator[str]:
    """Yield the lines that tell the numbers of runs."""
    yield from _wrapped(f"trials of {', '.join(stats.runs)}", "", "  ")
    for sentence in stats.missing:
        yield from _wrapped(sentence, "", "  ")
    for group in stats.groups:
        yield ""
        yield from _group(group, stats, paint)
    for suite in stats.suites:
        yield ""
        yield from _suite(suite, paint)
    if stats.refused:
        yield ""
        for sentence in stats.refused:
            yield from _wrapped(sentence, "", "  ")


def _group(group: Group, stats: Stats, paint: Paint) -> Iterator[str]:
    alike = [other for other in stats.groups if (other.task, other.model) == (group.task, group.model)]
    of = f" (task {group.task_digest}, grader {group.grader or 'unknown'})" if len(alike) > 1 else ""
    rate = f"{group.passed} of {group.judged} passed"
    rate += "" if group.rate is None else f", {_percent(group.rate)}"
    errored = f", {group.errored} errored" if group.errored else ""
    yield paint(visible(f"{group.task} by {group.model}{of}"), "bold") + f": {rate}{errored}"
    yield from _wrapped(_chances(group.pass_at, "@"))
    yield from _wrapped(_chances(group.pass_hat, "^"))
    missed = group.judged - group.passed
    counted = (f"{count} x {label} ({_percent(count / missed)})" for label, count in group.reasons.items())
    yield from _wrapped(f"missed: {', '.join(counted)}" if missed else "")
    if group.near_misses:
        near = f"at most {_percent(stats.near)} below the threshold"
        yield from _wrapped(f"near misses: {group.near_misses} of {missed}, {near}")
    if group.hollow_turns:
        yield from _wrapped(f"hollow turns: {group.hollow_turns} of {group.turns}, with no tool call and no text")
    if group.cache_share is not None:
        usage = group.usage
        read = tokens_text(usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens)
        yield from _wrapped(f"cache reads: {_percent(group.cache_share)} of {read} input tokens")
    if group.judge_requests:
        paid = f"{dollars(group.player_cost_usd)} of the player, {dollars(group.judge_cost_usd)} of judges"
        tokens = tokens_text(group.judge_usage.total)
        yield from _wrapped(f"cost: {paid} ({group.judge_requests} requests, {tokens} tokens)")
    if group.lost_s >= 0.1:
        lost, total = duration_text(group.lost_s), duration_text(group.seconds)
        yield from _wrapped(f"lost to limits and faults of the API: {lost} of {total}")


def _suite(suite: Suite, paint: Paint) -> Iterator[str]:
    of = f"of all trials, clustered by {suite.tasks} tasks" if suite.tasks > 1 else "of one task, which has no error"
    yield paint(visible(f"suite by {suite.model}"), "bold") + f": pass rate {_mean(suite.rate)}, {of}"
    if suite.tasks > 1:
        for means, sign in ((suite.pass_at, "@"), (suite.pass_hat, "^")):
            told = "   ".join(f"pass{sign}{k} {_mean(mean)}" for k, mean in means.items())
            yield from _wrapped(f"mean of the tasks: {told}" if told else "")


def _chances(chances: Mapping[int, float], sign: str) -> str:
    return "   ".join(f"pass{sign}{k} {_percent(chance)}" for k, chance in chances.items())


def _mean(mean: Mean) -> str:
    """Return a mean with its standard error, in points."""
    return _percent(mean.value) + ("" if mean.error is None else f" ± {mean.error * 100:.1f}")


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share in (0, 1) or 0.1 <= share <= 0.9 else f"{share * 100:.2g} %"


def _wrapped(text: str, first: str = "  ", after: str = "    ") -> list[str]:
    return textwrap.wrap(
        visible(text), _WIDTH, initial_indent=first, subsequent_indent=after, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
