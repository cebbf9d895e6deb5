"""What tests get of code that runs apart from them, and what the author is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_rltask import DefinitionError, IsolatedGrade, Sandbox, SandboxLimits, isolated_grade
from tests.conftest import slow

CODE = """
    import collections, enum

    def echo(value): return value
    def many(): return 1, [2.5, None], {"a": {3}}, b"b", frozenset([4]), 1j, True
    Point = collections.namedtuple("Point", "x y")
    class Colour(enum.IntEnum): RED = 1
    def bases(): return Point(1, 2), Colour.RED, collections.Counter("aab")

    class Empty(IndexError): pass
    class Stack:
        size = 0
        def __init__(self, *items): self.items = list(items)
        def __len__(self): return len(self.items)
        def __contains__(self, item): return item in self.items
        def __iter__(self): return iter(self.items)
        def __getitem__(self, place): return self.items[place]
        def __eq__(self, other): return True
        def __str__(self): return f"a stack of {len(self)}"
        def pop(self):
            if not self.items: raise Empty("nothing is left")
            return self.items.pop()
    class Broken(Exception): pass
    class Worse(Broken, ValueError): pass
    Alias = ValueError
    def breaks(): raise Worse("worse")
    def items_of(stack): return stack.items
    def divide(a, b): return a / b
    def decode(data): return data.decode()
    def leave(): raise SystemExit(0)
    def crash(): import os; os.abort()
    def wait(): import time; time.sleep(60)
    print("as it is imported")
"""
TESTS = """
    import agent_code, pytest, solution
    from solution import Stack, Empty

    def test_plain_data():
        assert solution.many() == (1, [2.5, None], {"a": {3}}, b"b", frozenset([4]), 1j, True)
        assert solution.echo({(1, 2): ["a", {"b": None}]}) == {(1, 2): ["a", {"b": None}]}

    def test_subclasses_are_their_bases():
        values = solution.bases()
        assert values == ((1, 2), 1, {"a": 2, "b": 1})
        assert [type(value) for value in values] == [tuple, int, dict]

    def test_objects():
        stack = Stack(1, 2)
        assert (len(stack), 2 in stack, 3 in stack, list(stack), stack[0]) == (2, True, False, [1, 2], 1)
        assert (stack.pop(), solution.items_of(stack), str(stack), stack.size) == (2, [1], "a stack of 1", 0)
        stack.size = 5
        assert stack.size == 5

    def test_objects_are_equal_to_themselves_alone():
        assert Stack() != Stack()
        assert Stack() != 1

    def test_exceptions():
        with pytest.raises(Empty, match="nothing is left"): Stack().pop()
        with pytest.raises(IndexError): Stack().pop()
        with pytest.raises(ZeroDivisionError): solution.divide(1, 0)
        with pytest.raises(UnicodeDecodeError): solution.decode(bytes([255]))
        with pytest.raises(agent_code.AgentError): solution.leave()
        with pytest.raises(AttributeError): solution.nothing
        with pytest.raises(solution.Broken): solution.breaks()
        with pytest.raises(solution.Alias, match="worse"): solution.breaks()

    def test_what_cannot_be_given():
        with pytest.raises(TypeError, match="another process"): solution.echo(object())

    def test_a_crash_is_the_end_of_what_was_there_and_no_more():
        stack = Stack()
        with pytest.raises(agent_code.AgentError, match="ended"): solution.crash()
        with pytest.raises(agent_code.AgentError, match="took this object"): len(stack)
        assert solution.echo(1) == 1

    def test_a_call_has_a_time():
        with pytest.raises(agent_code.AgentError, match="within 2 s"): solution.wait()
        assert solution.echo(2) == 2

    def test_programs():
        assert agent_code.run(["sh", "-c", "cat; echo err >&2; exit 3"], "given") == (3, "given", "err\\n")
        assert agent_code.run("cat data.txt") == (0, "of the agent", "")
