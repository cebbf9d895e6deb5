"""pytest-rltask turns a pytest suite into a benchmark of reinforcement-learning tasks for language models.

An author imports every name from here. Each is loaded when it is first named, so that a suite without tasks,
which imports this package only for its plugin, pays for none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_rltask.coding import BashTool, TextEditorTool
    from pytest_rltask.engines.local import play_policy
    from pytest_rltask.judges.judge import Answer, Judge, JudgeError, Question
    from pytest_rltask.judges.rubric import Criterion, Marks, RubricJudge
    from pytest_rltask.media.attached import Image, Pdf
    from pytest_rltask.run.record import Record
    from pytest_rltask.sandbox import (
        IsolatedGrade,
        Sandbox,
        SandboxError,
        SandboxFile,
        SandboxLimits,
        SandboxResult,
        Shell,
        isolated_grade,
    )
    from pytest_rltask.task import Band, Episode, Grade, Limits, Policy, PolicyView, Resources, Task, TaskWarning
    from pytest_rltask.tools import DefinitionError, ToolCall, ToolError, ToolResult, call, tool
    from pytest_rltask.trial.environment import Environment, Opening, ResetNeeded, Step
    from pytest_rltask.trial.guard import TrialFault
    from pytest_rltask.trial.play import Trial

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Band",
    "BashTool",
    "Criterion",
    "DefinitionError",
    "Environment",
    "Episode",
    "Grade",
    "Image",
    "IsolatedGrade",
    "Judge",
    "JudgeError",
    "Limits",
    "Marks",
    "Opening",
    "Pdf",
    "Policy",
    "PolicyView",
    "Question",
    "Record",
    "ResetNeeded",
    "Resources",
    "RubricJudge",
    "Sandbox",
    "SandboxError",
    "SandboxFile",
    "SandboxLimits",
    "SandboxResult",
    "Shell",
    "Step",
    "Task",
    "TaskWarning",
    "TextEditorTool",
    "ToolCall",
    "ToolError",
    "ToolResult",
    "Trial",
    "TrialFault",
    "__version__",
    "call",
    "isolated_grade",
    "play_policy",
    "tool",
]

_HOMES = {
    "coding": ("BashTool", "TextEditorTool"),
    "engines.local": ("play_policy",),
    "media.attached": ("Image", "Pdf"),
    "judges.judge": ("Answer", "Judge", "JudgeError", "Question"),
    "judges.rubric": ("Criterion", "Marks", "RubricJudge"),
    "run.record": ("Record",),
    "sandbox": (
        "IsolatedGrade",
        "Sandbox",
        "SandboxError",
        "SandboxFile",
        "SandboxLimits",
        "SandboxResult",
        "Shell",
        "isolated_grade",
    ),
    "task": ("Band", "Episode", "Grade", "Limits", "Policy", "PolicyView", "Resources", "Task", "TaskWarning"),
    "tools": ("DefinitionError", "ToolCall", "ToolError", "ToolResult", "call", "tool"),
    "trial.environment": ("Environment", "Opening", "ResetNeeded", "Step"),
    "trial.guard": ("TrialFault",),
    "trial.play": ("Trial",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"pytest_rltask.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
