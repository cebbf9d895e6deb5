"""Whether a run's agents are isolated: settled before anything is played.

Isolation fails closed. A task that runs an agent's code (``Task.needs_sandbox``) is not played where no backend works,
and doing without must be asked for by name; on a CI machine, whose secrets an agent could read, an ini setting must
allow it too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future

import pytest

from pytest_rltask.report.isolation import NONE

__all__ = ["check_allowed", "sandbox_line", "settled", "settling"]

ALLOW_NONE = "rltask_sandbox_allow_none"


def check_allowed(config: pytest.Config, wanted: str) -> None:
    """Refuse to do without isolation on a CI machine.

    Raises:
        pytest.UsageError: it is not allowed there.
    """
    is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    if wanted == NONE and is_ci and not config.getini(ALLOW_NONE):
        raise pytest.UsageError(
            "--sandbox none: with CI set, agents' code is not run without isolation; write --sandbox auto, "
            f"or {ALLOW_NONE} = true in the ini file if the machine holds nothing of value"
        )


def settled(wanted: str) -> str:
    """Return the backend that isolates the tasks in need of one.

    Raises:
        pytest.UsageError: it does not work here.
    """
    from pytest_rltask.sandbox import SandboxError, resolve_backend

    try:
        return resolve_backend(wanted)
    except SandboxError as error:
        raise pytest.UsageError(f"--sandbox {wanted}: {error}") from None


def settling(wanted: str) -> Callable[[], str]:
    """Begin to settle what isolates agents' code, beside what else is to do; return what waits for it as `settled`."""
    ended: Future[str] = Future()

    def settle() -> None:
        try:
            ended.set_result(settled(wanted))
        except BaseException as error:  # for whoever waits
            ended.set_exception(error)

    threading.Thread(target=settle, name="rltask-isolation", daemon=True).start()
    return ended.result


def sandbox_line(config: pytest.Config, backends: Iterable[str]) -> str:
    """Return the line that says what isolates the planned trials; empty if none needs it."""
    named = sorted(set(backends) - {""})
    if not named:
        return ""
    if NONE in named:
        said = "rltask: sandbox none: agents' code runs with your own rights"
        return config.get_terminal_writer().markup(said, red=True, bold=True)
    return f"rltask: sandbox {', '.join(named)}"
