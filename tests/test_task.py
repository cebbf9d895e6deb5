"""Tasks: names, identity by content, limits, bands and grades, and what is wrong with a definition."""

from __future__ import annotations

import dataclasses
import math
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask import Band, DefinitionError, Episode, Grade, Limits, Task


@dataclass(frozen=True)
class OnnxExport(Task):
    """A task with parameters of many kinds."""

    accuracy: float = 0.875
    sizes: tuple[int, ...] = (1, 2)
    kinds: frozenset[str] = frozenset({"a", "b", "c", "d"})
    source: Path = Path("data.csv")
    weights: Any = None

    def open(self, seed: int) -> Episode:
        raise NotImplementedError


@dataclass(frozen=True)
class Child(OnnxExport):
    """The same fields, another class."""


# ---- identity ----


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("OnnxExport", "onnx_export"),
        ("Sum", "sum"),
        ("HTTPServer", "http_server"),
        ("Task2Vec", "task2_vec"),
        ("already_snake", "already_snake"),
        ("GradeAB", "grade_ab"),
    ],
)
def test_the_name_is_the_class_name_in_snake_case(class_name: str, name: str):
    task = type(class_name, (Task,), {"open": lambda self, seed: None})()

    assert task.name == name


def test_equal_tasks_have_equal_digests():
    assert OnnxExport().digest() == OnnxExport(accuracy=0.875).digest()
    assert len(OnnxExport().digest()) == 16
    assert set(OnnxExport().digest()) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy": 0.8750000001},
        {"sizes": (2, 1)},
        {"kinds": frozenset({"a", "b"})},
        {"source": Path("other.csv")},
        {"weights": {"a": 1}},
    ],
)
def test_the_digest_changes_with_each_field(change: dict[str, Any]):
    assert OnnxExport(**change).digest() != OnnxExport().digest()


def test_the_digest_changes_with_the_class():
    assert Child().digest() != OnnxExport().digest()


def test_the_digest_does_not_depend_on_the_order_of_a_mapping():
    assert OnnxExport(weights={"a": 1, "b": 2}).digest() == OnnxExport(weights={"b": 2, "a": 1}).digest()


def test_the_digest_is_the_same_in_every_process():
    """Workers of pytest-xdist compute it anew, each with hash seeds of its own."""
    code = "from tests.test_task import OnnxExport; print(OnnxExport().digest())"

    digests = set()
    for hash_seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
        )
        digests.add(done.stdout.strip())

    assert len(digests) == 1


ROOT = Path(__file__).parents[1]


def test_a_task_travels_by_pickle():
    task = OnnxExport(accuracy=0.5, weights={"a": [1]})

    copy = pickle.loads(pickle.dumps(task))

    assert copy == task
    assert copy.digest() == task.digest()


def test_a_task_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        OnnxExport().accuracy = 0.5  # type: ignore[misc]


def test_the_defaults_are_those_of_the_documentation():
    task = OnnxExport()

    assert task.limits == Limits(turns=10, tool_calls=None, total_tokens=None, wall_s=900.0)
    assert (task.band.low, task.band.high) == (0.10, 0.40)
    assert task.policies == {}


# ---- Limits, Band, Grade ----


@pytest.mark.parametrize("limit", [field.name for field in dataclasses.fields(Limits)])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_a_limit_is_positive(limit: str, value: float):
    with pytest.raises(ValueError, match=f"Limits.{limit} must be positive, got"):
        Limits(**{limit: value})


@pytest.mark.parametrize("limit", ["tool_calls", "total_tokens"])
def test_some_limits_can_be_left_open(limit: str):
    assert getattr(Limits(**{limit: None}), limit) is None


@pytest.mark.parametrize(("low", "high"), [(0.4, 0.1), (0.1, 0.1), (-0.1, 0.4), (0.1, 1.1), (math.nan, 0.4), (10, 40)])
def test_a_band_is_a_pair_of_shares(low: float, high: float):
    with pytest.raises(ValueError, match="a band needs 0 <= low < high <= 1"):
        Band(low, high)


def test_both_ends_of_a_band_belong_to_it():
    band = Band(0.1, 0.4)

    assert [rate in band for rate in (0.0999, 0.1, 0.25, 0.4, 0.4001, None)] == [False, True, True, True, False, False]
    assert str(band) == "10-40 %"
    assert 0 in Band(0, 0.5)


@pytest.mark.parametrize(
    ("grade", "passed"),
    [
        (Grade(0.9, threshold=0.9), True),
        (Grade(0.9, threshold=0.91), False),
        (Grade(0.9), None),
        (Grade(0.1, threshold=0.9, passed=True), True),
        (Grade(0.9, threshold=0.1, cheated=True), False),
        (Grade(0.9, passed=True, cheated=True), False),
        (Grade(math.nan, threshold=0.1), False),
    ],
)
def test_a_grade_passes_at_its_threshold_and_never_when_cheated(grade: Grade, passed: bool | None):
    assert grade.passed is passed


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, None, "high", [1]])
def test_a_grade_says_when_its_score_is_none(score: Any):
    problem = Grade(score).problem()

    assert problem
    assert "the grader's score is" in problem


@pytest.mark.parametrize("score", [0, -1.5, True, 10**300])
def test_a_grade_with_a_number_has_no_problem(score: Any):
    assert Grade(score).problem() is None


# ---- definitions ----


def test_a_task_must_open_episodes():
    with pytest.raises(DefinitionError, match=r"task Broken cannot be opened; add `def open\(self, seed: int\)"):

        class Broken(Task):
            pass


def test_an_episode_must_have_a_grader():
    with pytest.raises(DefinitionError, match=r"episode Broken has no grader; add `def grade\(self\) -> Grade"):

        class Broken(Episode):
            prompt = "Work."


def test_an_episode_must_have_a_prompt():
    with pytest.raises(DefinitionError, match="episode Broken has no prompt; add a property"):

        class Broken(Episode):
            def grade(self) -> Grade:
                return Grade(1.0)


@pytest.mark.parametrize("name", ["prompt", "system", "done", "info", "tried", "hidden"])
def test_what_must_be_a_property_is_none_by_mistake(name: str):
    with pytest.raises(DefinitionError, match=rf"Broken.{name} is a property; write @property above `def {name}"):
        type("Broken", (Episode,), {"grade": lambda self: Grade(1.0), name: lambda self: ""})


def test_a_tasks_thresholds_must_be_a_property():
    with pytest.raises(
        DefinitionError, match=r"Broken.thresholds is a property; write @property above `def thresholds"
    ):

        class Broken(Task):
            def open(self, seed: int) -> Episode:
                raise NotImplementedError

            def thresholds(self) -> dict[str, float]:  # type: ignore[override]
                return {}


def test_an_abstract_base_may_leave_things_open():
    class Base(Episode, abstract=True):
        pass

    class BaseTask(Task, abstract=True):
        pass

    assert issubclass(Base, Episode)
    assert issubclass(BaseTask, Task)


def test_an_episode_is_a_context_manager_that_closes():
    class Closing(Episode):
        prompt = "Work."
        closed = 0

        def grade(self) -> Grade:
            return Grade(1.0)

        def close(self) -> None:
            self.closed += 1

    with Closing() as episode:
        pass

    assert episode.closed == 1
