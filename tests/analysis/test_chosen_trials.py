"""Which trial is meant by what a person types, and where a conversation matches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_rltask.analysis.trials import NoSuchTrial, Selection, find_trial, matches, short_names
from pytest_rltask.run.load import Run, load_run
from pytest_rltask.run.planned import PlannedTrial
from tests.run.of_97dd2a8 import WRITTEN
from tests.run.written import record_of


def planned(task: str, run: int, model: str = "m", *, test: str = "", inside: str = "") -> PlannedTrial:
    test = test or f"t.py::test_{task}"
    return PlannedTrial(f"{test}[{inside or f'run-{run:02d}'}]", test, task, "d", model, run, run, (0.1, 0.4))


def run_of(*trials: PlannedTrial) -> Run:
    return Run(Path("logs/run_1"), {}, list(trials))


ONE_MODEL = run_of(*(planned(task, run) for task in ("imbalance", "vault") for run in range(12)))
MODELS = run_of(*(planned("sum", run, model, inside=f"{model}-run-{run:02d}") for model in "ab" for run in range(3)))


@pytest.mark.parametrize(
    "wanted",
    ["t.py::test_vault[run-03]", "test_vault[run-03]", "vault/3", "vault-run-03", "vault-run-03.txt", "VAULT[RUN-03"],
)
def test_a_trial_is_found_by_each_of_its_names(wanted: str) -> None:
    assert find_trial(ONE_MODEL, wanted).trial_id == "t.py::test_vault[run-03]"


def test_a_whole_name_is_meant_before_a_part_of_others() -> None:
    assert find_trial(ONE_MODEL, "vault/1").run == 1
    assert find_trial(run_of(*ONE_MODEL.plan[:12]), "1").run == 1


def test_a_name_of_several_is_answered_with_their_names() -> None:
    with pytest.raises(NoSuchTrial, match=r"'run-03' means 2 trials of run_1: imbalance/3, vault/3$"):
        find_trial(ONE_MODEL, "run-03")
    with pytest.raises(NoSuchTrial, match=r"'sum/2' means 2 trials of run_1: sum/2@a, sum/2@b$"):
        find_trial(MODELS, "sum/2")
    with pytest.raises(NoSuchTrial, match=r"means 24 trials .*, \.\.\.$"):
        find_trial(ONE_MODEL, "run-")


def test_a_name_of_none_is_answered_with_those_like_it() -> None:
    with pytest.raises(NoSuchTrial, match=r"no trial of run_1 is named 'valut/3'; there are 24: vault/3, "):
        find_trial(ONE_MODEL, "valut/3")
    with pytest.raises(NoSuchTrial, match="there are 0"):
        find_trial(run_of(), "x")


def test_models_are_told_apart_and_a_parameter_too() -> None:
    assert find_trial(MODELS, "sum/2@b").trial_id == "t.py::test_sum[b-run-02]"
    assert find_trial(MODELS, "b-run-02").model == "b"
    sides = load_run(WRITTEN / "policies")
    assert find_trial(sides, "sides[far]/1").trial_id == "guesses.py::test_sides[run-01-far]"


def test_trials_of_one_task_in_two_tests_go_by_their_ids() -> None:
    run = run_of(planned("sum", 0, test="t.py::test_a"), planned("sum", 0, test="t.py::test_b"))
    assert list(short_names(run).values()) == ["t.py::test_a[run-00]", "t.py::test_b[run-00]"]


def test_all_names_of_a_run_can_be_typed() -> None:
    for run in (ONE_MODEL, MODELS, load_run(WRITTEN / "policies"), load_run(WRITTEN / "claude")):
        for trial_id, name in short_names(run).items():
            assert find_trial(run, name).trial_id == trial_id


def test_trials_are_selected_by_how_they_ended() -> None:
    missed, passed = record_of(label="No submission"), record_of(outcome="passed")
    cheated, errored = record_of(outcome="cheated", label="tampering"), record_of(outcome="errored", label="api fault")
    of = Selection(failed=True).takes
    assert [of(one) for one in (missed, cheated, passed, errored, None)] == [True, True, False, False, False]
    assert Selection(label="SUBMISSION").takes(missed)
    assert not Selection(failed=True, label="api").takes(errored)
    assert Selection().takes(None)


SAID = "head\n\n--- prompt ---\na\nb\nc\nd\nneedle 1\n\n--- turn 1 · model ---\nneedle 2\ne\nf\nneedle 3\n"
TEXT = f"{SAID}\n--- passed ---\n"


def test_matches_stand_in_their_part_with_the_lines_around() -> None:
    found = [(place.title, [line for line, _ in place.lines]) for place in matches(TEXT, re.compile("needle"))]
    assert found == [("prompt", ["c", "d", "needle 1"]), ("turn 1 · model", ["needle 2", "e", "f", "needle 3"])]
    (place,) = matches(TEXT, re.compile("^d$"))
    assert place.lines == (("b", False), ("c", False), ("d", True), ("needle 1", False))


def test_titles_do_not_match_and_empty_lines_may() -> None:
    assert list(matches(TEXT, re.compile("turn 1"))) == []
    assert [place.title for place in matches("a\n\nb\n\n--- x ---\nc\n", re.compile("^$"))] == [""]
