"""Runs the Python an agent wrote, as separate processes that are bounded in every resource and never outlive their run.

Layers, from the outside in: :class:`Sandbox` owns a private directory and what happens in it; ``_process`` runs one
command and keeps its output; ``_launcher`` is the program between us and the agent that sets the limits, watches them
and kills the whole process tree; ``_backend`` is where isolation from the rest of the machine wraps the command.
"""

from pytest_rltask.sandbox._result import SandboxError, SandboxLimits, SandboxResult, Status
from pytest_rltask.sandbox._sandbox import Sandbox

__all__ = ["Sandbox", "SandboxError", "SandboxLimits", "SandboxResult", "Status"]
