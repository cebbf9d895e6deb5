"""The gate, and trials that missed, in the files that reporting plugins of others write."""

from __future__ import annotations

import html
import json
import re

import pytest

from tests.conftest import WAYS, WAYS_IDS, Suite

MODELS = ("--model=policy:null", "--model=policy:baseline", "--runs=4")
FAILED, HELD = "test_sum.py::test_sum[policy:null-gate]", "test_sum.py::test_sum[policy:baseline-gate]"


def play(suite: Suite, workers: tuple[str, ...], *arguments: str) -> None:
    """Play two models of which one fails the gate, in a process of its own, which loads each plugin once."""
    result = suite.pytester.runpytest_subprocess(*MODELS, *workers, *arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("workers", WAYS, ids=WAYS_IDS)
def test_pytest_html_shows_the_gate(suite: Suite, workers: tuple[str, ...]):
    pytest.importorskip("pytest_html")

    play(suite, workers, "--html=report.html", "--self-contained-html")

    page = (suite.pytester.path / "report.html").read_text()
    found = re.search(r'data-jsonblob="([^"]*)"', page)
    assert found
    tests = json.loads(html.unescape(found[1]))["tests"]
    results = {name: rows[0]["result"] for name, rows in tests.items()}
    assert (results.pop(FAILED), results.pop(HELD)) == ("Failed", "Passed")
    assert set(results.values()) == {"Passed"}
    assert "too hard, not proven: pass rate 0/4" in tests[FAILED][0]["log"]


@pytest.mark.parametrize("workers", WAYS, ids=WAYS_IDS)
def test_pytest_json_report_shows_the_gate(suite: Suite, workers: tuple[str, ...]):
    pytest.importorskip("pytest_jsonreport")

    play(suite, workers, "--json-report", "--json-report-file=report.json")

    report = json.loads((suite.pytester.path / "report.json").read_text())
    tests = {test["nodeid"]: test for test in report["tests"]}
    assert (tests[FAILED]["outcome"], tests[HELD]["outcome"]) == ("failed", "in band")
    assert tests[FAILED]["lineno"] == 2
    assert report["exitcode"] == 1
    assert sorted(test["outcome"] for test in report["tests"]).count("missed") == 7


@pytest.mark.parametrize("workers", WAYS, ids=WAYS_IDS)
def test_allure_shows_the_gate(suite: Suite, workers: tuple[str, ...]):
    pytest.importorskip("allure_pytest")

    play(suite, workers, "--alluredir=results")

    results = [json.loads(path.read_text()) for path in (suite.pytester.path / "results").glob("*-result.json")]
    statuses = {result["name"]: result["status"] for result in results}
    assert len(results) == 10
    assert statuses.pop("test_sum[policy:null-gate]") == "failed"
    assert set(statuses.values()) == {"passed"}
    (failed,) = [result for result in results if result["status"] == "failed"]
    assert failed["fullName"] == "test_sum.py:3#test_sum[policy:null-gate]"
    assert failed["statusDetails"]["message"].startswith("too hard, not proven: pass rate 0/4")
