"""Equal faults are told once; what a fault is equal by."""

from __future__ import annotations

from dataclasses import InitVar, dataclass

import pytest

from pytest_rltask.report.faults import folded, grouped
from pytest_rltask.run.record import Fault, Record


def raised(*lines: int, said: str = "no", kind: str = "ValueError", code_ran: bool | None = None) -> Fault:
    """Make the fault of a task that raised at some lines, one called by the other."""
    frames = "".join(f'  File "task.py", line {line}, in grade\n    f()\n    ^^^\n' for line in lines)
    told = f"Traceback (most recent call last):\n{frames}{kind}: {said}\n"
    return Fault("task", f"the grader: {kind}: {said}", details=told, code_ran=code_ran)


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        (raised(7, 9), True),
        (raised(7, 9, said="of another seed"), True),
        (raised(7, 9, said="in several\nlines\n\n  of: text"), True),
        (raised(7, 9, kind="TypeError"), False),
        (raised(7, 8), False),
        (raised(9), False),
        (Fault("task", "the grader: ValueError: no"), False),
        (Fault("harness", "the grader: ValueError: no", details=raised(7, 9).details), False),
    ],
)
def test_faults_are_equal_by_their_place(other: Fault, equal: bool):
    assert (raised(7, 9).place == other.place) == equal


def test_faults_without_a_traceback_are_equal_by_what_they_say():
    assert Fault("api", "down").place == Fault("api", "down").place != Fault("api", "up").place


def errored(run: int, fault: Fault | None) -> Record:
    """Make the record of an errored trial."""
    return Record(f"t.py::t[run-{run:02d}]", "t", "d", "m", run, run, reason="not judged", fault=fault)


def test_equal_faults_are_grouped_the_most_frequent_first_with_their_trials_in_order():
    faults = {5: raised(1, said="five"), 1: raised(1, said="one"), 2: Fault("api", "down"), 3: None, 4: raised(1)}

    first, *others = grouped(errored(run, fault) for run, fault in faults.items())

    assert (first.trials, first.tolerated) == (("run-01", "run-04", "run-05"), False)
    assert str(first) == "3 x task fault: the grader: ValueError: one"
    assert "ValueError: one" in first.details
    assert [(other.cause, other.tolerated) for other in others] == [("api", True), ("test", False)]


def test_a_fault_of_the_sandbox_is_not_told_together_with_one_that_is_tolerated():
    early, late = (Fault("sandbox", "no room", code_ran=ran) for ran in (False, True))

    groups = grouped([errored(0, early), errored(1, late), errored(2, early)])

    assert [(group.trials, group.tolerated) for group in groups] == [(("run-00", "run-02"), True), (("run-01",), False)]


@dataclass
class Report:
    """What folding reads of pytest's reports."""

    nodeid: str
    longrepr: object
    fault: InitVar[str | None] = None

    def __post_init__(self, fault: str | None) -> None:
        if fault:
            self.rltask_fault = fault


def test_reports_of_equal_faults_are_folded_and_others_left():
    reports = [Report(f"t.py::t[run-{run}]", f"said by {run}\n", "a" if run != "01" else "b") for run in ("00", "01")]
    reports += [Report(f"t.py::t[run-{run}]", "again", "a") for run in (*range(100, 130), "09")]
    reports += [Report("t.py::other", "x"), Report("t.py::another", "x")]

    one, *others = folded(reports)

    assert others[1:] == reports[-2:]
    assert str(others[0].longrepr) == "said by 01"
    assert [report.longrepr.reprcrash.message for report in (one, others[0])] == ["said by 00", "said by 01"]
    lines = str(one.longrepr).splitlines()
    assert lines[:3] == [
        "said by 00",
        "",
        f"32 trials: run-00, run-09, {', '.join(f'run-{n}' for n in range(100, 108))},",
    ]
    assert all(len(line) <= 100 for line in lines)
    assert reports[0].longrepr == "said by 00\n"
