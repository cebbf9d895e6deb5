"""What is set up for an item, and when its trial starts for that: ahead, along with its fellows, or by itself."""

from __future__ import annotations

import pytest

from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.suite.items import is_trial
from pytest_rltask.suite.setups import Setup, alone_lines, bring_together, setup_of
from tests.conftest import Suite, slow
from tests.plugin.test_concurrency import MEET, TEST, most

FIXTURES = """
from meet import *

@pytest.fixture
def server():
    yield
@pytest.fixture
def quiet_server(server):
    yield
@pytest.fixture(params=[1])
def level(request):
    return request.param
@pytest.fixture(scope="class")
def of_class():
    yield
class Untold:
    def __bool__(self):
        raise ValueError
rltask = pytest.mark.rltask(task=Meet(), band=(0.5, 1.0))
"""
MAY_BE = "the fixture server may be for the trial; if not, write def test_meet(trial, server)"
EARLY = "whether its skipif holds cannot be told before its turn"


@pytest.fixture
def meet(pytester: pytest.Pytester) -> Suite:
    """A suite of episodes that meet, in one process."""
    suite = Suite(pytester)
    (pytester.path / "test_sum.py").unlink()
    return suite.write(meet=MEET, test_meet=TEST)


# ---- what is known beforehand ----


def items_of(pytester: pytest.Pytester, source: str) -> list[pytest.Item]:
    pytester.makepyfile(meet=MEET)
    pytester.makeini("[pytest]\nrltask_model = policy:three\nrltask_runs = 2\nmarkers = skip_on(world)")
    return list(pytester.getitems(FIXTURES + source))


@pytest.mark.parametrize(
    "source",
    [
        "def test_meet(trial): pass",
        "def test_meet(tmp_path, trial, capsys, record_property): pass",
        "@pytest.mark.usefixtures('tmp_path')\ndef test_meet(trial): pass",
        "@pytest.mark.parametrize('size', [1])\ndef test_meet(size, trial): pass",
        "@pytest.mark.skipif(False, reason='never')\ndef test_meet(trial): pass",
        "@pytest.mark.skipif(condition=False, reason='never')\ndef test_meet(trial): pass",
        "@pytest.mark.skipif('sys.platform == \"nowhere\" or config is None or not Meet')\ndef test_meet(trial): pass",
        "@pytest.mark.xfail(reason='hard')\ndef test_meet(trial): pass",
    ],
)
def test_what_is_for_the_test_alone_binds_no_trial(pytester: pytest.Pytester, source: str):
    decorators, _, function = source.rpartition("def ")
    first, second = items_of(pytester, f"{decorators}@rltask\ndef {function}")

    setup = setup_of(first)

    assert not setup.is_apart
    assert not setup.is_skipped
    assert setup_of(second).joins(setup, frozenset())


@pytest.mark.parametrize(
    "source",
    [
        "@rltask\ndef test_meet(monkeypatch, trial): pass",
        "@rltask\ndef test_meet(trial, server): pass",
        "@pytest.fixture(autouse=True)\ndef env(monkeypatch): pass\n@rltask\ndef test_meet(trial): pass",
        "def setup_function(): pass\n@rltask\ndef test_meet(trial): pass",
        "class TestMeet:\n    def setup_method(self): pass\n    @rltask\n    def test_meet(self, trial): pass",
        "@pytest.fixture\ndef trial(trial, server): return trial\n@rltask\ndef test_meet(trial): pass",
        "@pytest.mark.skip_on('mars')\n@rltask\ndef test_meet(trial, of_class): pass",
    ],
)
def test_what_else_is_set_up_for_each_test_is_found_by_all_its_trials_together(pytester: pytest.Pytester, source: str):
    first, second = items_of(pytester, source)

    assert setup_of(first).is_apart
    assert not setup_of(first).alone
    assert setup_of(second).joins(setup_of(first), frozenset())
    assert not setup_of(second).joins(Setup(), frozenset())


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("@rltask\ndef test_meet(server, trial): pass", MAY_BE),
        ("@pytest.mark.usefixtures('server')\n@rltask\ndef test_meet(trial): pass", MAY_BE),
        ("@rltask\ndef test_meet(tmp_path, level, trial): pass", "def test_meet(tmp_path, trial, level)"),
        ("@rltask\ndef test_meet(of_class, trial): pass", "the fixture of_class may be"),
        ("@pytest.fixture\ndef trial(quiet_server, trial): pass\n@rltask\ndef test_meet(trial): pass", "quiet_server"),
        ("@pytest.fixture\ndef trial(): pass\n@rltask\ndef test_meet(trial): pass", "does not ask for it"),
        ("@pytest.mark.skipif('unknown')\n@rltask\ndef test_meet(trial): pass", EARLY),
        ("@pytest.mark.skipif(Untold(), reason='?')\n@rltask\ndef test_meet(trial): pass", EARLY),
    ],
)
def test_what_may_be_for_the_trial_has_it_played_by_itself(pytester: pytest.Pytester, source: str, why: str):
    first, second = items_of(pytester, source)

    assert why in setup_of(first).alone
    assert not setup_of(second).joins(setup_of(first), frozenset())


