"""A sweep's last line: at which values of its parameters a task lands in the band."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from pytest_rltask.report.sweep import Point, Sweep, same_trials
from pytest_rltask.run.planned import PlannedTrial
from tests.conftest import Suite


def sweep(*points: tuple[object, str]) -> str:
    found = [Point({"bugs": value}, verdict, 0.5) for value, verdict in points]
    return str(Sweep("t.py::test_fix", "fix", "policy:null", found))


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([(1, "too easy"), (2, "in band"), (3, "in band")], "in band at bugs=2, bugs=3; too easy at bugs=1"),
        (
            [(4, "too hard"), (1, "too easy"), (2, "too easy")],
            "in band nowhere; too easy at bugs=1, bugs=2; too hard at bugs=4; look between bugs=2 and bugs=4",
        ),
        ([("a", "too hard"), ("b", "too easy")], "in band nowhere; too easy at bugs='b'; too hard at bugs='a'"),
        ([(True, "too hard"), (False, "too easy")], "in band nowhere; too easy at bugs=False; too hard at bugs=True"),
        ([(1, "incomplete"), (2, "undecided")], "in band nowhere; undecided at bugs=2; incomplete at bugs=1"),
        ([(0.5, "too hard"), (0.25, "too hard")], "in band nowhere; too hard at bugs=0.5, bugs=0.25"),
        ([("x" * 90, "in band"), (2, "too hard")], f"in band at bugs='{'x' * 38}…; too hard at bugs=2"),
    ],
)
def test_it_says_where_the_band_is(points: list[tuple[object, str]], said: str):
    assert sweep(*points) == f"fix over bugs by policy:null: {said}"


def test_many_values_are_counted():
    assert sweep(*((n, "in band") for n in range(20))).endswith("bugs=11, 8 more")


def planned(test: str, digest: str, **parameters: object) -> PlannedTrial:
    return PlannedTrial(f"{test}-0", test, "fix", digest, "policy:null", 0, 42, (0.1, 0.4), parameters=parameters)


def test_rows_whose_parameters_do_not_reach_the_task_are_told():
    plan = [
        planned("t.py::test_a[1-x]", "d1", bugs=1, tol=0.1),
        planned("t.py::test_a[1-y]", "d1", bugs=1, tol=0.2),
        planned("t.py::test_a[2-x]", "d2", bugs=2, tol=0.1),
        planned("t.py::test_b[1]", "d1", bugs=1),
        planned("t.py::test_c", "d1"),
    ]

    assert list(same_trials(plan)) == [
        "2 rows play the same trials: t.py::test_a: tol does not reach the task, and may serve the assertion alone"
    ]
    assert list(same_trials(plan[2:])) == []


SWEPT = """
from tasks import *

@dataclass(frozen=True)
class Easier(Sum):
    known: int = 0
    @property
    def policies(self): return {"baseline": knows(*range(42, 42 + self.known))}

@pytest.mark.rltask(task=Easier)
@pytest.mark.parametrize("known", [0, pytest.param(3, id="<b>|3"), 10])
def test_sum(trial):
    assert trial.score >= 1
"""


def test_every_report_ends_its_table_with_the_values_in_the_band(any_suite: Suite):
    any_suite.write(test_sum=SWEPT)

    result = any_suite.run("--junitxml=junit.xml")

    said = "easier over known by policy:baseline: in band at known=3; too easy at known=10; too hard at known=0"
    run = any_suite.run_dirs[-1]
    assert said in " ".join(result.stdout.str().split())
    assert said in (run / "summary.md").read_text()
    assert said in (run / "report.html").read_text()
    (found,) = any_suite.report()["sweeps"]
    assert found["in_band"] == [{"known": 3}]
    assert [point["parameters"] for point in found["points"]] == [{"known": 0}, {"known": 3}, {"known": 10}]
    assert {json.dumps(row["parameters"]) for row in any_suite.report()["rows"]} == {
        '{"known": 0}',
        '{"known": 3}',
        '{"known": 10}',
    }
    junit = ElementTree.parse(any_suite.pytester.path / "junit.xml")
    gates = {case.get("name"): case for case in junit.iter("testcase") if "gate" in str(case.get("name"))}
    properties = [one.attrib for one in gates["test_sum[<b>|3-policy:baseline-gate]"].iter("property")]
    assert {"name": "parameters", "value": "known=3"} in properties


def test_a_shard_judges_no_sweep(suite: Suite):
    suite.write(test_sum=SWEPT)

    suite.run("--shard", "1/2")

    assert suite.report()["sweeps"] == []
