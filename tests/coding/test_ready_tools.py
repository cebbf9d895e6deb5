"""The ready-made tools of coding tasks: what a model reads of them, and how they come to an episode and to a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask import BashTool, DefinitionError, Sandbox, SandboxLimits, TextEditorTool, ToolError, tool
from pytest_rltask.models.native_tools import sent_tools
from pytest_rltask.tools import InvalidCall, has_tools, tools_of


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with Sandbox(SandboxLimits(wall_s=20)) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    shared.run("find . -mindepth 1 -delete")
    return shared


class Kit:
    """An episode, as far as its tools go."""

    def __init__(self, *tools: object) -> None:
        self.tools = list(tools)


# bash


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo hi", "hi"),
        ("true", "(no output)"),
        ("echo out; echo err >&2; false", "out\nerr\n[exited with code 1]"),
        ("sleep 30", "[the command was killed after 0.5 s, its time limit; the shell is as it was before]"),
        ("nosuchthing", "not found\n[exited with code 127]"),
        ("exit 3", "[the shell has ended: it exited with code 3; call bash with restart=true]"),
    ],
)
def test_a_command_is_told_with_how_it_ended(sandbox: Sandbox, command: str, said: str) -> None:
    text = BashTool(sandbox, wall_s=0.5 if command.startswith("sleep") else None).bash(command)

    assert text.endswith(said) or text.split("after 0.5")[0] == said.split("after 0.5")[0]


def test_the_shell_is_restarted_and_says_when_it_must_be(sandbox: Sandbox) -> None:
    bash = BashTool(sandbox).bash
    bash("x=1")
    bash("exit")

    with pytest.raises(ToolError, match=r"the shell has ended .*restart=true"):
        bash("echo $x")
    assert bash(restart=True) == "Bash session restarted"
    assert bash("echo [$x]") == "[]"
    with pytest.raises(ToolError, match="there is no command"):
        bash()


# The editor


def edited(sandbox: Sandbox, command: str, path: str, **more: Any) -> str:
    return TextEditorTool(sandbox).str_replace_based_edit_tool(command, path, **more)  # type: ignore[arg-type]


def test_files_are_created_seen_and_changed(sandbox: Sandbox) -> None:
    assert (
        edited(sandbox, "create", "src/a.py", file_text="one\ntwo\nthree\n") == "File created successfully at: src/a.py"
    )
    assert edited(sandbox, "view", "src/a.py") == "1: one\n2: two\n3: three"
    assert edited(sandbox, "view", str(sandbox.path / "src/a.py"), view_range=[2, -1]) == "2: two\n3: three"
    assert edited(sandbox, "str_replace", "src/a.py", old_str="two\n", new_str="2\n").startswith(
        "Successfully replaced"
    )
    assert edited(sandbox, "str_replace", "src/a.py", old_str="2\n").endswith("exactly one location.")
    assert edited(sandbox, "insert", "src/a.py", insert_line=1, insert_text="new").startswith("Successfully inserted")
    assert sandbox.read_file("src/a.py", max_bytes=100) == b"one\nnew\nthree\n"
    assert edited(sandbox, "create", "src/a.py", file_text="") == "File replaced at: src/a.py"
    assert edited(sandbox, "insert", "src/a.py", insert_line=0, insert_text="x\n")
    assert sandbox.read_file("src/a.py", max_bytes=100) == b"x\n"


def test_a_folder_is_listed_two_levels_deep_without_what_is_hidden(sandbox: Sandbox) -> None:
    assert edited(sandbox, "view", ".") == "(the folder is empty)"
    sandbox.write_files({"a.py": "", "b/c/d.py": "", "b/e.py": "", ".git/config": ""})

    assert edited(sandbox, "view", ".") == "a.py\nb/\nb/c/\nb/e.py"
    assert edited(sandbox, "view", str(sandbox.path)) == edited(
        sandbox, "view", "/" + str(sandbox.path).strip("/") + "/"
    )
    assert edited(sandbox, "view", "b") == "c/\nc/d.py\ne.py"


@pytest.mark.parametrize(
    ("command", "more", "said"),
    [
        ("view", {"path": "missing"}, "Error: File not found: missing"),
        ("view", {"path": "/etc/passwd"}, "Error: /etc/passwd is outside of the working directory"),
        ("view", {"path": "../x"}, r"contains '\.\.'"),
        ("view", {"path": "link"}, "is a link"),
        ("view", {"view_range": [0, 2]}, "from 1 to 2; it is 0"),
        ("view", {"view_range": [2, 1]}, "must be -1, or 2 or more"),
        ("view", {"view_range": [1]}, "takes two numbers"),
        ("view", {"path": ".", "view_range": [1, 2]}, "is for files"),
        ("create", {}, "create needs file_text"),
        ("str_replace", {"old_str": "z"}, "No match found for replacement. Please check your text and try again."),
        ("str_replace", {"old_str": "a"}, "Found 2 matches for replacement text. Please provide more context"),
        ("str_replace", {"old_str": ""}, "old_str is empty"),
        ("str_replace", {}, "str_replace needs old_str"),
        ("str_replace", {"path": "binary", "old_str": "a"}, "no UTF-8 text"),
        ("insert", {"insert_text": "x"}, "insert needs insert_line"),
        ("insert", {"insert_text": "x", "insert_line": 9}, "from 0 to 2"),
    ],
)
def test_what_cannot_be_done_is_told(sandbox: Sandbox, command: str, more: dict[str, Any], said: str) -> None:
    sandbox.write_files({"file": "a\na\n", "binary": b"\xff\x00"})
    sandbox.run("ln -sf /etc/passwd link")

    with pytest.raises(ToolError, match=said):
        edited(sandbox, command, **{"path": "file", **more})


def test_what_is_no_text_and_long_is_seen_tamed(sandbox: Sandbox) -> None:
    sandbox.write_files({"binary": b"\xff", "long": "x" * 100})

    assert edited(sandbox, "view", "binary") == "1: �"
    editor = TextEditorTool(sandbox, max_characters=10)
    assert editor.str_replace_based_edit_tool("view", "long").startswith("1: xxxxxxx\n[... cut at 10 characters")


def test_an_editor_leaves_line_ends_and_modes_as_they_are(sandbox: Sandbox) -> None:
    sandbox.write_file("run", "#!/bin/sh\necho 1\r\n", executable=True)

    edited(sandbox, "str_replace", "run", old_str="1", new_str="2")

    assert sandbox.read_file("run", max_bytes=100) == b"#!/bin/sh\necho 2\r\n"
    assert sandbox.run("test -x run").ok


# An episode's, and a server's


def test_an_episode_names_them_and_objects_of_its_own(sandbox: Sandbox) -> None:
    class Dice:
        @tool
        def roll(self, sides: int) -> int:
            """Roll a die."""
            return sides

    tools = tools_of(Kit(BashTool(sandbox), TextEditorTool(sandbox), Dice()))

    assert list(tools) == ["bash", "str_replace_based_edit_tool", "roll"]
    assert tools["bash"].bind({"command": "echo 1"})() == "1"
    assert tools["bash"].input_schema["properties"].keys() == {"command", "restart"}
    assert tools["str_replace_based_edit_tool"].input_schema["required"] == ["command", "path"]
    assert tools["str_replace_based_edit_tool"].bind({"command": "view", "path": "."})() == "(the folder is empty)"
    with pytest.raises(InvalidCall, match="command: Input should be"):
        tools["str_replace_based_edit_tool"].bind({"command": "undo_edit", "path": "a"})
    assert tools["roll"].entry == tools["roll"].param


def test_mistakes_in_what_it_names_are_told(sandbox: Sandbox) -> None:
    with pytest.raises(DefinitionError, match="a second tool 'bash'"):
        tools_of(Kit(BashTool(sandbox), BashTool(sandbox)))
    with pytest.raises(DefinitionError, match=r"which has no tool; write self.tools = \[BashTool"):
        tools_of(Kit(sandbox))


def test_a_class_that_names_tools_is_not_taken_for_one_without() -> None:
    assert has_tools(Kit)
    assert not has_tools(Path)


def test_claude_is_told_their_types_and_others_their_schemas(sandbox: Sandbox) -> None:
    from anthropic.types import ToolBash20250124Param, ToolTextEditor20250728Param

    kit = tools_of(Kit(BashTool(sandbox), TextEditorTool(sandbox, max_characters=5000)))
    entries = [one.entry for one in kit.values()]

    bash, editor = sent_tools(entries, native=True)
    assert bash == {"type": "bash_20250124", "name": "bash"}
    assert editor == {
        "type": "text_editor_20250728",
        "name": "str_replace_based_edit_tool",
        "max_characters": 5000,
    }
    assert bash.keys() <= ToolBash20250124Param.__annotations__.keys()
    assert editor.keys() <= ToolTextEditor20250728Param.__annotations__.keys()
    assert sent_tools(entries, native=False) == [one.param for one in kit.values()]