@pytest.mark.parametrize(
    "mark", ["skip", "skipif(True, reason='always')", "skipif('True')", "skipif", "xfail(run=False, reason='hangs')"]
)
def test_a_mark_that_keeps_the_item_from_running_is_seen(pytester: pytest.Pytester, mark: str):
    items = items_of(pytester, f"@pytest.mark.{mark}\n@rltask\ndef test_meet(server, trial): pass")

    assert all(setup_of(item).is_skipped for item in items)


def test_marks_that_a_fixture_may_read_tell_fellows_apart(pytester: pytest.Pytester):
    items = items_of(
        pytester,
        """
@pytest.mark.parametrize("size", [1, pytest.param(2, marks=pytest.mark.skip_on("mars"))])
@rltask
def test_meet(trial, server, size): pass
""",
    )

    fellows = [setup_of(item).fellows for item in items]

    assert fellows[0] == fellows[2] != fellows[1] == fellows[3]


def test_tests_with_the_same_fixtures_are_fellows_unless_these_may_go_by_the_test(pytester: pytest.Pytester):
    items = items_of(
        pytester,
        """
@pytest.fixture
def of_size(size): pass
@pytest.fixture
def asking(request): pass
def task(name):
    return pytest.mark.rltask(task=Meet(), name=name)
@task("a")
def test_a(trial, server): pass
@task("b")
def test_b(trial, server): pass
@task("c")
@pytest.mark.parametrize("size", [1, 2])
def test_c(trial, of_size, size): pass
@task("d")
def test_d(trial, asking): pass
@task("e")
def test_e(trial, asking): pass
""",
    )

    fellows: dict[object, set[str]] = {}
    for item in items:
        fellows.setdefault(setup_of(item).fellows, set()).add(item.name)

    assert sorted(map(len, fellows.values())) == [2, 2, 2, 2, 4]


def test_shuffled_trials_that_cannot_overlap_others_follow_one_another(pytester: pytest.Pytester):
    items = items_of(
        pytester,
        """
def test_plain(): pass
def task(name):
    return pytest.mark.rltask(task=Meet(), name=name)
@task("free")
def test_free(trial): pass
@task("alone")
def test_alone(server, trial): pass
@task("together")
def test_together(trial, server): pass
""",
    )
    plain, *trials = items
    shuffled = [trials[number] for number in (2, 0, 4, 3, 5, 1)]
    mixed = [shuffled[0], plain, *shuffled[1:]]

    bring_together(mixed, is_trial)

    assert mixed == [trials[2], plain, trials[3], trials[0], trials[1], trials[4], trials[5]]


def test_what_goes_one_by_one_is_told_by_reason():
    plan = [
        PlannedTrial(f"{test}[run-0{run}]", test, "task", "", "policy:a", run, 42, (0.1, 0.4), alone=why)
        for test, why in (("t.py::test_a", "why"), ("t.py::test_b[1]", "why"), ("t.py::test_c", ""))
        for run in range(2)
    ]

    assert list(alone_lines(plan)) == ["one trial at a time: t.py::test_a, t.py::test_b: why"]
    assert "--dist" in next(alone_lines(plan, is_dealt=False))


# ---- what is played ----


def test_trials_that_find_an_autouse_monkeypatch_overlap_and_find_it_until_they_end(meet: Suite):
    meet.write(
        test_meet="""
        import os
        from meet import *

        class Looking(MeetEpisode):
            def grade(self):
                grade = super().grade()
                return Grade(float(os.environ.get("PLACE") == "here"), threshold=1.0, metrics=grade.metrics)
        class Look(Meet):
            def open(self, seed):
                assert os.environ["PLACE"] == "here"
                return Looking(self, seed)

        @pytest.fixture(autouse=True)
        def place(monkeypatch):
            monkeypatch.setenv("PLACE", "here")
        @pytest.mark.rltask(task=Look(), band=(0.5, 1.0))
        def test_meet(trial, tmp_path, monkeypatch):
            assert len(closed) == len(opened) == 6, "a trial is in flight while a test may change the process"
            monkeypatch.delenv("PLACE")
            assert trial.passed
        """
    )

    result = meet.run("--runs", "6", "--concurrency", "3", model="policy:three")

    result.assert_outcomes(passed=6)
    assert most(meet, "talking") == 3
    assert "one trial at a time" not in result.stdout.str()


