"""``rltask calibrate``: the thresholds that would put a task's pass rate into its band, from the scores of a run.

Nothing is changed: a threshold is proposed with the chance that the true pass rate at it lies in the band
(:mod:`~pytest_rltask.analysis.order`), today's beside. Where that chance would be wrong, it is refused with the reason:
equal scores, scores of two values, too many trials without a score, too few with one. The trials that choose a
threshold cannot judge it, since of them as many pass as their number was chosen for; so the command for fresh seeds is
part of every proposal.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, dataclass
from typing import Any

from pytest_rltask.analysis.order import WORTHWHILE, Cut, chance_of_threshold, cuts
from pytest_rltask.analysis.refusals import Refusal, refusals
from pytest_rltask.analysis.requirements import Requirement, is_out_of_reach, requirements
from pytest_rltask.analysis.rows import Row, command_words, rows_of
from pytest_rltask.analysis.spread import five_numbers, scores_of
from pytest_rltask.report.command_line import without
from pytest_rltask.run.load import Run, load_grader
from pytest_rltask.run.record import Record
from pytest_rltask.task import Band

__all__ = ["Calibration", "Today", "calibrate"]

FRESH_RUNS = 50
"""Trials, of other seeds, by which a proposal is to be judged."""


@dataclass(frozen=True)
class Today:
    """The threshold that the trials were graded by."""

    threshold: float | None
    """None: the grader names none, the test's assertion judges."""
    trials: int
    passed: int
    chance: float
    """Probability that the true pass rate at it lies in the band, from a uniform prior."""
    field: str
    """The task's field that is this threshold and nothing else; empty if none is known to be."""


@dataclass(frozen=True)
class Calibration:
    """What the scores of one task and model say about its threshold."""

    task: str
    model: str
    band: Band
    judged: int
    errored: int
    """Trials without a grade, among them those that were cut off."""
    cheated: int
    """Judged trials that cheated: below any threshold."""
    out_of_reach: int
    """Judged trials that missed although they reached the threshold: below any, too."""
    quartiles: tuple[float, ...]
    """Least score, quartiles, best score; of the judged trials that have one. Empty without any."""
    today: Today | None
    requirements: list[Requirement]
    """What trials missed by, most frequent first."""
    cuts: list[Cut]
    """Thresholds, the proposed one first; empty if refused."""
    refusal: Refusal | None
    chosen_here: int | None
    """Rank of today's threshold among the scores, if it is one of the thresholds that these very trials propose."""
    is_in_prompt: bool
    """Whether the prompt names today's threshold, so that a model may act otherwise under another."""
    fresh: str
    """Command that plays other seeds."""

    @property
    def keep(self) -> bool:
        """Whether no threshold is much likelier than today's to put the pass rate into the band."""
        return bool(self.cuts and self.today and self.today.chance >= WORTHWHILE * self.cuts[0].chance)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {**asdict(self), "keep": self.keep}


def calibrate(run: Run) -> list[Calibration]:
    """Return what the scores of each task and model of a run say about its threshold, in the order of the plan."""
    rows = rows_of(run)
    seed = max((trial.seed for row in rows for trial in row.planned), default=-1) + 1
    return [_calibration(run, row, seed, is_alone=len({row.test for row in rows}) == 1) for row in rows]


def _calibration(run: Run, row: Row, seed: int, *, is_alone: bool) -> Calibration:
    scores = [None if is_out_of_reach(record) else record.score for record in row.judged]
    errored = len(row.errored) + row.cut_off
    found = cuts(scores, row.band)
    today = _today(run, row)
    fresh = _fresh(run, row, seed, is_alone=is_alone)
    refusal = next(refusals(row, scores, errored, found, fresh=fresh, again=_again(run)), None)
    offered = [] if refusal else [cut for cut in found if not cut.ties]
    return Calibration(
        task=row.name,
        model=row.model,
        band=row.band,
        judged=len(row.judged),
        errored=errored,
        cheated=sum(record.outcome == "cheated" for record in row.judged),
        out_of_reach=sum(is_out_of_reach(record) and record.outcome != "cheated" for record in row.judged),
        quartiles=five_numbers(scores_of(row.judged)),
        today=today,
        requirements=requirements(row.judged),
        cuts=offered,
        refusal=refusal,
        chosen_here=next((cut.rank for cut in offered if today and _is_the_same(cut, today.threshold)), None),
        is_in_prompt=bool(today and row.judged and _names(row.judged[0], today.threshold)),
        fresh=fresh,
    )


def _today(run: Run, row: Row) -> Today | None:
    if not row.judged:
        return None
    threshold = row.judged[0].threshold
    passed, trials = row.passed, len(row.judged)
    chance = chance_of_threshold(passed, trials, row.band)
    return Today(threshold, trials, passed, chance, _field(run, row.judged[0].graded_by, threshold))


def _field(run: Run, digest: str, threshold: float | None) -> str:
    """Return the field of the task that holds the threshold of its grade alone."""
    grader = load_grader(run.path, digest) or {}
    fields, names = grader.get("fields"), grader.get("threshold_fields")
    if not isinstance(fields, dict) or not isinstance(names, list) or threshold is None:
        return ""
    held = [str(name) for name in names if str(fields.get(name)) in (repr(threshold), f"{threshold:g}")]
    return held[0] if len(held) == 1 else ""


def _is_the_same(cut: Cut, threshold: float | None) -> bool:
    """Say whether a threshold is a proposed one, as it is shown: rounded down."""
    return threshold is not None and 0 <= cut.threshold - threshold <= 1e-5 * abs(cut.threshold)


def _names(record: Record, threshold: float | None) -> bool:
    """Say whether a trial's prompt names a threshold, as a number or in percent."""
    if threshold is None or not record.messages:
        return False
    text = f"{record.system} {record.messages[0].get('content')}"
    forms = f"{re.escape(f'{threshold:g}')}(?![0-9])(?!\\.[0-9])|{re.escape(f'{threshold * 100:g}')} ?%"
    return re.search(rf"(?<![0-9.])(?:{forms})", text) is not None


def _fresh(run: Run, row: Row, seed: int, *, is_alone: bool) -> str:
    """Return the command that plays as many other seeds as judge a threshold."""
    words = command_words(run) or ["pytest"]
    for name in ("runs", "seed", "model", "resume", "changed"):
        words = without(words, f"--{name}", f"--rltask-{name}")
    if not is_alone and not {"-k"} & set(words):
        words += ["-k", row.test.rpartition("::")[2].partition("[")[0]]
    return shlex.join([*words, "--model", row.model, "--runs", str(FRESH_RUNS), "--seed", str(seed)])


def _again(run: Run) -> str:
    words = without(command_words(run) or ["pytest"], "--resume", "--rltask-resume")
    return shlex.join([*words, f"--resume={run.path}"])
