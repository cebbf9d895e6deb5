"""Trials on the nodes of a Ray cluster, which see nothing of the project but what travels."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engines.ray_suite import RaySuite
from tests.support.cluster import processes
from tests.support.messages_api import MessagesAPI, reply, slow, text, tool_use
from tests.support.serving import submits

pytestmark = pytest.mark.slow
CLAUDE = "claude-haiku-4-5-20251001"


def talks(body: dict[str, Any], turn: int) -> Any:
    return reply(tool_use("look", {})) if turn < 2 else reply(tool_use("say", {"number": 5}))


def dies(body: dict[str, Any], turn: int) -> Any:
    return reply(tool_use("die", {})) if turn == 0 else reply(tool_use("say", {"number": 5}))


def served(suite: RaySuite, script: Any) -> Any:
    return MessagesAPI(script, listening=suite.cluster.listening())


def keyed(api: MessagesAPI) -> dict[str, str]:
    return {"ANTHROPIC_BASE_URL": api.base_url, "ANTHROPIC_API_KEY": "sk-ant-of-test"}


def test_policies_play_on_nodes_that_cannot_see_the_project(suite: RaySuite):
    said = suite.play("--engine=ray", "--model=policy:baseline", "--runs=12")

    records = suite.lines()
    assert len(records) == 12
    assert sorted(record["seed"] for record in records if record["outcome"] == "passed") == [42, 44, 46, 48, 50, 52]
    assert {record["info"]["secret"] for record in records} == {"travels"}
    assert os.getpid() not in {record["info"]["pid"] for record in records}
    assert all("working_dir_files" in record["info"]["folder"] for record in records)
    kept = suite.folder / next(suite.folder.glob("logs/run_*")).relative_to(suite.folder)
    assert {(kept / one["path"]).stat().st_size for one in records[0]["artifacts"]} == {1, 200_000}
    assert "engine ray: 2 nodes, 4 CPUs" in said
    assert "(raylet)" not in said


def test_trials_of_an_api_play_in_hosts_and_are_written_as_they_go(suite: RaySuite):
    with served(suite, talks) as api:
        said = suite.play("--engine=ray", f"--model={CLAUDE}", "--runs=8", env=keyed(api))

    lines = suite.all_lines()
    kinds = [line["type"] for line in lines]
    assert (kinds.count("started"), kinds.count("paid"), kinds.count("trial")) == (8, 24, 8)
    for record in suite.lines():
        assert record["outcome"] == ("passed" if record["seed"] % 2 == 0 else "failed")
        assert len(record["requests"]) == 3
        paid = [line for line in suite.lines("paid") if line["trial_id"] == record["trial_id"]]
        assert {line["started"] for line in paid} == {record["started"]}
        assert [line["request"] for line in paid] == record["requests"]
    assert len({record["info"]["pid"] for record in suite.lines()}) == 2, "a host on each node"
    assert "8 missed" not in said
    assert "sk-ant-of-test" not in "".join(path.read_text() for path in suite.folder.rglob("*.json*"))


def test_a_paid_request_is_on_the_drivers_disk_before_the_trial_goes_on(suite: RaySuite):
    with served(suite, dies) as api:
        arguments = ("--deaths=1", "--marks=/dev/shm", f"--model={CLAUDE}", "--runs=1", "--seed=777001")
        _clear(777001)
        suite.play("--engine=ray", *arguments, "--gate=proven", env=keyed(api))

    first, second = suite.lines()
    assert first["fault"]["kind"] == "process"
    assert "died" in first["reason"]
    assert [request["stop_reason"] for request in first["requests"]] == ["tool_use"]
    assert second["outcome"] == "failed"
    assert len(second["requests"]) == 2
    assert len(suite.lines("started")) == 2
    assert len(suite.lines("paid")) == 3


def _clear(seed: int) -> None:
    for mark in Path("/dev/shm").glob(f"{seed}-*"):
        mark.unlink()


def test_a_task_that_dies_twice_is_errored_as_the_machines_fault(suite: RaySuite):
    _clear(777002)
    said = suite.play(
        *("--engine=ray", "--deaths=2", "--marks=/dev/shm", "--model=policy:dies", "--runs=1", "--seed=777002"),
        status=1,
    )
    _clear(777002)

    assert [record["fault"]["kind"] for record in suite.lines()] == ["process", "process"]
    assert len(suite.lines("started")) == 2
    assert "process" in said


def test_a_task_that_dies_once_is_played_again(suite: RaySuite):
    _clear(777004)
    suite.play(
        *("--engine=ray", "--deaths=1", "--marks=/dev/shm", "--model=policy:dies", "--runs=1", "--seed=777004"),
        "--gate=proven",
    )
    _clear(777004)

    assert [record["outcome"] for record in suite.lines()] == ["errored", "passed"]


@pytest.mark.parametrize("model", ["policy:sleeps", CLAUDE])
def test_ctrl_c_ends_within_5_s_and_nothing_goes_on(suite: RaySuite, model: str):
    with served(suite, lambda body, turn: reply(tool_use("look", {})) if turn < 2 else slow(submits(5), 60)) as api:
        process = suite.start("--engine=ray", f"--model={model}", "--runs=6", "--conv-steps=1000", env=keyed(api))
        _until(lambda: _in_flight(suite, api, model), process, suite)
        begin = time.monotonic()
        suite.interrupt(process)
        process.wait(timeout=60)
        took_s = time.monotonic() - begin

    said = suite.cluster.said(process)
    assert took_s < 5, said
    assert process.returncode == 2, said
    _until(lambda: not _playing(suite), process, suite)
    if model == CLAUDE:
        assert {record["label"] for record in suite.lines()} == {"cut off"}
        assert all(len(record["requests"]) == 3 for record in suite.lines()), "with an estimate of that under way"


def _in_flight(suite: RaySuite, api: MessagesAPI, model: str) -> bool:
    if model == CLAUDE:
        return sum(len(seen.body["messages"]) == 5 for seen in api.requests) >= 6
    return any("look" in path.read_text() for path in suite.folder.glob("logs/run_*/transcripts/*"))


def _playing(suite: RaySuite) -> list[str]:
    """Return what plays on the nodes."""
    names = ("ray::play_alone", "ray::Host", "ray::Post")
    ours = {node.pid for node in suite.cluster.nodes}
    return [words for _, _, session, words in processes() if session in ours and words.startswith(names)]


def _until(condition: Any, process: Any, suite: RaySuite, within_s: float = 90.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, suite.cluster.said(process)
        time.sleep(0.05)


def test_resume_and_sequential_are_what_they_are_on_one_machine(suite: RaySuite):
    suite.play("--engine=ray", "--model=policy:baseline", "--runs=2", "--sequential")
    suite.play("--engine=ray", "--model=policy:baseline", "--runs=6", "--resume=last", "--sequential")

    records = suite.lines()
    assert [record["run"] for record in records] == [0, 1, 2, 3, 4, 5]
    starts = [(line["type"], line["trial_id"][-7:-1]) for line in suite.all_lines() if line["type"] != "assertion"]
    assert starts[4:8] == [("started", "run-02"), ("trial", "run-02"), ("started", "run-03"), ("trial", "run-03")]


def test_stop_early_starts_no_more_once_its_verdict_is_proven(suite: RaySuite):
    # One at a time: those on a node that is late keep the verdict open, and others begin meanwhile.
    with served(suite, lambda body, turn: reply(text("No."))) as api:
        said = suite.play(
            *("--engine=ray", f"--model={CLAUDE}", "--runs=60", "--stop-early", "--concurrency=1"),
            env=keyed(api),
            status=1,
        )

    assert "too hard" in said
    assert len(suite.lines()) < 40


def test_max_cost_holds_for_all_nodes_together(suite: RaySuite):
    with served(suite, talks) as api:
        suite.play("--engine=ray", f"--model={CLAUDE}", "--runs=40", "--max-cost=0.01", env=keyed(api))

    spent = sum(request["cost_usd"] for record in suite.lines() for request in record["requests"])
    assert 0.005 < spent <= 0.01
    assert suite.lines("skipped")[0]["why"] == "cost"


def test_a_task_of_a_whole_node_is_played_beside_hosts_on_all_of_them(suite: RaySuite):
    path = suite.folder / "tasks/test_number.py"
    path.write_text(
        path.read_text()
        + "@dataclass(frozen=True)\nclass Big(Number):\n    resources = Resources(cpus=2)\n"
        + "@pytest.mark.rltask(task=Big(), band=(0.3, 0.7))\ndef test_big(trial):\n    assert trial.passed\n"
    )
    with served(suite, talks) as api:
        suite.play("--engine=ray", f"--model={CLAUDE}", "--runs=2", env=keyed(api))

    assert len(suite.lines()) == 4


def test_a_replay_needs_no_run_directory_on_the_nodes(suite: RaySuite):
    with served(suite, talks) as api:
        suite.play("--engine=ray", f"--model={CLAUDE}", "--runs=4", "--log-dir=first", env=keyed(api))
    (recorded,) = suite.folder.glob("first/run_*")
    suite.play("--engine=ray", f"--model=replay:{recorded}", "--runs=4")

    assert [record["outcome"] for record in sorted(suite.lines(), key=lambda one: one["run"])] == [
        *("passed", "failed", "passed", "failed")
    ]
