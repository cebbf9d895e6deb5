"""The pytest plugin: hooks and nothing else. What they do stands in `suite` and `report`.

None of these is loaded before an option or a marker asks for it: a suite without tasks pays for nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rltask import clock  # noqa: F401 - before any test can freeze the one that it is set by
from pytest_rltask.suite.option_names import NAMES, Names, names_of
from pytest_rltask.suite.options import MARKER, OPTIONS

if TYPE_CHECKING:
    from pytest_rltask.report.summary import Summary
    from pytest_rltask.suite.session import Session
    from pytest_rltask.trial.play import Trial

MARKER_HELP = (
    "rltask(*, task, runs=None, band=None, name=None): every run of `task` (a Task, or a Task class or function "
    "config -> Task that is given the test's parameters) is an item of this test, which asserts on its fixture "
    "`trial`; `band` is (low, high) as shares of 1, or such pairs by model"
)
CONTROLLER = "rltask-controller"
SESSION: pytest.StashKey[Session] = pytest.StashKey()
SUMMARY: pytest.StashKey[Summary] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.register(Names(parser, pluginmanager), NAMES)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER_HELP)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Controller(config), CONTROLLER)
    if config.getoption("rltask_plan") or config.getoption("rltask_regrade_only"):
        config.option.dist = "no"  # pytest-xdist then starts no workers
    if any(config.getoption(option.dest) is not None for option in OPTIONS):
        with names_of(config).told():
            _session(config)  # a wrong option is told before anything is collected


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    directory = _session(node.config).directory
    directory.checker = directory.checker or node.gateway.id
    node.workerinput |= {
        "rltask": json.dumps(directory.header),
        "rltask_checker": directory.checker,
        "rltask_dist": node.config.getoption("dist"),
        "rltask_since": directory.since,
    }


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Generator[None, Any, Any]:
    return _session(config).scheduler(log, (yield))


@pytest.hookimpl(tryfirst=True)  # the run comes first in the node id
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker(MARKER) is not None:
        _session(metafunc.config).items.parametrize(metafunc)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem(collector: Any) -> Generator[None, Any, Any]:
    made = yield
    state = collector.config.stash.get(SESSION, None)
    return state.items.settled(made) if state and isinstance(made, list) else made


def pytest_exception_interact(node: pytest.Item | pytest.Collector, call: pytest.CallInfo[Any], report: Any) -> None:
    from pytest_rltask.tools import DefinitionError

    error = call.excinfo
    if isinstance(node, pytest.Collector) and error and error.errisinstance((DefinitionError, pytest.UsageError)):
        report.longrepr = report.rltask_usage_error = names_of(node.config).spelled(str(error.value))


class Controller:
    """What is done in the process that reports, and not in workers of pytest-xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.errored_trials = 0

    @pytest.hookimpl(trylast=True)  # the terminal has named the test
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Not those that a plugin had run again: pytest does not count them as failures.
        self.errored_trials += report.failed and getattr(report, "rltask_errored", False)
        if transcript := vars(report).pop("rltask_transcript", ""):
            from pytest_rltask.report.terminal import write_transcript

            write_transcript(self.config.pluginmanager.get_plugin("terminalreporter"), transcript)

    def pytest_warning_recorded(self, warning_message: Any) -> None:
        if state := self.config.stash.get(SESSION, None):
            state.hear(warning_message.message)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        _session(self.config).lose(crashitem, report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # around the terminal's own, which prints the errors first
    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> Generator[None]:
        errors = terminalreporter.stats.get("error")
        if self.errored_trials and errors:
            from pytest_rltask.report.faults import folded

            terminalreporter.stats["error"] = folded(errors)
        try:
            return (yield)
        finally:
            if errors:
                terminalreporter.stats["error"] = errors  # all of them are counted
            summary = self.config.stash.get(SUMMARY, None)
            if summary and exitstatus == pytest.ExitCode.INTERRUPTED:
                from pytest_rltask.suite.interrupt import count_unreported

                count_unreported(terminalreporter, summary.outcomes)

    @pytest.hookimpl(tryfirst=True)  # before the terminal lists it as an error of the file
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        said = getattr(report, "rltask_usage_error", None)
        if said is not None:
            _session(self.config).broken = True
            raise pytest.UsageError(said)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    is_marked = any(item.get_closest_marker(MARKER) for item in session.items)
    if state := _session(session.config) if is_marked else session.config.stash.get(SESSION, None):
        try:
            with names_of(session.config).told():
                state.plan(session.items)
        except pytest.UsageError as error:
            if not state.is_worker:
                raise
            # Raised in a worker it would be a crash; the controller hears of failed collections.
            report = pytest.CollectReport("", "failed", str(error), [])
            vars(report)["rltask_usage_error"] = str(error)
            session.config.hook.pytest_collectreport(report=report)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str:
    state = config.stash.get(SESSION, None)
    return state.headline(item.nodeid for item in items) if state else ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    config = node.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    headline = _session(config).headline(ids, node.gateway.id)
    if headline and reporter:
        reporter.ensure_newline()
        if config.get_terminal_writer().width_of_current_line:  # the number of workers, which pytest-xdist rewrites
            reporter.write_line("")
        reporter.write_line(headline)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    plays_nothing = session.config.getoption("rltask_plan") and not session.testsfailed
    return True if plays_nothing else None


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> Trial | None:
    """The finished trial of this item: episode opened from its seed, played by the model, and graded."""
    return _session(request.config).play(request.node, getattr(request, "param", None))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    # Reports made while the test runs are those of its subtests.
    if state := item.config.stash.get(SESSION, None):
        state.judge.enter_test(item)
    try:
        return (yield)
    finally:
        if state:
            state.judge.leave_test(item)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    state = pyfuncitem.config.stash.get(SESSION, None)
    return state.audit(pyfuncitem) if state else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if state := item.config.stash.get(SESSION, None):
        state.judge.settle(item, call, report)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: Any, config: pytest.Config) -> tuple[str, str, Any] | None:
    word = getattr(report, "rltask_gate", None)
    if word is not None:
        quiet = getattr(report, "rltask_quiet", False)
        shown = "" if quiet else (word.upper(), {"red" if report.failed else "green": True})
        return "failed" if report.failed else word, "", shown
    outcome = getattr(report, "rltask_outcome", None)
    if outcome == "failed":
        return "missed", "m", ("MISSED", {"yellow": True})
    if outcome == "cheated":
        return "cheated", "c", ("CHEATED", {"red": True})
    return None


