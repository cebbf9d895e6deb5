"""What a process on a node of a Ray cluster knows of its run, and of its node: versions, keys, isolation."""

from __future__ import annotations

import os
import pickle
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pytest_rltask import __version__
from pytest_rltask.engines.travel import Project, code_digest, installed
from pytest_rltask.models.prices import Prices
from pytest_rltask.models.settings import BASE_URL, KEY_VARIABLES
from pytest_rltask.run.record import clean_text, error_text
from pytest_rltask.sandbox import SandboxError, resolve_backend

__all__ = ["About", "Settings", "look", "not_allowed", "said_of", "take_environment"]

OF_API = "ANTHROPIC_"
"""How the names of all variables begin that say who plays a model of an API, and by what key."""


@dataclass(frozen=True)
class Settings:
    """What every process that plays for a run has to know."""

    project: Project
    reply_timeout_s: float | None
    prices: Prices
    """What tokens of models cost that the table lacks."""
    allows_none: bool
    """Whether agents' code may run without isolation although CI is set."""
    wanted: str
    """What shall isolate it (``--sandbox``)."""


@dataclass(frozen=True)
class About:
    """A node, as one of its processes sees it."""

    name: str
    python: str = ""
    version: str = ""
    digest: str = ""
    """Of the code of this package."""
    sandbox: str = ""
    """What isolates agents' code there; empty if no task needs it."""
    no_sandbox: str = ""
    """Why nothing does."""
    has_key: bool = False
    server: str = ""
    """What ANTHROPIC_BASE_URL says."""
    unknown: tuple[str, ...] = ()
    """Why tasks cannot be loaded there."""


def take_environment(variables: Mapping[str, str]) -> None:
    """Let this process have variables of the driver's.

    A node's own key is used where it belongs to the server that the driver names; else all that says who is asked and
    with what (server, key, headers that may hold a token) comes from the driver, so that nothing secret is sent to a
    server that it was not set beside.
    """
    if any(map(_is_of_api, variables)):
        if os.environ.get(BASE_URL, "") == variables.get(BASE_URL, "") and has_key():
            variables = {name: value for name, value in variables.items() if not _is_of_api(name)}
        else:
            for name in filter(_is_of_api, tuple(os.environ)):
                del os.environ[name]
    os.environ.update(variables)


def _is_of_api(name: str) -> bool:
    return name.startswith(OF_API)


def has_key() -> bool:
    """Say whether this process has a key of an API."""
    return any(os.environ.get(name) for name in KEY_VARIABLES)


def look(settings: Settings, tasks: Iterable[bytes], *, isolates: bool) -> About:
    """Look at the node that this runs on.

    Args:
        settings: of the run.
        tasks: pickled, to find out whether they can be loaded.
        isolates: whether agents' code has to be isolated.
    """
    about = About(
        platform.node(),
        python=platform.python_version(),
        version=__version__,
        digest=code_digest(),
        has_key=has_key(),
        server=os.environ.get(BASE_URL, ""),
    )
    installed(settings.project)
    unknown = []
    for packed in tasks:
        try:
            pickle.loads(packed)
        except Exception as error:
            unknown.append(said_of(error))
    about = replace(about, unknown=tuple(dict.fromkeys(unknown)))
    if not isolates:
        return about
    if why := not_allowed(settings):
        return replace(about, no_sandbox=why)
    try:
        return replace(about, sandbox=resolve_backend(settings.wanted))
    except SandboxError as error:
        return replace(about, no_sandbox=str(error))


def not_allowed(settings: Settings) -> str:
    """Say why this node may not do without isolation; empty if it may, or does not."""
    is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    if settings.wanted != "none" or not is_ci or settings.allows_none:
        return ""
    return f"--sandbox none: CI is set on node {platform.node()}, where agents' code is not run without isolation"


def said_of(error: Exception) -> str:
    """Return what an exception says, bounded."""
    return clean_text(f"{type(error).__name__}: {error_text(error)}")[:500]
