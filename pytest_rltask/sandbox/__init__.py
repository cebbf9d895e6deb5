"""Runs the Python an agent wrote, as separate processes that are bounded in every resource and never outlive their run.

Layers, from the outside in: :class:`Sandbox` owns a private directory and what happens in it; ``_process`` runs one
command and keeps its output; ``_launcher`` is the program between us and the agent that sets the limits, watches them
and kills the whole process tree; a backend (``_bwrap``, ``_landlock``, ``_docker``, chosen by ``_choice``) hides the
rest of the machine; ``_confine`` is the program inside that gives up the last rights and becomes the agent's.
"""

from pytest_rltask.sandbox._choice import BACKENDS, differences, using_backend
from pytest_rltask.sandbox._choice import resolve as resolve_backend
from pytest_rltask.sandbox._result import SandboxError, SandboxLimits, SandboxResult, Status
from pytest_rltask.sandbox._sandbox import Sandbox

__all__ = [
    "BACKENDS",
    "Sandbox",
    "SandboxError",
    "SandboxLimits",
    "SandboxResult",
    "Status",
    "differences",
    "resolve_backend",
    "using_backend",
]
