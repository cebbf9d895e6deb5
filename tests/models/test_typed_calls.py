"""What a person types: parsed as calls, completed, explained."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.models.typed_calls import completions, described, parse_calls

TOOLS = {
    "guess": {
        "properties": {"number": {"type": "integer"}, "loud": {"type": "boolean"}, "how": {"enum": ["fast", "slow"]}},
        "required": ["number"],
    },
    "write": {"properties": {"path": {"type": "string"}, "content": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
    "look": {},
}


def parsed(line: str, **options) -> list[tuple[str, dict]]:
    return [(call.name, dict(call.arguments)) for call in parse_calls(line, TOOLS, **options)]


@pytest.mark.parametrize(
    ("line", "calls"),
    [
        ("look", [("look", {})]),
        ("guess number=5", [("guess", {"number": 5})]),
        ("guess number=5 loud=true how=fast", [("guess", {"number": 5, "loud": True, "how": "fast"})]),
        ("guess number=five", [("guess", {"number": "five"})]),  # refused by the tool, in its own words
        ("guess number=1; guess number=2;look", [("guess", {"number": 1}), ("guess", {"number": 2}), ("look", {})]),
        ("guess numbers='[1, 2]'", [("guess", {"numbers": [1, 2]})]),
        ("write path=5 content='a; b=c'", [("write", {"path": "5", "content": "a; b=c"})]),
        ("write path=a content=null", [("write", {"path": "a", "content": None})]),
        ("write path=@@home", [("write", {"path": "@home"})]),
        ("", []),
        (" ; ", []),
    ],
)
def test_a_line_is_parsed(line: str, calls: list) -> None:
    assert parsed(line) == calls


def test_a_value_is_read_from_a_file_or_typed_on(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print(1)\n", encoding="utf-8")
    assert parsed(f"write path=a content=@{tmp_path / 'a.py'}") == [("write", {"path": "a", "content": "print(1)\n"})]
    assert parsed("write path=a content='<<'", more=lambda: "typed\n") == [
        ("write", {"path": "a", "content": "typed\n"})
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gess number=1", "there is no tool 'gess'; the tools are: guess, write, look (> to say something)"),
        ("guess 5", "'5' gives no argument a value; write name=value (it takes number, loud, how)"),
        ("look 5", "'5' gives no argument a value; write name=value (it takes no arguments)"),
        ("write path='a", "No closing quotation"),
        ("write content=@/no/such/file", "No such file"),
    ],
)
def test_what_is_no_call_says_what_to_write(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_calls(line, TOOLS)


@given(st.integers(), st.booleans(), st.text(st.characters(exclude_categories=("Cs", "Cc"))))
def test_what_was_quoted_arrives(number: int, loud: bool, text: str) -> None:
    line = f"guess number={number} loud={json.dumps(loud)}; write content={shlex.quote(text)}"
    if text in ("null", "<<") or text.startswith("@"):
        return
    assert parsed(line) == [("guess", {"number": number, "loud": loud}), ("write", {"content": text})]


@given(st.text())
def test_no_line_breaks_the_parser(line: str) -> None:
    with contextlib.suppress(ValueError):
        parse_calls(line.replace("@", ""), TOOLS)
    completions(line, TOOLS)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", ["guess ", "write ", "look "]),
        ("gu", ["guess "]),
        ("guess ", ["number=", "loud=", "how="]),
        ("guess number=5 ", ["loud=", "how="]),
        ("guess loud=t", ["loud=true"]),
        ("guess how=", ["how=fast", "how=slow"]),
        ("look; gu", ["guess "]),
        ("nothing x", []),
    ],
)
def test_names_are_completed(line: str, found: list[str]) -> None:
    assert completions(line, TOOLS) == found


def test_tools_are_described() -> None:
    tools = [{"name": "guess", "description": "Guess.\n\nMore.", "input_schema": TOOLS["guess"]}]
    assert described(tools) == "guess number= loud= how=   Guess."
    assert described(tools, "guess").splitlines()[-1] == '  how:  (may be left out) {"enum": ["fast", "slow"]}'
    assert described(tools, "no") == "there is no tool 'no'"
    assert described([]) == "(there are no tools)"
