"""The page of a run that goes on: there while trials are played, bounded in cost, and out of the way at the end."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from pytest_rltask.report import html_live
from pytest_rltask.report.files import write_page
from pytest_rltask.report.html_live import LivePage, pause_s
from pytest_rltask.run.load import Run
from pytest_rltask.run.log import RunWriter
from tests.conftest import SUITE, TEST, Suite
from tests.report.pages import by_class, plan, record, text_of, tree

HEADER = {"schema": 1, "id": "a", "created": "", "command": "pytest", "gate": "point"}
PATIENT = """
import pathlib, time

def patient(view):
    until = time.monotonic() + 30
    while view.seed > 42 and time.monotonic() < until:
        pages = [page.read_text() for page in pathlib.Path(LOGS).glob("*/report.html")]
        if any('data-outcome="passed"' in page for page in pages):
            break
        time.sleep(0.01)
    assert view.seed == 42 or "data-refresh=" in pages[0]
    yield call("submit", number=view.seed + 1)

Sum.policies["patient"] = patient
"""


class Written:
    """Pages that were written, seen from the thread that waits for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.looks, self.total = threading.Semaphore(0), threading.Semaphore(0), 0
        monkeypatch.setattr(html_live, "monotonic_s", self.look)
        monkeypatch.setattr(html_live, "write_page", self.write)
        monkeypatch.setattr(html_live, "FIRST_S", 0.0)
        monkeypatch.setattr(html_live, "LEAST_S", 0.001)
        monkeypatch.setattr(html_live, "SHARE", 0)

    def write(self, run: Run, page: Iterable[str]) -> None:
        write_page(run, page)
        self.total += 1
        self.count.release()

    def look(self) -> float:
        self.looks.release()
        return 0.0

    def look_often(self) -> None:
        while self.looks.acquire(blocking=False):
            pass
        for _ in range(20):
            assert self.looks.acquire(timeout=30)

    def one(self) -> bool:
        return self.count.acquire(timeout=30)


def test_the_pause_behind_a_page_is_a_hundred_times_what_it_took():
    assert pause_s(0.03) == 10
    assert pause_s(2.0) == 200


def test_a_page_is_written_anew_once_there_is_something_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written, trials = Written(monkeypatch), plan("sums", "policy:solver", 3)
    writer = RunWriter(tmp_path / "run", "main", HEADER)
    writer.plan(trials)
    writer.start(trials[0].trial_id)
    page = LivePage(writer.path, "point", stop_early=False)
    try:
        assert written.one()
        first = tree((writer.path / "report.html").read_text())
        writer.start(trials[1].trial_id)
        writer.append(record(trials[1], "errored", 0.5, fault=None))  # its test has yet to decide
        writer.append(record(trials[0], "passed", 1.0))
        while not (writer.path / "report.html").read_text().count('data-outcome="passed"'):
            assert written.one()
        second = tree((writer.path / "report.html").read_text())
        written.look_often()  # what was appended while it was written makes one more
        total = written.total
        written.look_often()
        assert written.total == total, "no page without news"
    finally:
        page.stop()

    outcomes = [
        [line.get("data-outcome") for line in one.iter("tr") if line.get("data-run")] for one in (first, second)
    ]
    assert outcomes == [["in flight", "waiting", "waiting"], ["passed", "in flight", "waiting"]]
    assert text_of(second.find(".//h1")) == "The run goes on: 1 of 3 trials have ended"
    assert text_of(by_class(second, "verdict")[0]).startswith("not over")
    assert second.findall("body")[0].get("data-refresh") == "0"


def test_the_end_of_a_run_does_not_wait_for_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written, trials = Written(monkeypatch), plan("sums", "policy:solver", 3)
    writer = RunWriter(tmp_path / "run", "main", HEADER)
    writer.plan(trials)
    writer.append(record(trials[0], "passed", 1.0))
    begun, stopping = threading.Event(), threading.Event()

    def endless(*_: object, **__: object) -> Iterator[str]:
        begun.set()
        stopping.wait(30)
        while True:
            yield "piece"

    monkeypatch.setattr(html_live, "pieces", endless)
    page = LivePage(writer.path, "point", stop_early=False)
    assert begun.wait(30)
    stopping.set()
    page.stop()

    assert sorted(path.name for path in writer.path.iterdir() if "report" in path.name) == []
    assert not written.count.acquire(blocking=False)


def test_a_run_has_a_page_while_it_goes_on(any_suite: Suite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(html_live, "FIRST_S", 0.05)
    monkeypatch.setattr(html_live, "LEAST_S", 0.05)
    tasks = SUITE + PATIENT.replace("LOGS", repr(str(any_suite.pytester.path / "logs")))
    any_suite.pytester.makepyfile(tasks=tasks, test_sum=TEST)

    result = any_suite.run("--runs", "2", "--concurrency", "1", model="policy:patient")

    result.assert_outcomes(passed=2, failed=1)  # and the gate, for two of two
    page = (any_suite.run_dirs[-1] / "report.html").read_text()
    assert not re.search("data-refresh|The run goes on", page)
    assert [path.name for path in any_suite.run_dirs[-1].glob(".report*")] == []
