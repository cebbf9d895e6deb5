"""Which modules ``mutants`` changes, the tests that are to notice, and the changes that nobody could notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Module:
    """A module, and the quick test files that cover it."""

    path: str
    tests: tuple[str, ...]
    """Patterns of files, the quickest first: a mutant is played until one test notices it."""


TRIAL = tuple(f"tests/trial/test_{part}*.py" for part in ("[cgho]", "turns", "trial", "environment"))
RUN = ("tests/run/test_[!r]*.py",)

MODULES = (
    Module("pytest_rltask/verdict.py", ("tests/test_verdict*.py",)),
    Module("pytest_rltask/proof.py", ("tests/test_proof_*.py", "tests/test_proof*.py")),
    Module("pytest_rltask/analysis/paired.py", ("tests/analysis/test_paired.py",)),
    Module("pytest_rltask/analysis/order.py", ("tests/analysis/test_order.py",)),
    Module("pytest_rltask/analysis/compare.py", ("tests/analysis/test_comparing.py",)),
    Module("pytest_rltask/analysis/calibrate.py", ("tests/analysis/test_calibrating.py",)),
    Module("pytest_rltask/analysis/refusals.py", ("tests/analysis/test_calibrating.py",)),
    Module("pytest_rltask/analysis/requirements.py", ("tests/analysis/test_calibrating.py",)),
    Module("pytest_rltask/trial/play.py", TRIAL),
    Module("pytest_rltask/trial/opening.py", TRIAL),
    Module("pytest_rltask/trial/grading.py", TRIAL),
    Module("pytest_rltask/trial/turns.py", TRIAL),
    Module("pytest_rltask/trial/conversation.py", TRIAL),
    Module("pytest_rltask/suite/stopping.py", ("tests/suite/test_stop*.py",)),
    Module("pytest_rltask/suite/resume.py", ("tests/suite/test_resum*.py",)),
    Module("pytest_rltask/suite/judging.py", ("tests/suite/test_judg*.py",)),
    Module("pytest_rltask/suite/items.py", ("tests/suite/test_item*.py",)),
    Module("pytest_rltask/suite/plan.py", ("tests/suite/test_plan*.py",)),
    Module("pytest_rltask/run/log.py", RUN),
    Module("pytest_rltask/run/load.py", RUN),
    Module("pytest_rltask/run/amendments.py", RUN),
    Module("pytest_rltask/models/limiter.py", ("tests/claude/test_limiter*.py",)),
    Module(
        "pytest_rltask/models/claude.py",
        tuple(f"tests/claude/test_claude_{part}*.py" for part in ("attempts", "endings", "conversation", "faults")),
    ),
)

BILLIONTH = "the limit is a billionth above what was given, so that no sum of prices is equal to it"
TIE = "no tail is equal to a level to the last bit"

EQUAL: dict[str, dict[tuple[str, str], str]] = {
    "pytest_rltask/verdict.py": {
        (
            "for runs in range(judged + 1, MOST_RUNS + 1):",
            "for runs in range(judged + 0, MOST_RUNS + 1):",
        ): "it is asked only where the runs so far do not prove the word",
    },
    "pytest_rltask/proof.py": {
        **{
            (line, line.replace(" < level", " <= level")): TIE
            for line in (
                "if at_least(passed, runs, band.high) < level.too_easy * factor:",
                "if at_most(passed, runs, band.low) < level.too_hard * factor:",
                "above = band.low == 0 or at_least(passed, runs, band.low) < level.in_band * factor",
                "below = band.high == 1 or at_most(passed, runs, band.high) < level.in_band * factor",
            )
        },
        **{
            (line, line.replace(" < _between", " <= _between")): TIE
            for line in (
                "return at_least(passed, runs, rate) < _between(rate, band, level.in_band, level.too_easy) * factor",
                "return at_most(passed, runs, rate) < _between(rate, band, level.too_hard, level.in_band) * factor",
            )
        },
        (
            "while end and moved[end - 1] <= negligible:",
            "while end and moved[end - 2] <= negligible:",
        ): "one chance more is kept that is negligible",
        (
            "while end and moved[end - 1] <= negligible:",
            "while not end and moved[end - 1] <= negligible:",
        ): "what is negligible is kept, which takes longer",
        (
            "first = [0 if band.low == 0 else low.first_below(n, level * factor) for n, factor in enumerate(factors)]",
            "first = [ -1 if band.low == 0 else low.first_below(n, level * factor) for n, factor in enumerate(factors)]",  # noqa: E501
        ): "no number of passes is below 0",
        (
            "while lead < end and moved[lead] <= negligible:",
            "while lead <= end and moved[lead] <= negligible:",
        ): "only where no chance is left, and then it does not matter where they would begin",
    },
    "pytest_rltask/analysis/paired.py": {
        (
            "return max(-1.0, difference - below), min(1.0, difference + above)",
            "return max(-1.0, difference - below), min( 2.0, difference + above)",
        ): "it is past 1 by rounding alone",
        ("low, high = 0.0, 1.0", "low, high = 0.0, 2.0"): "a tail at a rate past 1 is 1, and the search comes back",
    },
    "pytest_rltask/analysis/order.py": {
        (
            "chances = {rank: chance_of_rank(rank, len(scores), band) for rank in range(1, len(scores) + 1)}",
            "chances = {rank: chance_of_rank(rank, len(scores), band) for rank in range( 0, len(scores) + 1)}",
        ): "the chance of rank 0 is none",
        (
            "best = max(chances.values(), default=0.0)",
            "best = max(chances.values(), default= 1.0)",
        ): "without scores there is no rank to offer",
        ("if chances[rank] >= WORTHWHILE * best:", "if chances[rank] > WORTHWHILE * best:"): TIE,
    },
    "pytest_rltask/analysis/calibrate.py": {
        **{
            (line, line.replace("judged[0]", "judged[ -1]")): "where trials differ in it, it is another's to say"
            for line in (
                "is_in_prompt=bool(today and row.judged and _names(row.judged[0], today.threshold)),",
                "return Today(threshold, trials, passed, chance, _field(run, row.judged[0].graded_by, threshold))",
            )
        },
        (
            'return held[0] if len(held) == 1 else ""',
            'return held[ -1] if len(held) == 1 else ""',
        ): "of one entry the first is the last",
    },
    "pytest_rltask/analysis/requirements.py": {
        (
            'return count.most_common(1)[0][0] if count else ""',
            'return count.most_common( 2)[0][0] if count else ""',
        ): "the first of two is the first",
    },
    "pytest_rltask/suite/stopping.py": {
        (
            "lasts = self.spent + self.reserved + needed <= limit if is_known else not self.is_testing",
            "lasts = self.spent + self.reserved + needed < limit if is_known else not self.is_testing",
        ): BILLIONTH,
        (
            "if self.spent >= self.limit or self.spent + needed > limit:",
            "if self.spent >= self.limit or self.spent + needed >= limit:",
        ): BILLIONTH,
    },
    "pytest_rltask/suite/plan.py": {
        (
            "for place, (_, source) in zip(sorted(place for _, place in own), sorted(own), strict=True):",
            "for place, (_, source) in zip(sorted(place for _, place in own), sorted(own), strict=False):",
        ): "both are made of one list",
    },
    "pytest_rltask/models/limiter.py": {
        (
            "left = quota.remaining - later * self._costs.get(quota.name, 0.0)",
            f"left = quota.remaining - later * self._costs.get(quota.name, {cost})",
        ): "before any answer one request is in flight, so that none was sent later; after one, costs of all are known"
        for cost in (1.0, -1.0)
    },
}
"""By module, the line as it is and as it becomes: why nobody could notice."""
