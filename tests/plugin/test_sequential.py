"""`--sequential`: the runs of a task one after the other, on one worker, each told what earlier ones tried."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_rltask.run.record import Record
from tests.conftest import WAYS, WAYS_IDS, Suite, slow, workers_at_once

# An episode that takes any number and tells later runs which, and a task that can be made to misbehave by its name.
TRIES = '''
import os, pathlib, time
from dataclasses import dataclass
import pytest
from pytest_rltask import Episode, Grade, Task, call, tool

class PickEpisode(Episode):
    word = "number"
    def __init__(self, seed):
        self.seed, self.number = seed, None
    @property
    def prompt(self):
        return "Pick a number."
    @property
    def info(self):
        return {"worker": os.environ.get("PYTEST_XDIST_WORKER", "main")}
    @property
    def tried(self):
        return "" if self.number is None else f"{self.word} {self.number}"
    @tool
    def pick(self, number: int) -> str:
        """Pick a number."""
        self.number = number
        return "picked"
    @tool
    def fall(self) -> str:
        """Raise what is no ToolError."""
        raise ValueError("a bug of the task")
    def grade(self):
        return Grade(0.0, threshold=1.0)

def own(view):
    yield call("pick", number=view.seed)

def double(view):
    yield call("pick", number=2 * view.seed)

def same(view):
    yield call("pick", number=7)

def heard(view):
    yield call("pick", number=len(view.history))

def nothing(view):
    yield "I pass."

def unique(view):
    yield call("pick", number=time.time_ns())

def falls(view):
    yield call("pick", number=view.seed)
    yield call("fall")

@dataclass(frozen=True)
class Pick(Task):
    kind: type = PickEpisode
    policies = {"own": own, "double": double, "same": same, "heard": heard, "nothing": nothing}
    policies |= {"unique": unique, "falls": falls}
    def open(self, seed):
        return self.kind(seed)

def wait_for(name):
    end = time.monotonic() + 30
    while not pathlib.Path(name).exists():
        assert time.monotonic() < end, f"{name} never came"
        time.sleep(0.01)
'''

ONE = """
from tries import *
@pytest.mark.rltask(task=Pick())
def test_pick(trial):
    assert trial.passed
"""

TWO = (
    ONE
    + """
class Again(PickEpisode):
    word = "again"
@pytest.mark.rltask(task=Pick(Again), name="again")
def test_again(trial):
    assert trial.passed
