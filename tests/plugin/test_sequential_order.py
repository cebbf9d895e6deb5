"""`--sequential`: in which order and by which worker runs are played, also where a worker dies."""

from __future__ import annotations

import pytest

from tests.conftest import slow, workers_at_once
from tests.plugin.tries import ONE, TWO, Tries, told_of

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
    assert text.count("crashed whi") == 4 * len(seeds), "each deadly trial was played once"
    result.assert_outcomes(passed=6, failed=2 * len(seeds) + 2)
