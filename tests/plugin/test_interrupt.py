"""What Ctrl-C and SIGTERM do to a run: real processes, real signals, nothing left behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pytest_rltask.run.load import load_run
from tests.conftest import Suite, slow
from tests.support.interruption import SITUATIONS, Interrupted, started

WITHIN_S = 100.0
"""A guard against hanging, not a measurement: that is `make bench-interrupt`."""

ALONE, WORKERS = (), ("-n", "2")
SHOWS_HANDLERS = """
import atexit, signal

def shown():
    return [getattr(signal.getsignal(number), "__name__", str(signal.getsignal(number)))
            for number in (signal.SIGINT, signal.SIGTERM)]

def pytest_runtest_teardown():
    print("handlers within:", shown())

atexit.register(lambda: print("handlers after:", shown()))
"""


def assert_ended_in_order(run: Interrupted) -> None:
    assert run.seconds < WITHIN_S, run.output
    assert run.left == []
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, run.output
    assert "Traceback" not in run.output
    assert "interrupt.py:" not in run.output, "the place is where the run was, not our handler"
    (run_dir,) = run.folder.glob("logs/run_*")
    assert {"report.html", "report.json", "summary.md"} <= {path.name for path in run_dir.iterdir()}
    assert not (run_dir / ".interrupted").exists()
    assert f"--resume={run_dir.relative_to(run.folder)}" in run.output
    assert "interrupted: the gate was not checked" in run.output


@pytest.mark.parametrize(
    "name", [slow(name) if name in ("backoff", "computing") else name for name in SITUATIONS if name != "half done"]
)
def test_ctrl_c_ends_a_run_whatever_its_trials_are_at(tmp_path: Path, name: str):
    with started(tmp_path / "run", SITUATIONS[name]) as run:
        run.signal(signal.SIGINT)

    assert_ended_in_order(run)


@pytest.mark.parametrize("workers", [ALONE, WORKERS], ids=["plain", "xdist"])
def test_ctrl_c_keeps_what_was_finished_and_kills_the_rest(tmp_path: Path, workers: tuple[str, ...]):
    with started(tmp_path / "run", SITUATIONS["half done"], *workers) as run:
        run.signal(signal.SIGINT)

    assert_ended_in_order(run)
    finished = load_run(next(run.folder.glob("logs/run_*"))).records
    assert 0 < len(finished) <= 4  # so many end without a tool call
    opened = len((run.folder / "closed").read_text())
    assert len(finished) < opened <= 6, "those in flight were closed as well, each once"


@pytest.mark.parametrize("workers", [ALONE, WORKERS], ids=["plain", "xdist"])
@pytest.mark.parametrize("number", [signal.SIGTERM, slow(signal.SIGINT)])
def test_a_signal_to_pytest_alone_ends_everything(tmp_path: Path, workers: tuple[str, ...], number: int):
    with started(tmp_path / "run", SITUATIONS["sandbox"], *workers) as run:
        run.signal(number, group=False)

    assert_ended_in_order(run)
    assert ("KeyboardInterrupt: SIGTERM" in run.output) == (number == signal.SIGTERM)


@pytest.mark.parametrize("workers", [ALONE, slow(WORKERS)], ids=["plain", "xdist"])
def test_a_second_ctrl_c_does_not_break_off_the_cleaning_up(tmp_path: Path, workers: tuple[str, ...]):
    with started(tmp_path / "run", SITUATIONS["sandbox"], *workers) as run:
        run.signal(signal.SIGINT)
        run.wait_for("closing")
        run.signal(signal.SIGINT)
        run.signal(signal.SIGTERM)

    assert_ended_in_order(run)


def test_whoever_insists_is_heard(suite: Suite):
    """A fixture that hangs when it ends can be left by Ctrl-C as ever, once our own cleaning up is over."""
    suite.write(
        conftest="""
        import os, signal, threading, pytest
        from pytest_rltask.suite import interrupt
        interrupt.ENDING_S = 0.0

        @pytest.fixture(scope="session", autouse=True)
        def hangs():
            yield
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(600)
        """
    )

    result = suite.pytester.runpytest_subprocess("--runs=1", "--model=policy:null", timeout=WITHIN_S)

    assert result.ret != pytest.ExitCode.OK


# ---- whose handlers ----


def test_the_signals_are_handled_while_trials_are_played_and_given_back(suite: Suite):
    suite.write(conftest=SHOWS_HANDLERS)

    result = suite.pytester.runpytest_subprocess("--runs=1", "--model=policy:null", "-s")

    assert "handlers within: ['_interrupt', '_interrupt']" in result.stdout.str()
    assert "handlers after: ['default_int_handler', '0']" in result.stdout.str()


def test_handlers_of_others_stay(suite: Suite):
    others = "import signal\ndef theirs(number, frame): ...\nsignal.signal(signal.SIGTERM, theirs)\n"
    suite.write(conftest=others + SHOWS_HANDLERS)

    result = suite.pytester.runpytest_subprocess("--runs=1", "--model=policy:null", "-s")

    assert "handlers within: ['_interrupt', 'theirs']" in result.stdout.str()
    assert "handlers after: ['default_int_handler', 'theirs']" in result.stdout.str()


def test_a_suite_without_trials_keeps_its_handlers(pytester: pytest.Pytester):
    pytester.makeconftest(SHOWS_HANDLERS)
    pytester.makepyfile(test_plain="def test_plain(): pass")

    result = pytester.runpytest_subprocess("-s", "--runs=2")

    assert "handlers within: ['default_int_handler', '0']" in result.stdout.str()
