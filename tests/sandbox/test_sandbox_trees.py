"""Trees of files go in and are named, whatever an agent has put in their way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_rltask import DefinitionError, Sandbox, SandboxLimits, ToolError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "project"
    (top / "src" / "__pycache__").mkdir(parents=True)
    (top / "src" / "main.py").write_text("print('main')")
    (top / "src" / "__pycache__" / "main.pyc").write_bytes(b"old")
    (top / "run.sh").write_text("#!/bin/sh\nexec cat link")
    (top / "run.sh").chmod(0o755)
    (top / "data").write_bytes(b"\x00\xff")
    (top / "link").symlink_to("data")
    return top


def test_a_folder_is_copied_with_its_links_and_the_right_to_execute(tree: Path) -> None:
    with Sandbox() as sandbox:
        sandbox.copy_in(tree)

        assert sandbox.files(recursive=True) == ["data", "run.sh", "src/main.py"]
        assert sandbox.read_file("data", max_bytes=10) == b"\x00\xff"
        assert sandbox.run("./run.sh | od -An -tx1").stdout.strip() == "00 ff"
        assert sandbox.run_python("src/main.py").stdout == "main\n"


def test_it_may_go_elsewhere_and_leave_something_out(tree: Path) -> None:
    with Sandbox() as sandbox:
        sandbox.copy_in(tree, "repo/deep", exclude=["*.sh", "data", "link"])
        sandbox.copy_in(tree / "data", "repo")

        assert sandbox.files() == []
        assert sandbox.files(recursive=True) == [
            "repo/data",
            "repo/deep/src/__pycache__/main.pyc",
            "repo/deep/src/main.py",
        ]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda top: (top / "out").symlink_to("/etc/passwd"), "out is a link to /etc/passwd, outside of"),
        (lambda top: (top / "src" / "up").symlink_to("../../other"), "outside of .*put the file itself there"),
        (lambda top: os.mkfifo(top / "pipe"), "pipe is a pipe; leave it out: exclude="),
        (lambda top: (top / "big").write_bytes(b"x" * 3000), "big has 3000 bytes; .*file_bytes"),
        (lambda top: [(top / f"f{i}").write_bytes(b"") for i in range(30)], "files; SandboxLimits.disk_files"),
    ],
    ids=["a link out", "a link up", "a pipe", "a big file", "many files"],
)
def test_what_cannot_be_copied_is_told_before_anything_is(tree: Path, spoil: object, said: str) -> None:
    spoil(tree)  # type: ignore[operator]
    limits = SandboxLimits(file_bytes=2000, disk_files=20)

    with Sandbox(limits) as sandbox:
        with pytest.raises(DefinitionError, match=said):
            sandbox.copy_in(tree)

        assert sandbox.files(recursive=True) == []


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with Sandbox() as sandbox, pytest.raises(DefinitionError, match="does not exist; give the path"):
        sandbox.copy_in(tmp_path / "missing")


def test_files_are_written_all_or_none_for_want_of_room() -> None:
    with Sandbox(SandboxLimits(disk_files=4)) as sandbox:
        with pytest.raises(ToolError, match="more than 4 files"):
            sandbox.write_files({f"f{number}": "x" for number in range(5)})
        assert sandbox.files() == []

        sandbox.write_files({"a/b.txt": "text", "c": b"bytes"})
        assert sandbox.files(recursive=True) == ["a/b.txt", "c"]


def test_links_are_neither_named_nor_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with Sandbox() as sandbox:
        sandbox.run(f"ln -s {tmp_path} out; ln -s . loop; mkdir -p d/e; touch d/e/f; ln -s ../d/e/f d/g; mkfifo p")

        assert sandbox.files(recursive=True) == ["d/e/f"]
        for name in ("out/new", "loop/new"):
            with pytest.raises(ToolError, match="is a link"):
                sandbox.write_files({name: "x"})
        with pytest.raises(ToolError, match="is a link"):
            sandbox.copy_in(tmp_path / "secret", "out")
    assert sorted(os.listdir(tmp_path)) == ["secret"]


def test_deep_and_closed_folders_are_left_out() -> None:
    with Sandbox() as sandbox:
        sandbox.run("mkdir closed; touch closed/f shown; chmod 000 closed")
        sandbox.run("for i in $(seq 38); do mkdir d; cd d; done; touch f")

        assert "shown" in sandbox.files(recursive=True)
        assert any(name.count("/") == 38 for name in sandbox.files(recursive=True))


def test_a_program_that_is_written_to_stays_one() -> None:
    with Sandbox() as sandbox:
        sandbox.write_file("tool", "#!/bin/sh\necho 1", executable=True)
        sandbox.write_file("tool", "#!/bin/sh\necho 2")

        assert sandbox.run(["./tool"]).stdout == "2\n"
