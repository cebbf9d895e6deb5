"""What `.ci/run` concludes from the results of its passes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / ".ci"))

from results import BUBBLEWRAP, CHROMIUM, ROOT_ONLY, Case, failures, never_played, read, told

NO_BWRAP = "no isolation works here (bwrap: bwrap is not installed); install bubblewrap, or write --sandbox auto"
NO_DOCKER = "no isolation works here (docker: Cannot connect to the Docker daemon); install bubblewrap"
XML = """<testsuites><testsuite>
<testcase classname="tests.sandbox.test_x" name="test_a[bwrap-1]"><skipped message="bwrap is not installed"/></testcase>
<testcase classname="tests.sandbox.test_x" name="test_a[landlock-1]"/>
<testcase classname="tests.sandbox.test_x" name="test_b"><failure message="assert 0"/></testcase>
</testsuite></testsuites>"""


def case(name: str, status: str = "passed", reason: str = "", user: str = "root") -> Case:
    return Case(user, "tests/sandbox/test_x.py", name, status, reason)


def test_it_reads_what_became_of_each_test(tmp_path: Path):
    (tmp_path / "x.xml").write_text(XML)

    cases = list(read(tmp_path / "x.xml", "root"))

    assert [(each.name, each.status) for each in cases] == [
        ("test_a[bwrap-1]", "skipped"),
        ("test_a[landlock-1]", "passed"),
        ("test_b", "failure"),
    ]
    assert {each.file for each in cases} == {"tests/sandbox/test_x.py"}
    assert [each.played for each in cases] == [set(), {"landlock"}, set()]


@pytest.mark.parametrize(
    ("reason", "user", "lack"),
    [
        (NO_BWRAP, "root", BUBBLEWRAP),
        (NO_DOCKER, "root", "a Docker daemon"),
        ("the stand-in needs root and bubblewrap", "root", BUBBLEWRAP),
        ("the stand-in needs root and bubblewrap", "an ordinary user", ROOT_ONLY),
        ("no chromium on PATH (Debian: apt-get install chromium)", "root", CHROMIUM),
        ("not today", "root", '"not today"'),
    ],
)
def test_a_reason_says_what_is_lacking(reason: str, user: str, lack: str):
    assert case("test_a", "skipped", reason, user).lack == lack


def test_what_the_second_pass_plays_was_played():
    skipped = case("test_a[bwrap]", "skipped", NO_BWRAP)

    assert never_played([skipped], [case("test_a[bwrap]")]) == []
    assert never_played([skipped], [case("test_a[bwrap]", "skipped", NO_BWRAP)]) == [skipped]
    assert never_played([skipped], [case("test_b")]) == [skipped]


def test_where_there_is_no_second_pass_nothing_is_asked_of_it():
    assert never_played([case("test_a[bwrap]", "skipped", NO_BWRAP)], []) == []


def test_playing_as_root_does_not_count_for_the_ordinary_user():
    skipped = case("test_a[bwrap]", "skipped", NO_BWRAP, user="an ordinary user")
    second = [case("test_a[bwrap]"), case("test_b", user="an ordinary user")]

    assert never_played([skipped], second) == [skipped]


def test_it_says_what_a_pass_was():
    line = told("second pass", [case("test_a[bwrap]"), case("test_a[docker]", "skipped", NO_DOCKER)], ["bwrap"])

    assert line == (
        "second pass: played bwrap as root in 1 tests, make bench under bwrap; skipped 1 for lack of a Docker daemon"
    )


def test_what_failed_and_passed_by_itself_is_told_apart(tmp_path: Path):
    (tmp_path / "x.xml").write_text(XML.replace('test_a[landlock-1]"/>', 'test_c"><error message="e"/></testcase>'))
    (tmp_path / "x~again.xml").write_text(XML.replace("test_b", "test_c").replace("test_a[landlock-1]", "test_b"))
    (tmp_path / "y.xml").write_text(XML)

    bad, unsteady = failures([case for path in sorted(tmp_path.iterdir()) for case in read(path, "root")])

    assert [(each.report, each.name, each.reason) for each in bad] == [
        ("x", "test_c", "e"),
        ("y", "test_b", "assert 0"),
    ]
    assert [(each.report, each.name) for each in unsteady] == [("x", "test_b")]