def test_trials_that_found_what_was_set_for_another_test_are_warned_of_once(meet: Suite):
    meet.write(
        test_meet="""
        from meet import *
        @pytest.fixture(autouse=True)
        def home(monkeypatch, tmp_path):
            monkeypatch.setenv("PLACE", str(tmp_path))
        """
        + TEST.replace("\n", "\n        ").partition("import *")[2]
    )

    result = meet.run("--runs", "3", "--concurrency", "3", model="policy:three")

    assert result.ret == pytest.ExitCode.OK
    assert result.stdout.str().count("test_meet.py::test_meet: fixtures set PLACE to something else for each test") == 1


def test_with_maxfail_no_more_are_played_together_than_are_in_flight(meet: Suite):
    meet.write(
        test_meet="""
        from meet import *
        @pytest.mark.rltask(task=Meet(), band=(0.5, 1.0))
        def test_meet(trial, monkeypatch):
            assert len(closed) == len(opened) == (3 if trial.record.run < 3 else 5)
        """
    )

    result = meet.run("--runs", "5", "--concurrency", "3", "-x", model="policy:one")

    result.assert_outcomes(passed=5)


def test_a_test_that_a_fixture_skips_by_its_marks_costs_no_trial(meet: Suite):
    meet.write(
        test_meet=TEST
        + """
@pytest.fixture(autouse=True)
def skip_on(request):
    if request.node.get_closest_marker("skip_on"):
        pytest.skip("not here")
@pytest.mark.skip_on("mars")
@pytest.mark.rltask(task=Meet(), name="skipped")
def test_skipped(trial):
    pass
def test_openings():
    assert len(opened) == len(closed) == 2
"""
    )

    result = meet.run("--runs", "2", "--concurrency", "8", model="policy:one")

    result.assert_outcomes(passed=3, skipped=2)


def test_what_lives_longer_than_a_test_is_set_up_before_the_trials_that_use_it_and_no_others_wait(meet: Suite):
    server = """
from meet import *
@pytest.fixture(scope="module", autouse=True)
def server(request):
    before = len(opened)
    yield
    assert len(closed) == len(opened) == before + 3, "opened between this set-up and its tear-down"
@pytest.fixture(scope="session")
def late(request):
    assert len(opened) == len(closed)
    yield
@pytest.mark.rltask(task=Meet(), band=(0.5, 1.0), name=NAME)
def test_meet(trial, ARGUMENTS):
    assert trial.passed
"""
    (meet.pytester.path / "test_meet.py").unlink()
    meet.write(
        test_a=server.replace("NAME", "'a'").replace("ARGUMENTS", "tmp_path"),
        test_b=server.replace("NAME", "'b'").replace("ARGUMENTS", "late"),
    )

    result = meet.run("--runs", "3", "--concurrency", "3", model="policy:three")

    result.assert_outcomes(passed=6)
    assert most(meet, "talking") == 3


def test_a_trial_that_asks_for_a_fixture_is_alone_which_is_told_and_overtaken_by_none(meet: Suite):
    meet.write(
        conftest="""
        import pytest
        @pytest.fixture
        def server():
            import meet
            before = len(meet.opened)
            yield
            assert len(meet.opened) == len(meet.closed) == before + 1, "opened between this set-up and its tear-down"
        """,
        test_a="""
        from meet import *
        @pytest.fixture
        def trial(server, trial):
            return trial
        @pytest.mark.rltask(task=Meet(), band=(0.5, 1.0), name="alone")
        def test_alone(trial):
            assert opened == list(range(42, 43 + trial.record.run)), "none of a later test's was started"
        """,
    )

    result = meet.run("--runs", "3", "--concurrency", "3", model="policy:one")

    result.assert_outcomes(passed=6)
    said = "one trial at a time: test_a.py::test_alone: the fixture trial asks for the fixture server"
    result.stdout.fnmatch_lines([f"rltask: {said}", said])


@pytest.mark.parametrize("dist", [slow("loadscope")])
def test_a_worker_that_does_not_know_what_it_is_given_is_told_of(meet: Suite, dist: str):
    result = meet.run("--runs", "3", "-n", "2", "--dist", dist, model="policy:one")

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["rltask: one trial at a time in each worker: *", "one trial at a time in each *"])
