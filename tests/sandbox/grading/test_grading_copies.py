"""What an agent leaves in its folder to keep the tests from being run is its own miss, and costs us little."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from pytest_rltask import Sandbox, SandboxLimits, ToolError, isolated_grade
from pytest_rltask.sandbox import grading, workspace
from pytest_rltask.sandbox import sandbox as sandbox_module
from tests.sandbox.probes import processes_with

TEST = {"test_it.py": "from solution import f\ndef test_it(): assert f() == 1"}


def test_a_file_of_holes_is_copied_as_what_it_holds(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    with open(one / "holes", "wb") as file:
        file.write(b"head")
        file.truncate(2**28)
        file.seek(2**27)
        file.write(b"middle")

    taken = workspace.copy_file(one, "holes", two, room=2**20)

    assert taken < 2**17
    status = os.stat(two / "holes")
    assert (status.st_size, status.st_blocks * 512 < 2**17) == (2**28, True)
    with open(two / "holes", "rb") as file:
        assert file.read(5) == b"head\0"
        file.seek(2**27 - 1)
        assert file.read(8) == b"\0middle\0"


def test_the_folder_is_counted_for_no_file_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []
    real = sandbox_module.usage

    def usage(folder: str, **most: int) -> tuple[int, int]:
        counted.append(folder)
        return real(folder, **most)

    with Sandbox(backend="none") as one, Sandbox(backend="none") as two:
        for number in range(20):
            (one.path / f"{number}.txt").write_text(str(number))
        (one.path / "0.txt").chmod(0o700)
        monkeypatch.setattr(sandbox_module, "usage", usage)
        two.take(one)

        assert two.files() == one.files()
        assert [os.access(two.path / name, os.X_OK) for name in ("0.txt", "1.txt")] == [True, False]
    assert counted == []


@pytest.mark.parametrize(
    ("limits", "said"),
    [(SandboxLimits(disk_bytes=2**16), "more than 65536 bytes"), (SandboxLimits(disk_files=3), "more than 3 files")],
)
@pytest.mark.parametrize("together", [False, True])
def test_more_than_the_limits_is_the_agents_miss(limits: SandboxLimits, said: str, together: bool) -> None:
    with Sandbox(limits, backend="none") as sandbox:
        for number in range(5):
            (sandbox.path / f"{number}.bin").write_bytes(bytes(range(256)) * 64)

        grade = isolated_grade(sandbox, TEST, together=together)

    assert (grade.ok, grade.share, grade.tests) == (False, 0.0, {})
    assert grade.reason.startswith("the tests were not run: it")
    assert said in grade.reason


def test_tests_that_fit_no_more_beside_the_agents_files_are_its_miss() -> None:
    with Sandbox(SandboxLimits(disk_files=6), backend="none") as sandbox:
        for number in range(6):
            (sandbox.path / f"{number}.txt").touch()

        grade = isolated_grade(sandbox, TEST, together=True)

    assert grade.reason.startswith("the tests were not run: the tests could not be put beside what the agent left")


@pytest.mark.parametrize("name", ["tests", "data.txt/deep/more", ".rltask", ".rltask/x", "tests/test_it.py", "json.py"])
def test_names_in_the_way_of_the_tests_are_left_out(name: str) -> None:
    wanted = grading._wanted({"tests/test_it.py": "", "data.txt": ""})

    assert not wanted(name)
    assert wanted("solution.py")
    assert wanted("tests/other.py")


@pytest.mark.parametrize("name", ["vanishes", "grows"])
def test_a_file_that_changes_while_it_is_copied_raises_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(backend="none") as one, Sandbox(backend="none") as two:
        one.write_files({"solution.py": "1", "other": "2"})
        real = workspace.list_tree

        def meanwhile(root: Path) -> list[str]:
            found = real(root)
            if name == "vanishes":
                (root / "other").unlink()
            else:
                (root / "other").write_text("longer")
            return found

        monkeypatch.setattr(workspace, "list_tree", meanwhile)
        two.take(one)

        assert two.files() == (["solution.py"] if name == "vanishes" else ["other", "solution.py"])


def test_what_a_shell_left_at_work_ends_before_its_files_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    job = f"sleep 1000.{secrets.randbelow(10**9)}"
    monkeypatch.setattr(Sandbox, "sibling", lambda *args, **more: pytest.fail("too far"))
    with Sandbox(backend="none") as sandbox, sandbox.shell() as shell:
        shell.run(f"x=7; {job} &")
        assert processes_with(job.split()[1])

        with pytest.raises(pytest.fail.Exception, match="too far"):
            isolated_grade(sandbox, TEST)

        assert not processes_with(job.split()[1])
        assert shell.run("echo $x").stdout == "7\n"


def test_no_name_is_copied_to_what_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two/solution.py").mkdir(parents=True)
    (tmp_path / "one/solution.py").touch()

    with pytest.raises(ToolError, match="is a folder"):
        workspace.copy_file(tmp_path / "one", "solution.py", tmp_path / "two", room=1)