"""


def graded(code: str, tests: str, command: list[str] | None = None, **more: object) -> IsolatedGrade:
    with Sandbox(SandboxLimits(wall_s=60)) as sandbox:
        sandbox.write_files({"solution.py": dedent(code), "data.txt": "of the agent"})
        return isolated_grade(sandbox, {"test_it.py": dedent(tests)}, command, **more)  # type: ignore[arg-type]


def test_calls_bring_plain_data_and_objects_that_stay_there() -> None:
    grade = graded(CODE, TESTS, call_s=2)

    assert grade.ok, (grade.said, grade.runner)
    assert set(grade.tests.values()) == {"passed"}
    assert grade.code is not None
    assert grade.code.stdout.startswith("as it is imported\n")


def test_the_share_counts_each_test_and_the_reason_names_one() -> None:
    tests = """
        import pytest
        def test_good(): pass
        def test_bad(): assert 1 == 2
        @pytest.mark.skip
        def test_left_out(): pass
        @pytest.mark.xfail
        def test_meant_to_fail(): assert False
    """

    grade = graded("", tests)

    assert (grade.share, grade.passed, grade.complete, grade.ok) == (0.25, 1, True, False)
    assert [outcome for _, outcome in sorted(grade.tests.items())] == ["failed", "passed", "skipped", "failed"]
    assert grade.reason == "1 of 4 tests passed; the first that did not: test_it.py::test_bad"
    assert "assert 1 == 2" in grade.said["test_it.py::test_bad"]


def test_another_command_is_graded_by_its_exit_code() -> None:
    code = "def add(a, b): return a + b"
    right = graded(code, "import solution; assert solution.add(1, 2) == 3", [sys.executable, "test_it.py"])
    wrong = graded(code, "import solution; assert solution.add(1, 2) == 4", [sys.executable, "test_it.py"])

    assert (right.ok, right.share, right.tests) == (True, 1.0, {})
    assert (wrong.ok, wrong.share) == (False, 0.0)
    assert wrong.reason.startswith("the command exited with code 1")


def test_modules_in_packages_are_stand_ins_too() -> None:
    with Sandbox() as sandbox:
        sandbox.write_files({"pack/__init__.py": "", "pack/deep/__init__.py": "TOP = 1", "pack/deep/mod.py": "X = 2"})
        tests = "import pack.deep.mod as mod\nfrom pack.deep import TOP\ndef test_it(): assert (TOP, mod.X) == (1, 2)"
        grade = isolated_grade(sandbox, {"test_it.py": tests}, code=["pack.deep", "pack.deep.mod"])

    assert grade.ok, grade.runner


def test_the_agents_sandbox_is_only_read() -> None:
    with Sandbox() as sandbox:
        sandbox.write_file("solution.py", "open('mark', 'w').close()\ndef f(): return 1")
        sandbox.run("ln -s /etc/passwd link; mkfifo pipe; chmod 000 data; ln solution.py twice; rm twice")
        grade = isolated_grade(sandbox, {"test_it.py": "from solution import f\ndef test_it(): assert f() == 1"})

        assert grade.ok, grade.runner
        assert sandbox.files() == ["solution.py"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"code": "solution"}, "takes a list of modules"),
        ({"code": ["json"]}, "is also a module of Python's"),
        ({"code": ["test_it"]}, "is also a module of Python's, of pytest's or of the tests"),
        ({"code": ["not a name"]}, "no name of a module"),
        ({"command": [sys.executable, "-m", "pytest", "test_missing.py"]}, "runs no test; pytest says"),
        ({"command": [sys.executable, "-m", "pytest", "-k", "nothing"]}, "runs no test; pytest says"),
    ],
)
def test_a_mistake_of_the_author_is_told(arguments: dict[str, object], said: str) -> None:
    with Sandbox() as sandbox, pytest.raises(DefinitionError, match=said):
        isolated_grade(sandbox, {"test_it.py": "def test_it(): pass"}, **arguments)  # type: ignore[arg-type]


def test_without_tests_and_command_there_is_nothing_to_grade_by() -> None:
    with Sandbox() as sandbox, pytest.raises(DefinitionError, match=r"no test_\*\.py among its files"):
        isolated_grade(sandbox, {"check.py": ""})


@pytest.mark.slow
def test_the_agents_packages_need_no_pytest(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    with Sandbox(python=tmp_path / "env") as sandbox:
        sandbox.write_file("solution.py", "import sys\ndef where(): return sys.prefix")
        tests = f"import solution\ndef test_it(): assert solution.where() == {os.fspath(tmp_path / 'env')!r}"
        apart = isolated_grade(sandbox, {"test_it.py": tests})

        assert apart.ok, apart.runner
        with pytest.raises(DefinitionError, match="No module named pytest"):
            isolated_grade(sandbox, {"test_it.py": tests}, together=True)


HIDING = """
    import pytest, solution

    def test_all():
        assert all(map(lambda x: solution.square(x) == x * x, [2, 3]))

    def test_zip():
        for got, want in zip(map(solution.square, [2, 3]), [4, 9]):
            assert got == want

    def test_raises():
        with pytest.raises(solution.Empty):
            assert solution.parse("") is None

    def test_except():
        try:
            assert solution.parse("") is None
        except solution.Empty:
            pass
