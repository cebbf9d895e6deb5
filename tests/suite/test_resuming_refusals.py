"""Going on with a run on disk: what is reused, what is refused and why, and what the user may have become of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_rltask.analysis.changed import Changed
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Record, Step
from pytest_rltask.suite.resume import Resumption
from tests.suite.test_resuming import SINCE, made, planned, played

# ---- going on ----


class Going:
    """A run on disk with three trials: graded, errored, missing."""

    def __init__(self, path: Path, **header: Any) -> None:
        self.trials = [planned(run) for run in range(3)]
        header = {"id": "a", "schema": 1, "command": "pytest", **header}
        self.writer = RunWriter(path, "main", header)
        self.writer.plan(self.trials)
        self.writer.append(played(self.trials[0]))
        self.writer.append(played(self.trials[1], graded=False))
        self.path = path

    @property
    def resumed(self) -> Resumption:
        return Resumption(self.path, since=SINCE)

    def refusal(self, *, trials: list[PlannedTrial], way: str | None = None, **given: Any) -> str:
        """Say why trials cannot be played as part of it, where episodes are what they were."""
        plan: Any = SimpleNamespace(trials=trials, entries={})
        options = {"changed": [], "sequential": False, "sandbox": "none", **given}
        said = self.resumed.refusal(plan, options.pop("changed"), way=way, **options)
        return said.replace(self.resumed.shown, "RUN")


@pytest.fixture
def going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Going:
    monkeypatch.setattr("pytest_rltask.suite.resume.probed", lambda entry, seed, sandbox: entry)
    return Going(tmp_path / "run")


def test_trials_with_a_grade_are_reused_and_the_others_played(going: Going):
    assert list(going.resumed.reused(going.trials)) == [going.trials[0].trial_id]
    assert going.resumed.reused(going.trials[1:]) == {}
    assert going.resumed.header["path"] == str(going.path)


def test_what_became_of_the_planned_trials_among_the_collected_is_said(going: Going):
    ids = [trial.trial_id for trial in going.trials]

    said = going.resumed.headline([*ids, ids[0], "t.py::test_plain"])

    assert said.endswith(": 1 trial reused, 1 errored one and 1 missing to be played")
    assert said.startswith("rltask: resuming ")
    assert going.resumed.headline(["t.py::test_plain"]) == ""


@pytest.mark.parametrize(
    ("how", "at", "fault", "is_lost"),
    [
        ("replay", SINCE, True, True),
        ("replay", f"{SINCE}9", True, True),
        ("replay", "2026-11-28T11", True, False),  # of an earlier invocation: it is played again
        ("threshold", SINCE, True, False),
        ("replay", SINCE, False, False),
    ],
)
def test_what_could_not_be_graded_anew_just_now_is_not_played(
    tmp_path: Path, how: Any, at: str, fault: bool, is_lost: bool
):
    going = Going(tmp_path / "run")
    steps = [Step("threshold", "2026-11-28T11", "g", ""), Step(how, at, "g", "f changed")]
    trial = going.trials[2]
    record = played(trial, graded=False, history=steps)
    going.writer.append(record if fault else replace(record, fault=None))

    assert (trial.trial_id in going.resumed.reused(going.trials)) is is_lost
    said = going.resumed.headline([trial.trial_id])
    assert said.endswith(", 1 could not be graded anew") is is_lost
    assert ("0 trials reused, none to be played" in said) is is_lost


def test_a_run_that_was_killed_before_its_plan_has_no_trials(tmp_path: Path):
    path = made(tmp_path / "run")

    assert Resumption(path, since=SINCE).headline(["t.py::test_sum[run-00]"]) == ""


SAME = played(planned(0))


def refused(going: Going, seen: Record = SAME, **given: Any) -> str:
    """Say why the same trials cannot be played, where an episode is seen as given."""
    plan: Any = SimpleNamespace(trials=going.trials, entries=dict.fromkeys([t.trial_id for t in going.trials], seen))
    options = {"changed": [], "way": None, "sequential": False, "sandbox": "none", **given}
    said = going.resumed.refusal(plan, options.pop("changed"), **options)
    return said.replace(going.resumed.shown, "RUN")


def grader_changed(going: Going) -> list[Changed]:
    return [Changed(going.trials[0], [played(going.trials[0])], "f changed", None)]


REUSE = "reuse (count them as they are, which every report will say)"
RERUN = "rerun (play them again)"
REGRADE = "regrade (grade the recorded trials anew, without a model)"


def test_where_nothing_changed_nothing_is_refused(going: Going):
    assert refused(going) == ""
    assert refused(going, way="reuse") == ""


def test_a_changed_grader_asks_for_one_of_three_ways(going: Going):
    changed = grader_changed(going)

    assert refused(going, changed=changed) == (
        "--resume RUN: what grades task sum changed: f changed; write "
        f"--resume=RUN --changed={REGRADE}, --resume=RUN --changed={RERUN}, --resume=RUN --changed={REUSE}; "
        "--plan lists what each does"
    )
    for way in ("regrade", "rerun", "reuse"):
        assert refused(going, changed=changed, way=way) == ""
    assert len(changed) == 1


def test_a_changed_prompt_cannot_be_graded_anew(going: Going):
    seen = replace(SAME, prompt_digest="q")
    ways = f"write --resume=RUN --changed={RERUN}, --resume=RUN --changed={REUSE}; --plan lists what each does"
    why = "the prompt of task sum changed (seed 42); no recorded call answers what a model would see now"

    assert refused(going, seen) == f"--resume RUN: {why}; {ways}"
    assert refused(going, seen, way="regrade") == f"--resume RUN --changed=regrade: {why}; {ways}"


@pytest.mark.parametrize("way", ["rerun", "reuse"])
def test_of_a_changed_prompt_the_trials_are_added_to_what_the_user_decides(going: Going, way: str):
    seen, changed = replace(SAME, prompt_digest="q", tools_digest="u"), list[Changed]()

    assert refused(going, seen, way=way, changed=changed) == ""

    assert [one.words for one in changed] == ["the prompt of task sum changed (seed 42)"]
    assert [record.trial_id for record in changed[0].records] == [going.trials[0].trial_id]


def test_where_the_grader_changed_too_its_trials_are_not_added_twice(going: Going):
    changed = grader_changed(going)

    assert refused(going, replace(SAME, prompt_digest="q"), way="rerun", changed=changed) == ""
    assert [one.words for one in changed] == ["f changed"]


def test_another_limit_is_refused_whatever_way_is_chosen(going: Going):
    going.trials = [replace(trial, limits={"turns": 12}) for trial in going.trials]

    for way in (None, "rerun", "reuse"):
        assert refused(going, way=way) == (
            "--resume RUN: limit turns of task sum was 10, is 12; undo that, or play a new run without --resume"
        )
    said = refused(going, changed=grader_changed(going))
    assert said.startswith("--resume RUN: limit turns of task sum was 10, is 12; what grades task sum changed: f ch")


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        (False, True, "not given, and is now"),
        (True, False, "given, and is no more"),
        (True, True, ""),
        (None, True, ""),
    ],
)
def test_trials_that_are_told_of_others_and_those_that_are_not_do_not_mix(
    tmp_path: Path, was: bool | None, now: bool, said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pytest_rltask.suite.resume.probed", lambda entry, seed, sandbox: entry)
    going = Going(tmp_path / "run", **({} if was is None else {"sequential": was}))

    told = refused(going, sequential=now)

    assert told == (
        f"--resume RUN: --sequential was {said}; undo that, or play a new run without --resume" if said else ""
    )


def test_where_no_trial_has_a_grade_sequential_may_change(tmp_path: Path):
    writer = RunWriter(tmp_path / "run", "main", {"id": "a", "schema": 1, "command": "pytest", "sequential": True})
    writer.plan([planned(0)])
    writer.append(played(planned(0), graded=False))
    plan: Any = SimpleNamespace(trials=[planned(0)], entries={})

    resumed = Resumption(tmp_path / "run", since=SINCE)
    assert resumed.refusal(plan, [], way=None, sequential=False, sandbox="none") == ""


@pytest.mark.parametrize(
    ("way", "counts", "history"), [("rerun", False, []), ("reuse", True, ["reuse"]), (None, True, [])]
)
def test_what_the_user_chose_is_done_to_the_recorded_trials(
    going: Going, way: str | None, counts: bool, history: list[str]
):
    resumed, trial = going.resumed, going.trials[0]
    plan: Any = SimpleNamespace(trials=going.trials, entries={})

    resumed.decide(way, grader_changed(going), plan, going.writer, "none")

    assert (trial.trial_id in resumed.reused(going.trials)) is counts
    if counts:
        assert [step.how for step in resumed.run.records[trial.trial_id].history] == history


def test_recorded_trials_whose_grader_changed_are_found_by_test(going: Going):
    today: Any = SimpleNamespace()
    now = [replace(trial, grader="new") for trial in going.trials]

    (one,) = going.resumed.changed(now, {"new": today}, None)

    assert [record.trial_id for record in one.records] == [going.trials[0].trial_id]
    assert one.words == "an earlier version did not record what graded it"
    assert going.resumed.changed(going.trials, {}, None) == []
