"""Thresholds proposed from a run: which one, beside today's, what binds, and where none is proposed."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.analysis.calibrate import Calibration, calibrate
from pytest_rltask.analysis.calibrate_text import calibration_lines, shown_threshold
from pytest_rltask.analysis.order import Cut
from pytest_rltask.run.load import Run, load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import NotStarted, PlannedTrial
from pytest_rltask.run.record import Record
from tests.analysis.judged_runs import on_disk, run_of, trials_of

TWENTY = [round(0.013 + n * 0.047, 4) for n in range(20)]
"""Scores from 0.013 to 0.906, of which the 5th best is 0.718."""


def graded(scores: list[float], threshold: float = 0.5, **fields: Any) -> list[tuple[PlannedTrial, Record]]:
    """Make trials whose scores alone decide."""
    outcomes = ["passed" if score >= threshold else "failed" for score in scores]
    return trials_of(outcomes, scores, threshold=threshold, **fields)  # type: ignore[arg-type]


def only(run: Run) -> Calibration:
    (found,) = calibrate(run)
    return found


def text_of(run: Run) -> str:
    return "\n".join(calibration_lines(calibrate(run)))


def test_the_fifth_best_of_twenty_is_proposed_with_todays_beside() -> None:
    run = run_of(graded(random.Random(1).sample(TWENTY, 20)))

    found = only(run)

    assert [(cut.rank, cut.threshold) for cut in found.cuts] == [(5, 0.718), (6, 0.671), (4, 0.765)]
    assert found.cuts[0].chance == pytest.approx(0.906, abs=0.001)
    assert found.today is not None
    assert (found.today.threshold, found.today.passed, found.today.trials) == (0.5, 9, 20)
    assert found.today.chance == pytest.approx(0.3085, abs=0.0001)  # scipy.stats.beta(10, 12): cdf(.4) - cdf(.1)
    told = text_of(run)
    assert told.splitlines()[2:7] == [
        "             threshold     pass  P(in band)",
        "  today            0.5  9 of 20        0.31",
        "  proposed       0.718  5 of 20        0.91  any above 0.671 passes the same",
        "  or             0.671  6 of 20        0.86",
        "  or             0.765  4 of 20        0.85",
    ]


def test_the_trials_that_chose_it_are_said_to_be_no_judges_and_fresh_seeds_are_commanded() -> None:
    told = text_of(run_of(graded(TWENTY), command="pytest suite --runs 20 --seed=42 --resume x -x --model 'a b'"))
    assert "these trials chose it: 5 of them pass whatever the true rate is" in told
    fresh = "pytest suite -x --model claude-haiku-4-5-20251001 --runs 50 --seed 62"
    assert told.splitlines()[-1].strip() == fresh


def test_a_threshold_that_these_trials_chose_is_recognised() -> None:
    assert only(run_of(graded(TWENTY, threshold=0.72))).chosen_here is None
    found = only(run_of(graded(TWENTY, threshold=0.718)))
    assert (found.chosen_here, found.keep) == (5, True)
    assert "careful     today's is the 5th best of these very trials, which cannot judge it" in text_of(
        run_of(graded(TWENTY, threshold=0.718))
    )


def test_a_threshold_that_does_as_well_is_kept() -> None:
    told = text_of(run_of(graded(TWENTY, threshold=0.7)))
    assert "keep        today's threshold" in told
    assert "proposed" not in told
    assert "chose it" not in told
    assert not only(run_of(graded(TWENTY, threshold=0.66))).keep  # 6 pass: 0.80, less than 0.9 of 0.91
    assert not only(run_of(graded(TWENTY, threshold=0.55))).keep  # 8 pass: a chance of 0.48, beside 0.91


def test_the_field_that_holds_the_threshold_is_named(tmp_path: Path) -> None:
    run = run_of(graded(TWENTY, grader="c0ffee"))
    path = on_disk(run, tmp_path)
    grader = {"task": "t", "fields": {"tau": "0.5", "size": "0.5"}, "threshold_fields": ["tau"]}
    RunWriter(path, "other", {**run.header, "id": path.name}).note_grader("c0ffee", grader)
    assert "  today            0.5  9 of 20        0.31  tau\n" in text_of(load_run(path))
    (path / "graders" / "c0ffee.json").write_text('{"fields": {}}')  # of an earlier version
    assert "  today            0.5  9 of 20        0.31\n" in text_of(load_run(path))


def test_of_several_tests_the_fresh_command_names_the_one() -> None:
    found = calibrate(run_of(graded(TWENTY), graded(TWENTY, task="words")))
    assert [one.fresh.partition(" -k ")[2].split()[0] for one in found] == ["test_sum", "test_words"]


def test_cheats_and_misses_at_the_threshold_count_below_any() -> None:
    trials = graded(TWENTY)
    for _, record in trials[-3:]:  # the best three
        record.outcome, record.label = "cheated", "tampering"
    for _, record in trials[-5:-3]:
        record.outcome, record.label = "failed", "no licence"
    trials[-4][1].score = 0.5  # just at the threshold

    found = only(run_of(trials))

    assert (found.judged, found.cheated, found.out_of_reach) == (20, 3, 2)
    assert found.cuts[0].threshold == sorted(TWENTY)[-10]  # the 5th best of what is left, of 20
    assert [(one.label, one.by) for one in found.requirements][1:] == [("tampering", "other"), ("no licence", "other")]


def test_what_binds_is_told_by_labels_and_by_the_measure_that_the_score_is() -> None:
    trials = graded(TWENTY, threshold=0.8)  # 3 pass
    for n, (_, record) in enumerate(trials):
        record.metrics = {"seen": record.score, "unseen": 2.0}
        if 4 <= n < 8:
            record.label, record.metrics = "does not generalise", {"seen": 0.9, "unseen": record.score}
        if n < 4:
            record.label, record.score, record.metrics = "no file", 0.0, {}

    found = only(run_of(trials))

    assert [(one.label, one.trials, one.by, one.measure) for one in found.requirements] == [
        ("score below threshold", 9, "score", "seen"),
        ("no file", 4, "worst", ""),
        ("does not generalise", 4, "own", "unseen"),
    ]
    told = text_of(run_of(trials))
    assert "binds       the score's threshold: 9 of 17 misses; of the others" in told
    assert "4 does not generalise: held against a threshold of its own, by unseen" in told
    assert "careful     a demand with a threshold of its own may move along, or bind: see above" in told


def test_where_no_trial_passed_the_measure_of_the_most_is_the_usual_one() -> None:
    trials = graded(TWENTY, threshold=0.95)
    for n, (_, record) in enumerate(trials):
        record.metrics = {"unseen": record.score} if n < 5 else {"seen": record.score}
        record.label = "does not generalise" if n < 5 else "low"
    found = only(run_of(trials))
    assert [(one.by, one.measure) for one in found.requirements] == [("score", "seen"), ("own", "unseen")]
    for _, record in trials:
        record.metrics = {}
    assert {(one.by, one.measure) for one in only(run_of(trials)).requirements} == {("score", "")}


def test_a_calibration_is_json_data() -> None:
    data = json.loads(json.dumps(only(run_of(graded(TWENTY))).to_json()))
    assert (data["judged"], data["keep"], data["cuts"][0]["rank"]) == (20, False, 5)
    assert data["is_in_prompt"] is False  # without a message nothing is


def test_where_other_demands_cost_more_trials_they_bind() -> None:
    trials = graded(TWENTY, threshold=0.1)  # 18 pass
    for _, record in trials[2:12]:
        record.outcome, record.label = "failed", "no licence"
    told = text_of(run_of(trials))
    assert "binds       not the score's threshold (2 of 12 misses) but other demands:" in told
    assert "10 no licence: they reached it or cheated: no threshold lets them pass" in told


def refused(*rows: list[tuple[PlannedTrial, Record]]) -> tuple[str, str]:
    """Return the kind of a refusal and what it says, having checked that it proposes nothing and says what to do."""
    run = run_of(*rows)
    found = only(run)
    assert found.refusal is not None
    assert found.cuts == []
    told = text_of(run)
    assert found.refusal.why in told
    assert "proposed" not in told
    assert len(found.refusal.do) > 20
    return found.refusal.kind, found.refusal.why


def test_ties_at_the_cut_are_refused() -> None:
    tied = [0.7 if 12 < n < 18 else score for n, score in enumerate(TWENTY)]
    assert refused(graded(tied)) == ("ties", "a tie at the cut: 5 of 20 trials have the score 0.7")


def test_a_tie_elsewhere_is_none_and_a_tie_at_one_rank_leaves_the_others() -> None:
    low = [0.1 if n < 9 else score for n, score in enumerate(TWENTY)]
    assert only(run_of(graded(low))).cuts[0].rank == 5
    pair = [0.718 if n == 14 else score for n, score in enumerate(TWENTY)]  # the 5th and the 6th are equal
    assert [cut.rank for cut in only(run_of(graded(pair))).cuts] == [4]


def test_binary_scores_are_refused() -> None:
    assert refused(graded([0.0] * 15 + [1.0] * 5)) == (
        "binary",
        "the scores are 0 and 1 alone: no threshold divides them anew",
    )
    assert refused(graded([1.0] * 20))[0] == "binary"


def test_scores_of_three_values_are_no_binary_ones_and_tie() -> None:
    assert refused(graded([0.0] * 8 + [0.5] * 7 + [1.0] * 5))[0] == "ties"
    assert refused(graded([0.0] * 17 + [0.1, 0.2, 0.3]))[1] == "a tie at the cut: 17 of 20 trials have the score 0"
    worst = only(run_of(graded([0.0] * 17 + [0.1, 0.2, 0.3]))).refusal
    assert worst is not None
    assert worst.do.startswith("give part of the score for the first steps")


def test_too_many_errored_trials_are_refused() -> None:
    trials = graded(TWENTY)
    for _, record in trials[:5]:
        record.outcome = "errored"
    assert refused(trials)[1].startswith("5 of 20 trials have no grade, more than 20 %")
    again = only(run_of(trials, name="logs/run_a", command="pytest suite --resume=old -x")).refusal
    assert again is not None
    assert again.do == "have them played again: pytest suite -x --resume=logs/run_a"
    trials[0][1].outcome = "failed"
    assert only(run_of(trials)).refusal is None  # 4 of 20: the share that a verdict tolerates


def test_a_trial_that_was_cut_off_has_no_grade() -> None:
    run = run_of(graded(TWENTY))
    for plan in run.plan[:5]:
        del run.records[plan.trial_id]
        run.starts[plan.trial_id] = ["2026-01-01T00:00:00+00:00"]
    assert only(run).errored == 5
    assert only(run).refusal is not None
    for plan in run.plan[:5]:
        run.not_started[plan.trial_id] = NotStarted("proven", "after all")
    assert only(run).errored == 0


def test_fewer_than_ten_scores_are_refused() -> None:
    assert refused(graded(TWENTY[:9])) == ("few", "9 scores are fewer than 10, which tell no threshold from another")
    assert only(run_of(graded(TWENTY[:10]))).refusal is None


def test_thresholds_that_differ_and_assertions_that_overrule_are_refused() -> None:
    trials = graded(TWENTY)
    trials[3][1].threshold = 0.6
    for _, record in trials[:2]:
        record.threshold = None
    said = "the threshold differs from trial to trial (0.5 in 17, none in 2, 0.6 in 1): no one number can replace it"
    assert refused(trials) == ("thresholds", said)
    trials = graded(TWENTY)
    trials[3][1].outcome = "passed"
    assert refused(trials)[0] == "overruled"


def test_too_few_trials_within_reach_are_refused() -> None:
    trials = graded(TWENTY)
    for _, record in trials[2:]:
        record.outcome = "cheated"
    trials[0][1].score = 0.3
    assert refused(trials)[0] in ("unreached", "binary")


def test_a_prompt_that_names_the_threshold_is_said_to() -> None:
    said = [{"role": "user", "content": [{"type": "text", "text": "Reach an F1 of 0.5."}]}]
    assert "careful     the prompt names the threshold" in text_of(run_of(graded(TWENTY, messages=said)))
    assert "names the threshold" not in text_of(run_of(graded(TWENTY, threshold=0.45, messages=said)))


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("at least 50 % of the rows", True),
        ("(accuracy >= 0.5)", True),
        ("an F1 of 0.5.", True),
        ("50% or more", True),
        ("0.55 or 10.5 or 0.5.1", False),
        ("150 % of it", False),
        ("50 rows", False),
    ],
)
def test_a_threshold_is_found_in_a_prompt_as_a_number_of_its_own(prompt: str, names: bool) -> None:
    later = {"role": "assistant", "content": [{"type": "text", "text": "Is it 0.5?"}]}
    said = [{"role": "user", "content": [{"type": "text", "text": prompt}]}, later]
    assert only(run_of(graded(TWENTY, messages=said))).is_in_prompt == names
    assert only(run_of(graded(TWENTY, system=prompt, messages=[later | {"content": ""}]))).is_in_prompt == names


def test_a_grader_without_a_threshold_can_be_calibrated() -> None:
    told = text_of(run_of(trials_of(["passed"] * 9 + ["failed"] * 11, TWENTY[::-1], threshold=None)))
    assert "today           none  9 of 20" in told
    assert "proposed       0.718" in told


def test_a_score_that_is_no_number_is_none() -> None:
    trials = graded(TWENTY)
    trials[0][1].score, trials[1][1].score = math.nan, math.inf
    found = only(run_of(trials))
    assert (found.out_of_reach, len(found.quartiles), found.quartiles[-1]) == (2, 5, TWENTY[-1])


def test_a_threshold_is_shown_with_the_digits_that_it_takes() -> None:
    assert shown_threshold(Cut(5, 0.5000004, 0.9, 0, 0.5)) == "0.5000004"
    assert shown_threshold(Cut(5, 1234567.5, 0.9, 0, 3.0)) == "1234560"
    assert shown_threshold(Cut(5, -0.12345678, 0.9, 0, -1.0)) == "-0.123457"


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2, unique=True))
def test_a_shown_threshold_passes_the_same_trials(scores: list[float]) -> None:
    lower, score = sorted(scores)
    shown = float(shown_threshold(Cut(1, score, 0.9, 0, lower)))
    assert lower < shown <= score


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1), min_size=1, max_size=40))
def test_whatever_the_scores_there_is_a_proposal_or_a_reason(scores: list[float]) -> None:
    found = only(run_of(graded(scores)))
    assert (found.refusal is None) == bool(found.cuts)
    assert all(sum(score >= cut.threshold for score in scores) == cut.rank for cut in found.cuts)


def test_what_a_run_says_is_text() -> None:
    trials = graded(TWENTY, threshold=0.8, model="\x1b[31m\x07", label="a\x1b[2J\nb")
    told = text_of(run_of(trials, graded(TWENTY[:3], task="\x9b")))
    assert not [char for char in told.replace("\n", "") if not char.isprintable()]