"""
)


class Tries(Suite):
    """A suite whose runs tell what they tried."""

    def __init__(self, pytester: pytest.Pytester, workers: tuple[str, ...] = ()) -> None:
        super().__init__(pytester, workers)
        (pytester.path / "test_sum.py").unlink()
        self.write(tries=TRIES, test_pick=ONE)

    def play(self, *arguments: str, model: str = "policy:own") -> pytest.RunResult:
        """Run the inner pytest sequentially."""
        return self.run("--sequential", *arguments, model=model)

    @property
    def records(self) -> list[Record]:
        """The records of the newest run, as they began."""
        return sorted(self.last_run().records.values(), key=lambda record: record.started)

    def told(self, **wanted: Any) -> dict[int, list[str]]:
        """Return what the first message of each run told, of those that have one and the given fields."""
        chosen = [r for r in self.records if all(getattr(r, name) == value for name, value in wanted.items())]
        assert len({record.run for record in chosen}) == len(chosen), "one trial of each run"
        return {record.run: told(record) for record in chosen if record.messages}


def told(record: Record) -> list[str]:
    """Return the lines that the first message told of earlier runs."""
    _, *history = record.messages[0]["content"]
    if not history:
        return []
    title, *lines = history[0]["text"].splitlines()
    assert title == "Earlier runs of this task tried:"
    return [line.removeprefix("- ") for line in lines]


def told_of(word: str, *, runs: int) -> dict[int, list[str]]:
    """Return what each run is told if each run before it picked its seed."""
    return {run: [f"{word} {42 + earlier}" for earlier in range(run)] for run in range(runs)}


@pytest.fixture(params=WAYS, ids=WAYS_IDS)
def tries(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Tries:
    """A suite played in one process and, in a second test, by two workers."""
    return Tries(pytester, request.param)


@pytest.fixture(params=[("-n", "1"), ("-n", "2"), slow(("-n", "4"))], ids=["n1", "n2", "n4"])
def distributed(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Tries:
    """A suite played by one, two and four workers."""
    return Tries(pytester, request.param)


@pytest.fixture
def plain(pytester: pytest.Pytester) -> Tries:
    """A suite played in one process."""
    return Tries(pytester)


# ---- what a run is told ----


@workers_at_once("tries")
def test_each_run_is_told_what_earlier_runs_tried(tries: Tries):
    tries.write(test_pick=TWO)

    tries.play("--runs", "4")

    assert tries.told(task="pick") == told_of("number", runs=4)
    assert tries.told(task="again") == told_of("again", runs=4)


def test_without_the_option_no_run_is_told_anything(any_suite: Suite):
    tries = Tries(any_suite.pytester, any_suite.workers)

    result = tries.run("--runs", "3", model="policy:own")

    assert tries.told() == {0: [], 1: [], 2: []}
    assert {record.run: record.tried for record in tries.records} == {0: "number 42", 1: "number 43", 2: "number 44"}
    assert "--sequential" not in result.stdout.str()


def test_a_policy_sees_what_it_is_told(plain: Tries):
    plain.play("--runs", "3", model="policy:heard")

    assert plain.told() == {0: [], 1: ["number 0"], 2: ["number 0", "number 1"]}


@pytest.mark.parametrize(("policy", "line"), [("same", ["number 7"]), ("nothing", [])])
def test_a_run_that_tried_the_same_or_nothing_adds_no_line(plain: Tries, policy: str, line: list[str]):
    plain.play("--runs", "4", model=f"policy:{policy}")

    assert plain.told() == {0: [], 1: line, 2: line, 3: line}


def test_what_an_errored_run_tried_is_told(tries: Tries):
    tries.play("--runs", "3", model="policy:falls")

    assert {record.outcome for record in tries.records} == {"errored"}
    assert tries.told() == told_of("number", runs=3)


def test_each_model_is_told_what_it_tried_itself(tries: Tries):
    tries.play("--runs", "3", "--model", "policy:double")

    assert tries.told(model="policy:own") == told_of("number", runs=3)
    assert tries.told(model="policy:double") == {0: [], 1: ["number 84"], 2: ["number 84", "number 86"]}


def test_each_parameter_of_a_test_has_a_history_of_its_own(tries: Tries):
    tries.write(test_pick=ONE.replace("(trial)", "(trial, size)") + "    size\n")
    source = (tries.pytester.path / "test_pick.py").read_text()
    tries.write(test_pick=source.replace("@pytest", '@pytest.mark.parametrize("size", ["s", "l"])\n@pytest'))

    tries.play("--runs", "3", model="policy:unique")

    for size in "sl":
        played = [record for record in tries.records if record.trial_id.endswith(f"-{size}]")]
        assert [record.run for record in played] == [0, 1, 2]
        assert [told(record) for record in played] == [[r.tried for r in played[:run]] for run in range(3)]


def test_a_run_selected_alone_is_told_nothing_of_those_not_played(tries: Tries):
    tries.play("-k", "run-03")

    assert tries.told() == {3: []}


def test_another_run_of_the_suite_starts_anew(plain: Tries):
    plain.play("--runs", "2")
    plain.play("--runs", "2")

    assert len(plain.run_dirs) == 2
    assert plain.told() == {0: [], 1: ["number 42"]}


def test_the_transcript_shows_what_the_run_was_told(plain: Tries):
    plain.play("--runs", "2")

    transcript = (plain.run_dirs[-1] / "transcripts" / "pick-run-01.txt").read_text()
    assert "Earlier runs of this task tried:\n- number 42\n" in transcript
    assert "tried: number 43" in transcript


# ---- order and distribution ----


def test_the_runs_of_a_task_are_played_in_order_by_one_worker(distributed: Tries):
    distributed.write(test_pick=TWO, test_plain="def test_plain(): pass\n")

    distributed.play("--runs", "6")

    for task in ("pick", "again"):
        played = [record for record in distributed.records if record.task == task]
        assert [record.run for record in played] == [0, 1, 2, 3, 4, 5]
        assert len({record.info["worker"] for record in played}) == 1


MEETING = """
from tries import *
class Meeting(PickEpisode):
    here, there = "pick-is-here", "again-is-here"
    def grade(self):
        pathlib.Path(self.here).touch()
        wait_for(self.there)
        return super().grade()
class Other(Meeting):
    here, there = Meeting.there, Meeting.here
