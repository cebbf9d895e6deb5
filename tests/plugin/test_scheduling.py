"""What each worker of pytest-xdist is given, with `--sequential` and without, told by workers that only note it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling, LoadScheduling, LoadScopeScheduling, WorkStealingScheduling

from pytest_rltask.clock import utc_now
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import SCHEMA_VERSION, Record
from pytest_rltask.suite.scheduling import SequentialScheduling
from pytest_rltask.suite.shares import SharesScheduling, deal_out

TRIALS = [f"test_a.py::test_{task}[run-{run:02d}]" for task in "ab" for run in range(4)]
ITEMS = [*TRIALS, *(f"test_b.py::test_plain[run-{number:02d}]" for number in range(3))]


class Worker:
    """A worker that notes what it is given."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.given: list[str] = []
        self.completed: list[str] = []
        self.collected: Sequence[str] = ITEMS
        self.shutting_down = False

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        assert not self.shutting_down
        self.given += [self.collected[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def writer(pytester: pytest.Pytester) -> RunWriter:
    """The run directory, with a plan of two tasks."""
    writer = RunWriter(pytester.path / "run", "gw0", {"schema": SCHEMA_VERSION, "id": "a"})
    writer.plan([PlannedTrial(trial, "test", "task", "d" * 16, "policy:null", 0, 42, (0.1, 0.4)) for trial in TRIALS])
    return writer


@pytest.fixture
def scheduling(pytester: pytest.Pytester, writer: RunWriter) -> SequentialScheduling:
    """A scheduler of two workers."""

    def planned_by_now() -> Path:
        return writer.path

    return SequentialScheduling(pytester.parseconfig("--tx=2*popen"), None, planned_by_now)


def start(scheduling: Any, name: str, collected: Sequence[str] = ITEMS) -> Worker:
    """Let a worker start and collect."""
    scheduling.add_node(worker := Worker(name))
    worker.collected = collected
    scheduling.add_node_collection(worker, list(collected))
    if scheduling.collection_is_completed:
        scheduling.schedule()
    return worker


def finish(scheduling: Any, worker: Worker, *items: str) -> None:
    """Let a worker complete items."""
    for item in items:
        worker.completed.append(item)
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


# ---- shares ----

SHARES = TRIALS[0::2], TRIALS[1::2]


@pytest.fixture
def shares(pytester: pytest.Pytester, writer: RunWriter) -> Any:
    """The scheduler of two workers to which trials are dealt in shares."""
    config = pytester.parseconfig("--tx=2*popen")
    return deal_out(config, None, LoadScheduling(config), lambda: writer)


def record(trial_id: str) -> Record:
    """Return a finished trial's record."""
    return Record(
        trial_id=trial_id, task="task", task_digest="d" * 16, model="policy:null", run=0, seed=42, outcome="passed"
    )


def play_out(scheduling: Any, *workers: Worker) -> list[str]:
    """Let workers complete all that they are given, until there is no more; return what they completed, in order."""
    completed: list[str] = []
    progress = True
    while progress:
        progress = False
        for worker in workers:
            due = [item for item in worker.given if item not in worker.completed]
            if len(due) > 1 or (due and worker.shutting_down):
                finish(scheduling, worker, due[0])
                completed.append(due[0])
                progress = True
    return completed


def test_each_worker_gets_a_share_two_items_at_a_time(shares: Any):
    first, second = start(shares, "gw0"), start(shares, "gw1")
    assert (first.given, second.given) == (list(SHARES[0][:2]), list(SHARES[1][:2]))

    finish(shares, first, SHARES[0][0])
    assert first.given == list(SHARES[0][:3])

    play_out(shares, first, second)
    assert first.given[:4] == list(SHARES[0])
    assert second.given[:4] == list(SHARES[1])
    assert sorted(first.given + second.given) == sorted(ITEMS)
    assert shares.tests_finished
    assert not shares.has_pending
    assert first.shutting_down
    assert second.shutting_down
    assert (shares.remove_node(first), shares.remove_node(second)) == (None, None)


def test_the_first_to_die_costs_no_trial_and_the_second_one_the_trial_that_was_due(shares: Any):
    first, second = start(shares, "gw0"), start(shares, "gw1")
    finish(shares, first, SHARES[0][0])

    assert shares.remove_node(first) is None
    replacement = start(shares, "gw2")
    assert replacement.given == list(SHARES[0][1:3])

    assert shares.remove_node(replacement) == SHARES[0][1]
    third = start(shares, "gw3")
    completed = play_out(shares, third, second)
    assert sorted([SHARES[0][0], SHARES[0][1], *completed]) == sorted(ITEMS)
    assert len(completed) == len(set(completed))


def test_a_trial_that_began_twice_is_to_blame_even_if_it_was_not_due_the_first_time(shares: Any, writer: RunWriter):
    first, _ = start(shares, "gw0"), start(shares, "gw1")
    for trial in SHARES[0][:2]:
        writer.start(trial)
    assert shares.remove_node(first) is None
    replacement = start(shares, "gw2")
    finish(shares, replacement, SHARES[0][0])

    RunWriter(writer.path, "gw2", {"id": "a"}).start(SHARES[0][1])

    assert shares.remove_node(replacement) == SHARES[0][1]


def test_a_finished_trial_whose_test_kills_two_workers_is_to_blame(shares: Any, writer: RunWriter):
    first, _ = start(shares, "gw0"), start(shares, "gw1")
    writer.append(replace(record(SHARES[0][0]), started=utc_now()))

    assert shares.remove_node(first) is None
    assert shares.remove_node(start(shares, "gw2")) == SHARES[0][0]


def test_an_ordinary_test_is_to_blame_at_once(shares: Any):
    first, second = start(shares, "gw0"), start(shares, "gw1")
    finish(shares, first, *SHARES[0])

    assert shares.remove_node(first) == ITEMS[8]
    assert ITEMS[9] not in second.given
    assert start(shares, "gw2").given == [ITEMS[9], ITEMS[10]]


def test_two_workers_die_and_a_third_takes_all(shares: Any):
    first, second = start(shares, "gw0"), start(shares, "gw1")
    assert shares.remove_node(first) is None
    shares.add_node(slow := Worker("gw2"))
    assert shares.remove_node(second) is None
    assert not shares.tests_finished

    quick = start(shares, "gw3")

    assert sorted(play_out(shares, quick)) == sorted(ITEMS)
    assert slow.given == []


def test_a_stopped_worker_leaves_its_share_without_blame(shares: Any):
    first, _ = start(shares, "gw0"), start(shares, "gw1")
    first.shutdown()
    finish(shares, first, *SHARES[0][:2])

    assert first.given == list(SHARES[0][:2])
    assert shares.remove_node(first) is None
    assert not shares.tests_finished


def test_a_replacement_that_collected_otherwise_gets_no_share(shares: Any):
    first, _ = start(shares, "gw0"), start(shares, "gw1")
    shares.remove_node(first)

    other = start(shares, "gw2", ITEMS[:-1])

    assert other.shutting_down
    assert other.given == []


def test_a_worker_that_died_before_all_had_collected_is_given_nothing(shares: Any):
    first = start(shares, "gw0")
    assert shares.remove_node(first) is None

    second = start(shares, "gw1")

    assert first.given == []
    assert sorted(play_out(shares, second)) == sorted(ITEMS)


def test_fewer_items_than_workers(pytester: pytest.Pytester, writer: RunWriter):
    config = pytester.parseconfig("--tx=4*popen")
    shares = deal_out(config, None, LoadScheduling(config), lambda: writer)

    workers = [start(shares, f"gw{number}", TRIALS[:2]) for number in range(4)]

    assert [worker.given for worker in workers] == [[TRIALS[0]], [TRIALS[1]], [], []]
    assert all(worker.shutting_down for worker in workers)


@pytest.mark.parametrize("own", [LoadScheduling, WorkStealingScheduling, LoadGroupScheduling])
def test_items_that_the_user_grouped_stay_together(pytester: pytest.Pytester, writer: RunWriter, own: Any):
    config = pytester.parseconfig("--tx=2*popen")
    shares = deal_out(config, None, own(config), lambda: writer)
    grouped = [f"test_g.py::test_{name}@db" for name in "pqrs"]
    collected = [*grouped, *TRIALS]

    for name in ("gw0", "gw1"):
        start(shares, name, collected)

    keeps_together = own is LoadGroupScheduling
    first, second = ([collected[index] for index in pending] for pending in shares.node2pending.values())
    assert first == ([grouped[0], grouped[1]] if keeps_together else [grouped[0], grouped[2]])
    assert second == ([TRIALS[0], TRIALS[2]] if keeps_together else [grouped[1], grouped[3]])


def test_without_a_plan_pytest_xdist_schedules(pytester: pytest.Pytester):
    config = pytester.parseconfig("--tx=2*popen")
    scheduling = deal_out(config, None, own := LoadScheduling(config), lambda: None)
    assert type(scheduling) is not LoadScheduling

    first, second = start(scheduling, "gw0"), start(scheduling, "gw1")

    assert isinstance(scheduling, LoadScheduling)
    assert not isinstance(scheduling, SharesScheduling)
    assert scheduling.__class__.__name__ == "LoadScheduling"
    assert own.node2pending == {first: [0, 1], second: [2, 3]}
    assert scheduling.remove_node(first) == ITEMS[0]


def test_a_scheduler_that_keeps_tests_together_or_of_another_plugin_is_left_alone(pytester: pytest.Pytester):
    class Other(LoadScheduling):
        pass

    config = pytester.parseconfig("--tx=2*popen")
    for own in (LoadScopeScheduling(config), Other(config)):
        assert deal_out(config, None, own, lambda: None) is own
