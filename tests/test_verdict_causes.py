"""Why a trial has no grade: each cause by its name, with what to do about it."""

from __future__ import annotations

from pytest_rltask.run.record import CUT_OFF, Fault, Record
from pytest_rltask.verdict import CAUSES, cause_of, is_tolerated


def test_what_the_end_of_a_run_cut_off_is_told_apart_and_not_tolerated():
    fault = Fault("harness", "the run ended before the trial did")
    record = Record("t[run-00]", "t", "d", "fake", 0, 0, label=CUT_OFF, fault=fault)

    assert cause_of(record) == CUT_OFF == "cut off"
    assert not is_tolerated(record)
    assert CAUSES[CUT_OFF].remedy == ""  # it is gone on with


def test_only_what_a_model_cannot_bring_about_is_tolerated():
    assert {name for name, cause in CAUSES.items() if cause.tolerated} == {"api", "sandbox before any code ran"}
