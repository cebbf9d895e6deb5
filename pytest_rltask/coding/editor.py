"""The tool ``str_replace_based_edit_tool``, as Anthropic's type ``text_editor_20250728`` has it: an editor of files.

Its words are those of Anthropic's documentation where that has some. Files are reached as all files of a sandbox are:
no link is followed, and nothing outside of the working directory is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pytest_rltask.sandbox import Sandbox
from pytest_rltask.tools import ToolError, tool

__all__ = ["TextEditorTool"]

_READ_BYTES = 4 * 2**20
_LISTED = 500
_LEVELS = 2
Command = Literal["view", "create", "str_replace", "insert"]


class TextEditorTool:
    r"""Lets a model see and change the files of a sandbox.

    Example:
        >>> from pytest_rltask import Sandbox, TextEditorTool
        >>> with Sandbox() as sandbox:
        ...     edit = TextEditorTool(sandbox).str_replace_based_edit_tool
        ...     edit("create", "a.py", file_text="x = 1\n")
        ...     edit("str_replace", "a.py", old_str="1", new_str="2")
        ...     edit("view", "a.py")
        'File created successfully at: a.py'
        'Successfully replaced text at exactly one location.'
        '1: x = 2'
    """

    def __init__(self, sandbox: Sandbox, *, max_characters: int | None = None) -> None:
        """Offer an editor.

        Args:
            sandbox: Whose files.
            max_characters: How much of a file one view shows; by default what a tool's output may have
                (``Limits.tool_output_chars``).
        """
        self._sandbox, self._most = sandbox, max_characters
        self.native: Mapping[str, Any] = {
            "type": "text_editor_20250728",
            "name": "str_replace_based_edit_tool",
        } | ({"max_characters": max_characters} if max_characters else {})
        """What the Messages API is told where the model is Claude."""

    @tool
    def str_replace_based_edit_tool(
        self,
        command: Command,
        path: str,
        view_range: list[int] | None = None,
        file_text: str | None = None,
        old_str: str | None = None,
        new_str: str | None = None,
        insert_line: int | None = None,
        insert_text: str | None = None,
    ) -> str:
        """View a file or a folder, create a file, or edit one by replacing or inserting text.

        Args:
            command: `view` shows a file with line numbers, or what a folder holds; `create` writes a new file, or
                replaces one; `str_replace` replaces text that occurs exactly once; `insert` adds lines.
            path: The file or folder, relative to the working directory, or below it by its absolute path.
            view_range: For `view` of a file: its first and last line, from 1; -1 for the end of the file.
            file_text: For `create`: what the file holds.
            old_str: For `str_replace`: the text to replace, with its white space.
            new_str: For `str_replace`: the text in its place; by default none.
            insert_line: For `insert`: the line behind which the text goes; 0 for the beginning of the file.
            insert_text: For `insert`: the text.
        """
        name = self._name(path)
        if command == "view":
            return self._view(name, view_range)
        if command == "create":
            return self._create(name, _given(file_text, "file_text", command))
        if command == "str_replace":
            return self._replace(name, _given(old_str, "old_str", command), new_str or "")
        # Earlier versions of the type called it new_str.
        text = _given(insert_text if insert_text is not None else new_str, "insert_text", command)
        return self._insert(name, _given(insert_line, "insert_line", command), text)

    def _name(self, path: str) -> str:
        """Return a path relative to the working directory; empty for that itself."""
        top = str(self._sandbox.path)
        if path.rstrip("/") == top:
            return ""
        if path.startswith("/"):
            if not path.startswith(f"{top}/"):
                raise ToolError(f"Error: {path[:200]} is outside of the working directory, {top}; give a path inside")
            path = path.removeprefix(f"{top}/")
        return path.strip("/") if path.strip("/") != "." else ""

    def _view(self, name: str, view_range: list[int] | None) -> str:
        files = self._sandbox.files(recursive=True)
        name = name.removeprefix("./")
        if not name or (name not in files and any(file.startswith(f"{name}/") for file in files)):
            if view_range:
                raise ToolError("Error: view_range is for files, and this is a folder")
            return _listing(files, name)
        lines = self._read(name, strict=False).split("\n")
        if len(lines) > 1 and not lines[-1]:
            lines.pop()
        first, last = _range(view_range, len(lines))
        shown = "\n".join(f"{number}: {line}" for number, line in enumerate(lines[first - 1 : last], first))
        if self._most is None or len(shown) <= self._most:
            return shown
        return f"{shown[: self._most]}\n[... cut at {self._most} characters; give a view_range for the rest ...]"

    def _create(self, name: str, text: str) -> str:
        was_there = name in self._sandbox.files(recursive=True)
        self._sandbox.write_file(name, text)
        return f"File {'replaced' if was_there else 'created successfully'} at: {name}"

    def _replace(self, name: str, old: str, new: str) -> str:
        text = self._read(name, strict=True)
        if not old:
            raise ToolError("Error: old_str is empty; give the text to replace, or use insert")
        count = text.count(old)
        if count == 0:
            raise ToolError("Error: No match found for replacement. Please check your text and try again.")
        if count > 1:
            more = "Please provide more context to make a unique match."
            raise ToolError(f"Error: Found {count} matches for replacement text. {more}")
        self._sandbox.write_file(name, text.replace(old, new))
        return "Successfully replaced text at exactly one location."

    def _insert(self, name: str, line: int, text: str) -> str:
        lines = self._read(name, strict=True).splitlines(keepends=True)
        if not 0 <= line <= len(lines):
            raise ToolError(f"Error: insert_line must be from 0 to {len(lines)}, the number of lines; it is {line}")
        if line and not lines[line - 1].endswith("\n"):
            lines[line - 1] += "\n"
        added = text if text.endswith("\n") or line == len(lines) else f"{text}\n"
        self._sandbox.write_file(name, "".join([*lines[:line], added, *lines[line:]]))
        return f"Successfully inserted text after line {line}."

    def _read(self, name: str, *, strict: bool) -> str:
        try:
            data = self._sandbox.read_file(name, max_bytes=_READ_BYTES)
        except FileNotFoundError:
            raise ToolError(f"Error: File not found: {name}") from None
        try:
            return data.decode("utf-8", "strict" if strict else "replace")
        except UnicodeDecodeError:
            raise ToolError(f"Error: {name} is no UTF-8 text; change it by a program") from None


def _given(value: Any, name: str, command: str) -> Any:
    if value is None:
        raise ToolError(f"Error: {command} needs {name}")
    return value


def _range(given: list[int] | None, lines: int) -> tuple[int, int]:
    """Return the first and the last line to show."""
    if given is None:
        return 1, lines
    if len(given) != 2:
        raise ToolError("Error: view_range takes two numbers, the first and the last line, such as [1, 20]")
    first, last = given
    last = lines if last == -1 else last
    if not 1 <= first <= max(lines, 1):
        raise ToolError(f"Error: the first line of view_range must be from 1 to {max(lines, 1)}; it is {first}")
    if last < first:
        raise ToolError(f"Error: the last line of view_range must be -1, or {first} or more; it is {last}")
    return first, min(last, lines)


def _listing(files: list[str], name: str) -> str:
    """Return what a folder holds, two levels deep, without what is hidden."""
    inside = f"{name}/" if name else ""
    shown: dict[str, None] = {}
    for file in files:
        parts = file.removeprefix(inside).split("/")
        if not file.startswith(inside) or any(part.startswith(".") for part in parts):
            continue
        for depth in range(1, min(len(parts), _LEVELS) + 1):
            shown["/".join(parts[:depth]) + ("/" if depth < len(parts) else "")] = None
    listed = sorted(shown)
    more = [f"[... and {len(listed) - _LISTED} more ...]"] if len(listed) > _LISTED else []
    return "\n".join([*listed[:_LISTED], *more]) or "(the folder is empty)"