@pytest.mark.rltask(task=Pick(Meeting))
def test_pick(trial): assert trial.passed
@pytest.mark.rltask(task=Pick(Other), name="again")
def test_again(trial): assert trial.passed
"""


@pytest.mark.parametrize("runs", [1, *map(slow, [2, 3])])
def test_two_tasks_are_played_by_two_workers_at_once(pytester: pytest.Pytester, runs: int):
    tries = Tries(pytester, ("-n", "2")).write(test_pick=MEETING)

    tries.play("--runs", str(runs))

    assert {record.outcome for record in tries.records} == {"failed"}, "the two met"
    assert len({record.info["worker"] for record in tries.records}) == 2


def test_a_task_waits_for_whichever_worker_is_free(pytester: pytest.Pytester):
    tries = Tries(pytester, ("-n", "2"))
    tries.write(
        test_pick="""
        from tries import *
        class First(PickEpisode):
            def grade(self):
                wait_for("third-was-played")  # and so is not bound to the worker that plays this
                return super().grade()
        class Third(PickEpisode):
            def grade(self):
                pathlib.Path("third-was-played").touch()
                return super().grade()
        @pytest.mark.rltask(task=Pick(First), name="first")
        def test_first(trial): assert trial.passed
        @pytest.mark.rltask(task=Pick(), name="second")
        def test_second(trial): assert trial.passed
        @pytest.mark.rltask(task=Pick(Third), name="third")
        def test_third(trial): assert trial.passed
        """
    )

    tries.play("--runs", "2")

    assert [record.outcome for record in tries.records] == ["failed"] * 6


def test_ordinary_tests_that_look_like_trials_are_spread(pytester: pytest.Pytester):
    tries = Tries(pytester, ("-n", "3"))
    tries.write(
        test_plain="""
        from tries import *
        @pytest.mark.parametrize("here, there", [("a", "b"), ("b", "a")], ids=["run-00", "run-01"])
        def test_plain(here, there):
            pathlib.Path(here).touch()
            wait_for(there)
        """
    )

    result = tries.play("--runs", "3")

    result.assert_outcomes(passed=2, failed=1)  # the gate


def test_ordinary_tests_go_to_whichever_worker_is_free(pytester: pytest.Pytester):
    tries = Tries(pytester, ("-n", "2"))
    tries.write(
        test_pick="""
        from tries import *
        class Patient(PickEpisode):
            def grade(self):
                wait_for("all-done")
                return super().grade()
        @pytest.mark.rltask(task=Pick(Patient))
        def test_pick(trial): assert trial.passed
        @pytest.mark.parametrize("number", range(8))
        def test_plain(number):
            pathlib.Path(f"plain-{number}").touch()
            if len(list(pathlib.Path().glob("plain-*"))) == 8:
                pathlib.Path("all-done").touch()
        """
    )

    result = tries.play("--runs", "3")

    assert {record.outcome for record in tries.records} == {"failed"}, "no ordinary test waited for a trial"
    result.assert_outcomes(passed=8, failed=1)  # the gate


@pytest.mark.parametrize("dist", ["worksteal", *map(slow, ["loadgroup", "loadscope"])])
def test_every_way_to_distribute_keeps_a_task_together(pytester: pytest.Pytester, dist: str):
    tries = Tries(pytester, ("-n", "2", "--dist", dist)).write(
        test_pick=TWO, test_other=ONE.replace("())", "(), name='c')")
    )

    tries.play("--runs", "4")

    assert len(tries.records) == 12
    assert {len(lines) for lines in tries.told(task="again").values()} == {0, 1, 2, 3}
    for task in ("pick", "again", "c"):
        assert [len(lines) for lines in tries.told(task=task).values()] == [0, 1, 2, 3]


@pytest.mark.slow
def test_to_play_every_run_on_each_worker_is_a_usage_error(pytester: pytest.Pytester):
    result = Tries(pytester, ("-n", "2", "--dist", "each")).play()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --sequential with --dist each: *; write --dist load"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


@workers_at_once("tries")
def test_runs_are_played_in_order_however_items_are_shuffled(tries: Tries):
    tries.write(test_pick=TWO)
    tries.pytester.makeconftest(
        """
        import pytest
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_collection_modifyitems(items):
            yield
            items.reverse()
        """
    )

    tries.play("--runs", "3")

    assert tries.told(task="pick") == told_of("number", runs=3)
    assert tries.told(task="again") == told_of("again", runs=3)
    assert list(tries.told(task="pick")) == [0, 1, 2]


def test_items_keep_an_order_that_they_were_given_without_the_option(plain: Tries):
    plain.pytester.makeconftest("def pytest_collection_modifyitems(items): items.reverse()\n")

    plain.run("--runs", "3", "--concurrency", "1", model="policy:own")

    assert list(plain.told()) == [2, 1, 0]


# ---- a worker that dies ----

DEADLY = TWO.replace(
    "@pytest",
    """
class Deadly(PickEpisode):
    def grade(self):
        if self.seed in DEADLY_SEEDS:
            os._exit(1)
        return super().grade()
