"""What each worker of pytest-xdist is given under `--sequential`, told by workers that only note it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_rltask.record import SCHEMA_VERSION
from pytest_rltask.runlog import PlannedTrial, RunWriter
from pytest_rltask.scheduling import SequentialScheduling

TRIALS = [f"test_a.py::test_{task}[run-{run:02d}]" for task in "ab" for run in range(4)]
ITEMS = [*TRIALS, *(f"test_b.py::test_plain[run-{number:02d}]" for number in range(3))]


class Worker:
    """A worker that notes what it is given."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.given: list[str] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        assert not self.shutting_down
        self.given += [ITEMS[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def scheduling(pytester: pytest.Pytester) -> SequentialScheduling:
    """A scheduler of two workers and a plan of two tasks."""
    run_dir = pytester.path / "run"
    writer = RunWriter(run_dir, "gw0", {"schema": SCHEMA_VERSION, "id": "a"})
    writer.plan([PlannedTrial(trial, "test", "task", "d" * 16, "policy:null", 0, 42, (0.1, 0.4)) for trial in TRIALS])

    def planned_by_now() -> Path:
        return run_dir

    return SequentialScheduling(pytester.parseconfig("--tx=2*popen"), None, planned_by_now)


def start(scheduling: SequentialScheduling, name: str, collected: Sequence[str] = ITEMS) -> Worker:
    """Let a worker start and collect."""
    scheduling.add_node(worker := Worker(name))
    scheduling.add_node_collection(worker, collected)
    if scheduling.collection_is_completed:
        scheduling.schedule()
    return worker


def finish(scheduling: SequentialScheduling, worker: Worker, *items: str) -> None:
    """Let a worker complete items."""
    for item in items:
        scheduling.mark_test_complete(worker, ITEMS.index(item))


def test_a_worker_gets_a_whole_task_and_more_only_when_one_item_is_left(scheduling: SequentialScheduling):
    first, second = start(scheduling, "gw0"), start(scheduling, "gw1")
    assert (first.given, second.given) == (TRIALS[:4], TRIALS[4:])

    finish(scheduling, first, *TRIALS[:2])
    assert len(first.given) == 4

    finish(scheduling, first, TRIALS[2])
    assert first.given[4:] == ITEMS[8:9]


def test_what_a_dead_worker_left_is_given_on_in_order_without_what_killed_it(scheduling: SequentialScheduling):
    first, second = start(scheduling, "gw0"), start(scheduling, "gw1")
    finish(scheduling, second, *TRIALS[4:7], ITEMS[8], ITEMS[9])  # and so holds the last two items
    finish(scheduling, first, TRIALS[0])

    assert scheduling.remove_node(first) == TRIALS[1]
    assert not scheduling.tests_finished
    replacement = start(scheduling, "gw2")

    assert replacement.given == TRIALS[2:4]
    finish(scheduling, replacement, TRIALS[2])
    assert replacement.shutting_down, "there is nothing more, which lets it play its last"


def test_a_replacement_is_given_nothing_before_it_has_collected(scheduling: SequentialScheduling):
    first, second = start(scheduling, "gw0"), start(scheduling, "gw1")
    scheduling.remove_node(first)
    scheduling.remove_node(second)

    scheduling.add_node(slow := Worker("gw2"))
    quick = start(scheduling, "gw3")

    assert (quick.given, slow.given) == (ITEMS[8:10], [])


def test_a_replacement_that_collected_otherwise_is_sent_home(scheduling: SequentialScheduling):
    first, _ = start(scheduling, "gw0"), start(scheduling, "gw1")
    scheduling.remove_node(first)

    other = start(scheduling, "gw2", ITEMS[:-1])

    assert other.shutting_down
    assert other.given == []


def test_a_worker_that_has_done_its_work_leaves_nothing(scheduling: SequentialScheduling):
    first, second = start(scheduling, "gw0"), start(scheduling, "gw1")
    for item in first.given:  # which grows meanwhile
        finish(scheduling, first, item)
    finish(scheduling, second, *second.given)

    assert scheduling.tests_finished
    assert scheduling.remove_node(first) is None
    assert not scheduling.has_pending
