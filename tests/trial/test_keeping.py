"""What graders read is kept while a trial ends, whatever an agent left there; and graded again in a fresh episode."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pytest_rltask import DefinitionError, Episode, Grade, Limits, Sandbox, Task, call, tool
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.run.artifacts import load_artifacts
from pytest_rltask.run.record import Record
from pytest_rltask.trial.keeping import can_regrade, keep, regraded
from pytest_rltask.trial.play import TrialSpec, play


class BoxEpisode(Episode):
    """The score is the length of answer.txt."""

    def __init__(self, task: BoxTask, seed: int) -> None:
        self.task, self.seed = task, seed
        self.box = Sandbox(backend="none")
        self.box.write_file("answer.txt", "abc")

    @property
    def prompt(self) -> str:
        return "Write."

    @property
    def info(self) -> Mapping[str, int]:
        return {"salt": self.task.salt}

    @tool
    def spoil(self) -> str:
        """Leave something."""
        self.task.spoil(self.box.path)
        return "done"

    def artifacts(self) -> Mapping[str, Any]:
        if self.task.broken:
            raise KeyError("a bug")
        return {"answer": self.box.file("answer.txt"), "bytes": b"\0", "text": "half \ud800", **self.task.more}

    def regrade(self, artifacts: Mapping[str, bytes]) -> Grade:
        if self.task.broken:
            raise KeyError("a bug")
        return Grade(float(len(artifacts["answer"])), threshold=self.task.threshold)

    def grade(self) -> Grade:
        return Grade(3.0, threshold=self.task.threshold)

    def close(self) -> None:
        self.box.close()


def policy(view: Any) -> Any:
    yield call("spoil")


def nothing(path: Path) -> None:
    pass


@dataclass(frozen=True)
class BoxTask(Task):
    policies: ClassVar = {"p": policy}
    threshold: float = 2.0
    salt: int = 0
    broken: bool = False
    spoil: Callable[[Path], None] = nothing
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        return Limits(turns=2)

    def open(self, seed: int) -> BoxEpisode:
        return BoxEpisode(self, seed)


def spec_of(task: Task) -> TrialSpec:
    return TrialSpec("test_a.py::test_box[run-00]", task, "box", "policy:p", 0, 42, task.limits, sandbox="none")


def played(task: Task, tmp_path: Path) -> Record:
    return asyncio.run(play(spec_of(task), PolicyModel("p"), keep=partial(keep, tmp_path)))


def again(task: Task, record: Record, artifacts: Mapping[str, bytes]) -> Record | None:
    return asyncio.run(regraded(spec_of(task), record, artifacts))


def test_what_the_episode_names_is_kept(tmp_path: Path):
    record = played(BoxTask(), tmp_path)
    assert record.outcome == "passed"
    assert load_artifacts(tmp_path, record) == {"answer": b"abc", "bytes": b"\0", "text": b"half ?"}
    assert can_regrade(record)


def link(path: Path) -> None:
    (path / "answer.txt").unlink()
    (path / "answer.txt").symlink_to("/etc/passwd")


def hard_link(path: Path) -> None:
    os.link(path / "answer.txt", path / "other.txt")


def fifo(path: Path) -> None:
    (path / "answer.txt").unlink()
    os.mkfifo(path / "answer.txt")


def folder(path: Path) -> None:
    (path / "answer.txt").unlink()
    (path / "answer.txt").mkdir()


def sparse(path: Path) -> None:
    with (path / "answer.txt").open("wb") as file:
        file.truncate(2**40)


def gone(path: Path) -> None:
    (path / "answer.txt").unlink()


@pytest.mark.parametrize("spoil", [link, hard_link, fifo, folder, sparse, gone])
def test_what_is_no_plain_file_is_left_out_and_told_and_costs_no_grade(spoil: Callable[[Path], None], tmp_path: Path):
    record = played(BoxTask(spoil=spoil), tmp_path)
    assert record.outcome == "passed"
    assert [one.name for one in record.artifacts] == ["bytes", "text"]
    assert list(record.artifacts_left_out) == ["answer"]
    assert "root:" not in str(load_artifacts(tmp_path, record))
    assert not can_regrade(record)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (BoxTask(broken=True), "artifacts() failed: KeyError: 'a bug'"),
        (BoxTask(more={"x": 3}), "'x' is int; write its bytes, a string, or self.box.file('x')"),
    ],
)
def test_a_bug_in_artifacts_costs_no_grade(task: Task, said: str, tmp_path: Path):
    record = played(task, tmp_path)
    assert record.outcome == "passed"
    assert record.artifacts == []
    assert said in record.artifacts_left_out["(all)"]


def test_what_was_kept_is_graded_as_by_the_grader_of_today(tmp_path: Path):
    record = played(BoxTask(), tmp_path)
    artifacts = load_artifacts(tmp_path, record)

    same, harder = again(BoxTask(), record, artifacts), again(BoxTask(threshold=4), record, artifacts)

    assert same is not None
    assert harder is not None
    assert (same.outcome, same.score, same.threshold, same.reason) == (record.outcome, 3.0, 2.0, record.reason)
    assert (harder.outcome, harder.reason) == ("failed", "score 3 is below the threshold 4")
    assert harder.messages == record.messages


def test_an_episode_that_is_another_one_grades_nothing(tmp_path: Path):
    record = played(BoxTask(), tmp_path)
    assert again(BoxTask(salt=1), record, {}) is None
    assert again(BoxTask(), replace(record, prompt_digest="x"), {}) is None


def test_a_grader_of_artifacts_that_fails_leaves_no_grade(tmp_path: Path):
    record = played(BoxTask(), tmp_path)
    new = again(BoxTask(broken=True), record, {})
    assert new is not None
    assert (new.outcome, new.score) == ("errored", None)
    assert new.fault is not None
    assert new.fault.message == "the grader of artifacts: KeyError: 'a bug'"


def test_who_regrades_has_to_keep():
    with pytest.raises(DefinitionError, match=r"regrades artifacts but names none to keep; add `def artifacts"):

        class Forgetful(Episode):
            prompt = "x"

            def grade(self) -> Grade:
                return Grade(0.0)

            def regrade(self, artifacts: Mapping[str, bytes]) -> Grade:
                return Grade(0.0)
