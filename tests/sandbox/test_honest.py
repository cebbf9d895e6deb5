"""Some of the table of honest programs, by the backend that is chosen here and forked from a preloaded interpreter.

``make honest`` plays all of it: every program and backend, cold runs too, as root and as an ordinary user.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask.sandbox import SandboxError, resolve_backend
from tests.sandbox.honest import DIFFERENCES, Column, Deed, Played, Program, check, run_bare
from tests.sandbox.honest_programs import PROGRAMS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the backends are Linux's")

KINDS = (
    *("KMeans", "csv by each engine"),
    *("multiprocessing.Pool", "locks and queues", "shared_memory", "asyncio with subprocesses", "subprocess of sh"),
    *("a server on loopback", "kill a child", "read /proc", "tempfile", "a file in /tmp", "sqlite3", "chmod"),
    *("os.utime", "a second module and a package", "exit codes", "signal.alarm", "python -m pytest", "who am I"),
)
"""One or two of each kind; `make honest` plays them all, in every column."""
SECURITY = Path(__file__).parents[2] / "docs" / "security.md"


@pytest.fixture(scope="module")
def column() -> Column:
    try:
        return Column(resolve_backend("auto"), "preloaded")
    except SandboxError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def sandbox(column: Column) -> Iterator[Played]:
    with Played(column) as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", KINDS)
def test_an_honest_program_does_what_it_does_elsewhere(name: str, column: Column, sandbox: Played) -> None:
    program = PROGRAMS[name]
    if program.missing:
        pytest.skip(f"{', '.join(program.missing)} is not installed")

    assert check(program, column, run_bare(program), sandbox.run(program)) == ""


@pytest.mark.parametrize("name", DIFFERENCES)
def test_every_difference_is_met_by_a_program_and_stated_in_the_documentation(name: str) -> None:
    assert any(name in program.differs for program in PROGRAMS.values())
    assert f"**{name}**" in SECURITY.read_text(encoding="utf-8")


BARE = Deed(0, "3\n", "", {"a.txt": b"x"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"exit_code": 1, "stderr": "PermissionError"}, "exit code 1 instead of 0"),
        ({"stdout": "4\n"}, "stdout '4"),
        ({"stderr": "careful"}, "stderr 'careful'"),
        ({"files": {}}, "files [] instead of ['a.txt']"),
        ({"files": {"a.txt": b"y"}}, "other content of a.txt"),
    ],
)
def test_the_comparison_sees_what_differs(change: dict[str, object], said: str) -> None:
    told = check(Program(""), Column("landlock", "cold"), BARE, dataclasses.replace(BARE, **change))

    assert (told == "") if said == "" else (said in told)


def test_a_difference_must_be_met_and_told_in_words() -> None:
    program = Program("", differs={"no network": lambda column: column.backend == "landlock"})
    here, elsewhere = Column("landlock", "cold"), Column("none", "cold")
    refused = dataclasses.replace(BARE, exit_code=1, stderr="OSError: [Errno 97] Address family not supported")
    silent = dataclasses.replace(BARE, exit_code=1)

    assert check(program, here, BARE, refused) == ""
    assert "does not say in words: no network" in check(program, here, BARE, silent)
    assert "no longer differs by: no network" in check(program, here, BARE, BARE)
    assert "exit code 1" in check(program, elsewhere, BARE, refused)
