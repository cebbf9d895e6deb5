"""The tool ``bash``: a shell that keeps its state, as Anthropic's type ``bash_20250124`` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_rltask.sandbox import Sandbox, SandboxResult
from pytest_rltask.tools import ToolError, tool

__all__ = ["BashTool"]


class BashTool:
    r"""Lets a model run commands in a sandbox's shell; see :meth:`Sandbox.shell` for what lasts between them.

    Example:
        >>> from pytest_rltask import BashTool, Sandbox
        >>> with Sandbox() as sandbox:
        ...     shell = BashTool(sandbox)
        ...     shell.bash("mkdir lib && cd lib")
        ...     shell.bash("basename $PWD; false")
        '(no output)'
        'lib\n[exited with code 1]'
    """

    native: Mapping[str, Any] = {"type": "bash_20250124", "name": "bash"}
    """What the Messages API is told where the model is Claude."""

    def __init__(self, sandbox: Sandbox, *, wall_s: float | None = None) -> None:
        """Offer a shell of its own.

        Args:
            sandbox: Where it runs; closing that closes the shell.
            wall_s: Seconds that a command may take, when not those of the sandbox's limits.
        """
        self._shell, self._wall_s = sandbox.shell(merged=True), wall_s

    @tool
    def bash(self, command: str | None = None, restart: bool = False) -> str:
        """Run a command in a bash shell that keeps its folder, variables and functions between calls.

        There is no terminal: a command that waits for input gets none. Put what is to go on behind others into the
        background with `&`.

        Args:
            command: The command to run. Required unless the shell is restarted.
            restart: True begins with a fresh shell, in the working directory.
        """
        if restart:
            self._shell.restart()
            if not command:
                return "Bash session restarted"
        if not command or not command.strip():
            raise ToolError("there is no command; give one, or restart=true")
        if self._shell.ended:
            raise ToolError(f"the shell has ended ({self._shell.ended}); call bash with restart=true")
        return _text(self._shell.run(command, wall_s=self._wall_s), self._shell.ended)


def _text(result: SandboxResult, ended: str) -> str:
    """Return the output, and how the command ended if that was not well."""
    output = result.stdout.removesuffix("\n")
    notes = []
    if ended:
        notes.append(f"[the shell has ended: it {ended}; call bash with restart=true]")
    elif result.status == "timed out":
        notes.append(f"[the command was {result.summary}; the shell is as it was before]")
    elif result.status != "exit" or result.exit_code:
        notes.append(f"[{result.summary.partition(' after ')[0] if result.status == 'exit' else result.summary}]")
    return "\n".join([*([output] if output else []), *notes]) or "(no output)"