"""
WRONG = "def square(x): {}\ndef parse(text): return 0\nEmpty = {}\n"


@pytest.mark.parametrize(
    ("raised", "empty"),  # what has nothing to do with one another: half of the tests are about either
    [
        ("raise StopIteration", "AssertionError"),
        ("raise type('Own', (StopIteration,), {})", "type('Own', (AssertionError,), {})"),
        ("return 0", "Exception"),
    ],
)
def test_no_exception_of_the_agents_hides_a_failed_comparison(raised: str, empty: str) -> None:
    grade = graded(WRONG.format(raised, empty), HIDING)

    assert (grade.ok, grade.share, len(grade.tests)) == (False, 0.0, 4)


def test_an_honest_exception_is_what_the_tests_expect() -> None:
    code = "class Empty(ValueError): pass\ndef square(x): return x * x\ndef parse(text): raise Empty(text)\n"

    assert graded(code, HIDING).ok


SKIPS = """
    import pytest
    def __getattr__(name):
        if name == "hard":
            pytest.skip("not today", allow_module_level=True)
        raise AttributeError(name)
    easy = 1
"""


def test_a_file_that_the_agents_code_skips_is_told() -> None:
    with Sandbox(SandboxLimits(wall_s=60)) as sandbox:
        sandbox.write_files({"solution.py": dedent(SKIPS)})
        tests = {
            f"test_{name}.py": f"from solution import {name}\ndef test(): assert {name} == 1\n"
            for name in ("easy", "hard")
        }

        grade = isolated_grade(sandbox, tests, together=True)

    assert (grade.ok, grade.tests["test_hard.py"], grade.share) == (False, "skipped", 0.5)


EXITS = {"solution.py": "import os\nos._exit(0)\n"}
READS_THE_WORD = """
import json, os
lines = [{"tests": ["test_it.py::test"]}, {"test": "test_it.py::test", "when": "call", "outcome": "passed"}]
lines.append({"end": 0, "count": 3, "word": os.environ.get("RLTASK_WORD")})
os.write(int(os.environ.get("RLTASK_TOLD", "12")), "".join(json.dumps(line) + "\\n" for line in lines).encode())
os._exit(0)
"""


BY_SHELL, BY_CHECK = ["sh", "-c", "python -m pytest -q test_it.py"], ["python", "check.py"]
IN_PYTESTS_PLACE = ("iniconfig", "pluggy", ".rltask/pytest", ".rltask/iniconfig")


@pytest.mark.parametrize(
    ("files", "command"),
    [
        *((EXITS, command) for command in (BY_SHELL, BY_CHECK, None)),
        *(({f"{name}.py": READS_THE_WORD}, BY_SHELL) for name in IN_PYTESTS_PLACE),
        *(slow({f"{name}.py": READS_THE_WORD}, command) for name in IN_PYTESTS_PLACE for command in (BY_CHECK, None)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "-".join(value or ["pytest"]).replace("/", ""),
)
def test_together_nothing_of_the_agents_runs_before_the_report_begins(
    files: dict[str, str], command: list[str] | None
) -> None:
    test = "from solution import add\ndef test(): assert add(1, 2) == 3\n"
    with Sandbox(SandboxLimits(wall_s=60)) as sandbox:
        sandbox.write_files({"solution.py": "def add(a, b): return 0\n", **files})

        grade = isolated_grade(sandbox, {"test_it.py": test, "check.py": test + "test()\n"}, command, together=True)

    assert (grade.ok, grade.share) == (False, 0.0)
