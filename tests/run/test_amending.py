"""Which record of a trial counts, with which grade: by time, in whatever order its files are read."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from pytest_rltask.run.amendments import Amendments, amend, begun, counting
from pytest_rltask.run.record import Fault, Outcome, Record

TRIAL = "test_sum[run-00]"


def at(second: int) -> str:
    return f"2026-11-28T10:00:{second:02d}+00:00"


def played(second: int, outcome: Outcome = "failed", **fields: Any) -> Record:
    """Make the record of a trial that began at a second."""
    score = None if outcome == "errored" else 0.5
    return Record(TRIAL, "sum", "d", "fake", 0, 42, outcome, **{"score": score, "started": at(second), **fields})


def asserted(second: int, outcome: str, why: str = "") -> dict[str, Any]:
    return {"type": "assertion", "trial_id": TRIAL, "outcome": outcome, "why": why, "at": at(second)}


def step(second: int, started: int, how: str = "replay", grader: str = "new", **now: Any) -> dict[str, Any]:
    own = {"how": how, "grader": grader, "changes": "f changed", "now": now}
    return {"type": "step", "trial_id": TRIAL, "started": at(started), "at": at(second), **own}


def counted(records: list[Record], *entries: dict[str, Any]) -> tuple[Record | None, list[Record]]:
    amendments = Amendments()
    for entry in entries:
        assert amendments.note(entry)
    return amendments.counted(records)


# ---- of several records ----


@pytest.mark.parametrize(
    ("outcomes", "which"),
    [
        (["failed", "passed"], 0),
        (["errored", "passed", "failed"], 1),
        (["errored", "errored"], 1),
        (["passed", "errored"], 0),
        (["errored", "failed", "errored"], 1),
        (["errored", "errored", "errored"], 2),
    ],
)
def test_the_first_grade_counts_or_else_the_last_record_in_any_order(outcomes: list[Outcome], which: int):
    records = [played(second, outcome) for second, outcome in enumerate(outcomes)]

    for order in itertools.permutations(records):
        counts, rest = counted(list(order))
        assert counts is records[which]
        assert sorted(one.started for one in rest) == [one.started for one in records if one is not records[which]]


def test_of_records_of_one_moment_the_one_read_first_counts_if_it_has_a_grade():
    one, other = played(1, "passed"), played(1, "failed")
    lost, again = played(1, "errored"), played(1, "errored")

    assert counting(one, other) == (one, other)
    assert counting(lost, again)[0] is again


def test_what_is_to_be_played_again_counts_no_more_and_what_is_played_then_does():
    old, new = played(1, "passed"), played(5, "failed")
    superseded = {"type": "superseded", "trial_id": TRIAL, "at": at(3)}

    assert counted([old], superseded) == (None, [old])
    assert counted([old, new], superseded) == (new, [old])
    assert counted([old, new]) == (old, [new])
    assert counted([played(3)], superseded)[0] is not None


def test_the_latest_word_on_playing_again_counts():
    old = played(4, "passed")
    words = [{"type": "superseded", "trial_id": TRIAL, "at": at(second)} for second in (5, 2)]

    assert counted([old], *words) == counted([old], *reversed(words)) == (None, [old])


# ---- assertions ----


def test_the_last_assertion_counts_in_any_order():
    words = [asserted(2, "failed", "one"), asserted(4, "passed", "three"), asserted(3, "failed", "two")]

    for order in itertools.permutations(words):
        counts, _ = counted([played(1, "failed")], *order)
        assert counts is not None
        assert (counts.outcome, counts.reason) == ("passed", "three")


@pytest.mark.parametrize(("second", "outcome"), [(0, "failed"), (1, "passed"), (2, "passed")])
def test_an_assertion_judges_no_record_that_began_later(second: int, outcome: str):
    counts, _ = counted([played(1, "failed")], asserted(second, "passed"))

    assert counts is not None
    assert counts.outcome == outcome


def test_an_assertion_without_a_time_of_an_earlier_version_counts():
    counts, _ = counted([played(1, "failed")], {**asserted(0, "passed"), "at": ""})

    assert counts is not None
    assert counts.outcome == "passed"


def test_a_trial_without_a_grade_is_judged_by_no_assertion():
    counts, _ = counted([played(1, "errored", fault=Fault("api", "down"))], asserted(2, "passed"))

    assert counts is not None
    assert counts.outcome == "errored"


def test_a_record_that_is_amended_stays_as_it_was_itself():
    record = played(1, "failed")

    counts, _ = counted([record], step(2, 1, outcome="passed"), asserted(3, "failed", "no"))

    assert counts is not None
    assert (record.outcome, record.history, record.grader) == ("failed", [], "")
    assert (counts.outcome, len(counts.history)) == ("failed", 1)


# ---- steps ----


def test_a_step_gives_the_grade_that_it_says_and_keeps_what_was():
    record = played(1, "failed", grader="old", label="low", fault=None)

    counts, _ = counted([record], step(2, 1, outcome="passed", score=0.9, label="", turns=99))

    assert counts is not None
    assert (counts.outcome, counts.score, counts.label, counts.grader) == ("passed", 0.9, "", "new")
    assert counts.turns == 0  # no grader decides that
    (kept,) = counts.history
    assert (kept.how, kept.at, kept.grader, kept.changes) == ("replay", at(2), "new", "f changed")
    assert (kept.before["outcome"], kept.before["score"], kept.before["grader"]) == ("failed", 0.5, "old")
    assert kept.before["fault"] is None


def test_steps_are_taken_by_time_whatever_order_they_are_read_in():
    steps = [step(4, 1, grader="third", outcome="failed"), step(2, 1, grader="second", outcome="passed")]

    for order in itertools.permutations(steps):
        counts, _ = counted([played(1, "failed", grader="first")], *order)
        assert counts is not None
        assert [(one.grader, one.before["grader"]) for one in counts.history] == [
            ("second", "first"),
            ("third", "second"),
        ]
        assert counts.outcome == "failed"


def test_a_step_is_of_the_record_that_began_when_it_says():
    records = [played(1, "failed"), played(5, "failed")]

    counts, rest = counted(records, step(7, 5, outcome="passed"))

    assert counts is records[0]
    assert [one.outcome for one in rest] == ["passed"]


def test_a_fault_is_taken_lifted_or_left_as_the_step_says():
    fault = Fault("task", "the grader: KeyError")
    errored = played(1, "errored", fault=fault)

    taken, _ = counted([played(1)], step(2, 1, outcome="errored", fault={"kind": "task", "message": "m", "later": 1}))
    lifted, _ = counted([errored], step(2, 1, outcome="passed", fault=None, score=1.0))
    left, _ = counted([errored], step(2, 1, label="other"))

    assert taken is not None
    assert taken.fault == Fault("task", "m")
    assert taken.history[0].before["fault"] is None
    assert lifted is not None
    assert lifted.fault is None
    assert lifted.history[0].before["fault"]["message"] == "the grader: KeyError"
    assert left is not None
    assert left.fault == fault


@pytest.mark.parametrize(("how", "taken_as"), [("threshold", "threshold"), ("replay", "replay"), ("some way", "reuse")])
def test_a_way_of_a_later_version_leaves_the_grade_to_the_user(how: str, taken_as: str):
    counts, _ = counted([played(1)], step(2, 1, how=how, outcome="passed"))

    assert counts is not None
    assert counts.history[0].how == taken_as


@pytest.mark.parametrize(("second", "outcome"), [(1, "failed"), (2, "passed"), (3, "passed")])
def test_an_assertion_before_a_step_judged_the_grade_of_then(second: int, outcome: str):
    counts, _ = counted([played(1)], step(2, 1, outcome="failed"), asserted(second, "passed"))

    assert counts is not None
    assert counts.outcome == outcome
    assert counts.history[0].before["outcome"] == ("passed" if second < 2 else "failed")


def is_asserted(record: Record, *entries: dict[str, Any]) -> bool:
    amendments = Amendments()
    for entry in entries:
        amendments.note(entry)
    counts, _ = amendments.counted([record])
    assert counts is not None
    return amendments.is_asserted(counts)


@pytest.mark.parametrize(
    ("entries", "is_judged"),
    [
        ([], False),
        ([asserted(0, "passed")], False),
        ([asserted(1, "passed")], True),
        ([asserted(2, "passed")], True),
        ([{**asserted(0, "passed"), "at": ""}], True),
        ([asserted(2, "passed"), step(3, 1, outcome="failed")], False),
        ([step(3, 1, outcome="failed"), asserted(3, "passed")], True),
        ([step(2, 1), step(4, 1), asserted(3, "passed")], False),
    ],
)
def test_whether_an_assertion_judged_the_grade_that_a_record_has(entries: list[dict[str, Any]], is_judged: bool):
    assert is_asserted(played(1), *entries) is is_judged


# ---- lines ----


def test_a_line_that_amends_nothing_is_left_to_others():
    assert Amendments().note({"type": "trial", "trial_id": TRIAL}) is False
    assert Amendments().note({}) is False


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "assertion", "outcome": "passed"}, "not a test's assertion: it has no 'why'"),
        ({"type": "assertion", "why": ""}, "not a test's assertion: it has no 'outcome'"),
        (asserted(1, "won"), "unknown outcome 'won'"),
        ({"type": "step"}, "not a step of a grade: it has no 'now'"),
        (step(1, 1, outcome="won"), "unknown outcome 'won'"),
    ],
)
def test_a_line_that_says_not_what_it_ought_to_is_refused(entry: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        Amendments().note(entry)


@pytest.mark.parametrize(
    ("outcome", "to", "label"),
    [
        ("failed", "passed", ""),
        ("passed", "errored", "not judged"),
        ("passed", "failed", "assertion"),
        ("failed", "failed", "low"),
    ],
)
def test_a_trial_that_an_assertion_overrules_is_labelled_so(outcome: Outcome, to: Outcome, label: str):
    record = played(1, outcome, label="low", reason="before")

    amend(record, to, "")
    assert (record.outcome, record.label, record.reason) == (to, label, "before")
    amend(record, to, "after")
    assert (record.label, record.reason) == (label, "after")


@pytest.mark.parametrize(
    ("starts", "began"), [([], 5), ([3], 3), ([1, 3, 4], 4), ([4, 1], 4), ([5], 5), ([6], 5), ([2, 6], 2)]
)
def test_a_trial_was_begun_when_that_was_written_last_before_its_record(starts: list[int], began: int):
    assert begun(played(5), [at(second) for second in starts]) == at(began)


def test_what_is_replaced_in_no_way_is_the_same():
    record = played(1)

    assert counted([record]) == (replace(record), [])