@pytest""",
    1,
)
DEADLY = DEADLY.replace("Pick()", "Pick(Deadly)").replace("Again(PickEpisode)", "Again(Deadly)")


@pytest.mark.parametrize(("workers", "seeds"), [slow("1", (43, 44)), ("2", (42, 45))], ids=str)
def test_a_dead_worker_loses_one_trial_and_later_runs_know_of_those_before(
    pytester: pytest.Pytester, workers: str, seeds: tuple[int, ...]
):
    distributed = Tries(pytester, ("-n", workers)).write(
        test_pick=DEADLY.replace("DEADLY_SEEDS", str(seeds)),
        test_plain="import pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_plain(n): pass\n",
    )

    result = distributed.play("--runs", "4")

    left = [seed for seed in range(42, 46) if seed not in seeds]
    for task, word in (("pick", "number"), ("again", "again")):
        expected = {seed - 42: [f"{word} {earlier}" for earlier in left if earlier < seed] for seed in left}
        assert distributed.told(task=task) == expected
        assert list(distributed.told(task=task)) == sorted(expected)
    text = result.stdout.str()
    assert "INTERNALERROR" not in text
    assert text.count("crashed while running") == 4 * len(seeds), "each deadly trial was played once"
    result.assert_outcomes(passed=6, failed=2 * len(seeds) + 2)


# ---- settings ----


@pytest.mark.parametrize(
    ("ini", "lines"),
    [("true", 1), ("1", 1), ("Yes", 1), ("on", 1), ("false", 0), ("0", 0), ("no", 0), ("OFF", 0)],
)
def test_the_ini_file_can_switch_it_on(plain: Tries, ini: str, lines: int):
    plain.pytester.makeini(f"[pytest]\nrltask_sequential = {ini}\n")

    result = plain.run("--runs", "2", model="policy:own")

    assert len(plain.told()[1]) == lines
    (headline,) = [line for line in result.outlines if line.startswith("rltask: pytest")]
    assert headline.count(" --seed 42 --sequential --gate point") == lines
    assert ("--sequential" in plain.last_run().header["command"]) == bool(lines)


def test_a_toml_file_can_switch_it_on(tries: Tries):
    tries.pytester.makepyprojecttoml("[tool.pytest]\nrltask_sequential = true\n")

    tries.run("--runs", "2", model="policy:own")

    assert tries.told() == {0: [], 1: ["number 42"]}


@pytest.mark.parametrize("ini", ["maybe", "2", ""])
def test_an_ini_setting_that_is_neither_on_nor_off(plain: Tries, ini: str):
    plain.pytester.makeini(f"[pytest]\nrltask_sequential = {ini}\n")

    result = plain.run()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert "ERROR: ini setting rltask_sequential: " in text
    assert "write rltask_sequential = true" in text
    assert "Traceback" not in text


def test_the_command_that_reproduces_the_run_says_it_once(suite: Suite):
    result = suite.run("--sequential", "--runs", "2")

    (headline,) = {line for line in result.outlines if line.startswith("rltask: pytest")}
    assert headline.split().count("--sequential") == 1
    assert suite.last_run().header["command"].split().count("--sequential") == 1


def test_a_distributed_run_without_the_option_is_dealt_in_shares(pytester: pytest.Pytester):
    result = Tries(pytester, ("-n", "2")).run("--runs", "2", "-v", model="policy:own")

    result.stdout.fnmatch_lines(["scheduling tests via SharesScheduling"])


def test_a_suite_without_tasks_is_distributed_all_the_same(pytester: pytest.Pytester):
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('n', ['run-00', 'run-01'])\ndef test_n(n): pass\n")

    result = pytester.runpytest("--sequential", "-n", "2")

    result.assert_outcomes(passed=2)


# ---- what cannot be told ----


def test_what_raises_when_asked_is_the_fault_of_the_task(any_suite: Suite):
    tries = Tries(any_suite.pytester, any_suite.workers)
    tries.write(tries=TRIES.replace('return "" if', 'return {}["x"] if self.seed == 43 else "" if'))

    tries.play("--runs", "3")

    assert [record.outcome for record in tries.records] == ["failed", "errored", "failed"]
    assert tries.records[1].reason == "what the episode tried: KeyError: 'x'"
    assert tries.told() == {0: [], 1: ["number 42"], 2: ["number 42"]}


def test_a_long_text_of_many_lines_becomes_one_short_line(plain: Tries):
    plain.write(tries=TRIES.replace('f"{self.word} {self.number}"', '"a\\n- b " * 200'))

    plain.play("--runs", "2")

    (line,) = plain.told()[1]
    assert line.startswith("a - b a - b ")
    assert len(line) == 300