# Before anybody writes a file of results, and within what collects warnings.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None]:
    if state := session.config.stash.get(SESSION, None):
        _finish(session, state, state.close(session, exitstatus))
    return (yield)


def _finish(session: pytest.Session, state: Session, exitstatus: int) -> None:
    if state.is_worker:
        return
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and state.options.shard:
        session.exitstatus = pytest.ExitCode.OK  # more shards than tests
    summary = state.summarise()
    if summary is None:
        return
    session.config.stash[SUMMARY] = summary
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        from pytest_rltask.suite.gate import report_gate

        controller: Any = session.config.pluginmanager.get_plugin(CONTROLLER)
        report_gate(session, summary, errored_trials=controller.errored_trials)


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    if config.getoption("rltask_plan") and exitstatus == pytest.ExitCode.OK:
        terminalreporter.section("plan", sep="=")
        for line in _session(config).plan_lines(config.get_terminal_writer().fullwidth):
            terminalreporter.write_line(line)
    if summary := config.stash.get(SUMMARY, None):
        terminal = config.get_terminal_writer()
        interrupted = exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        terminalreporter.section("pass rates", sep="=")
        for line, markup in _session(config).summary_lines(
            summary, terminal.fullwidth, unicode=_shows_unicode(terminal), interrupted=interrupted
        ):
            terminalreporter.write_line(line, **markup)
        if not interrupted and "GITHUB_ACTIONS" in os.environ:
            from pytest_rltask.report.github import workflow_commands

            for command in workflow_commands(summary, config.rootpath, os.environ):
                terminalreporter.write_line(command)


def _shows_unicode(terminal: Any) -> bool:
    encoding = getattr(terminal._file, "encoding", None) or "ascii"
    return "utf" in encoding.lower()


def _session(config: pytest.Config) -> Session:
    if SESSION not in config.stash:
        from pytest_rltask.suite.session import Session

        config.stash[SESSION] = Session(config)
    return config.stash[SESSION]
