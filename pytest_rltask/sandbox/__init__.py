"""Runs the Python an agent wrote, as separate processes that are bounded in every resource and never outlive their run.

By where code runs, from the outside in. This folder is our process: `sandbox` owns a private directory and what happens
in it, `process` runs one command and keeps its output, `forkserver` keeps a preloaded interpreter, `choice` picks a
backend. `backends` are our process too, and say how a command is hidden from the rest of the machine. `watcher` is the
program between us and the agent, which sets the limits, watches them and kills the whole process tree. `inside` runs
within the isolation. Others use what this module exports, and nothing else of the folder; it knows nothing of tasks
and trials but ToolError.
"""

from pytest_rltask.sandbox.choice import BACKENDS, Choice, differences, problem_of, using_backend
from pytest_rltask.sandbox.choice import resolve as resolve_backend
from pytest_rltask.sandbox.grading import IsolatedGrade, isolated_grade
from pytest_rltask.sandbox.result import SandboxError, SandboxLimits, SandboxResult, Status
from pytest_rltask.sandbox.sandbox import Sandbox, SandboxFile
from pytest_rltask.sandbox.shell import Shell

__all__ = [
    "BACKENDS",
    "Choice",
    "IsolatedGrade",
    "Sandbox",
    "SandboxError",
    "SandboxFile",
    "SandboxLimits",
    "SandboxResult",
    "Shell",
    "Status",
    "differences",
    "isolated_grade",
    "problem_of",
    "resolve_backend",
    "using_backend",
]
