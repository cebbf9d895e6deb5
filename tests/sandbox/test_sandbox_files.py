"""File operations in a folder where hostile code may have worked."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.sandbox import Sandbox, SandboxError, SandboxLimits, workspace
from pytest_rltask.sandbox.watcher import removal
from pytest_rltask.tools import ToolError

LIMIT = 1000


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxLimits(file_bytes=LIMIT)) as sandbox:
        yield sandbox


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that no operation may touch, holding one file."""
    (tmp_path / "precious.txt").write_text("precious")
    return tmp_path


def read(sandbox: Sandbox, name: str) -> bytes:
    return sandbox.read_file(name, max_bytes=LIMIT)


# Writing


@pytest.mark.parametrize("name", ["a.py", "./a.py", "deep/er/a.py", "a b.txt", "naïve ✓.py", "...", "a//b", "x" * 255])
@pytest.mark.parametrize("content", ["text ✓", b"\xff\x00", ""], ids=["text", "bytes", "empty"])
def test_it_writes_what_it_is_told(sandbox: Sandbox, name: str, content: str | bytes) -> None:
    path = sandbox.write_file(name, content)

    expected = content.encode() if isinstance(content, str) else content
    assert path.read_bytes() == expected
    assert read(sandbox, name) == expected
    assert path.is_relative_to(sandbox.path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("/etc/passwd", "absolute"),
        ("../a", "inside"),
        ("a/../../b", "inside"),
        ("a/..", "inside"),
        ("..", "inside"),
        (".", "folder"),
        ("folder/", "folder"),
        ("folder", "folder"),
        ("folder/.", "folder"),
        ("file/a", "not a folder"),
        ("x" * 256, "too long"),
        ("é" * 128, "too long"),
        ("a/" * 600 + "b", "too long"),
        ("\ud800", "Unicode"),
    ],
)
def test_a_bad_name_is_refused_with_a_reason(sandbox: Sandbox, name: str, reason: str) -> None:
    sandbox.write_file("folder/kept", "kept")
    sandbox.write_file("file", "kept")

    with pytest.raises(ToolError, match=reason):
        sandbox.write_file(name, "bad")

    assert read(sandbox, "folder/kept") == read(sandbox, "file") == b"kept"
    assert b"bad" not in {path.read_bytes() for path in sandbox.path.rglob("*") if path.is_file()}


def test_content_that_is_no_unicode_text_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ToolError, match="Unicode"):
        sandbox.write_file("a.py", "\udc80")


def test_content_past_the_limit_is_refused(sandbox: Sandbox) -> None:
    sandbox.write_file("a.py", "x" * LIMIT)

    with pytest.raises(ToolError, match=f"{LIMIT + 1} bytes.*{LIMIT}"):
        sandbox.write_file("a.py", "y" * (LIMIT + 1))

    assert read(sandbox, "a.py") == b"x" * LIMIT


@pytest.mark.parametrize("name", ["link", "link/new.txt", "link/precious.txt", "file-link"])
def test_a_link_in_the_way_is_refused(sandbox: Sandbox, outside: Path, name: str) -> None:
    (sandbox.path / "link").symlink_to(outside)
    (sandbox.path / "file-link").symlink_to(outside / "precious.txt")

    with pytest.raises(ToolError, match="is a link"):
        sandbox.write_file(name, "stolen")

    assert [path.read_text() for path in outside.iterdir()] == ["precious"]


def test_a_hard_link_is_replaced_and_not_written_through(sandbox: Sandbox, outside: Path) -> None:
    os.link(outside / "precious.txt", sandbox.path / "a.txt")

    sandbox.write_file("a.txt", "new")

    assert (outside / "precious.txt").read_text() == "precious"
    assert read(sandbox, "a.txt") == b"new"


@pytest.fixture
def late_links(sandbox: Sandbox, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links to the outside that were a folder and a file when the sandbox looked, before it opens them."""
    (sandbox.path / "folder-link").symlink_to(outside)
    (sandbox.path / "file-link").symlink_to(outside / "precious.txt")
    seen, really = {"folder-link": "folder", "file-link": "file"}, workspace._kind
    monkeypatch.setattr(workspace, "_kind", lambda name, folder: seen.get(name) or really(name, folder))


@pytest.mark.usefixtures("late_links")
def test_a_link_that_appears_after_the_look_is_not_written_through(sandbox: Sandbox, outside: Path) -> None:
    with pytest.raises(ToolError):
        sandbox.write_file("folder-link/a.txt", "stolen")
    sandbox.write_file("file-link", "takes the place of the link")

    assert [path.read_text() for path in outside.iterdir()] == ["precious"]


@pytest.mark.usefixtures("late_links")
@pytest.mark.parametrize("name", ["folder-link/precious.txt", "file-link"])
def test_a_link_that_appears_after_the_look_is_not_read_through(sandbox: Sandbox, name: str) -> None:
    with pytest.raises(ToolError):
        read(sandbox, name)


@given(
    name=st.lists(st.sampled_from(["a", "b", ".", "..", "/", "/", "~", "\\", "\0", "\n", "é", "\ud800"])).map("".join)
)
def test_no_name_leads_out(name: str) -> None:
    with Sandbox() as sandbox:
        base = sandbox.path.parent
        before = set(base.iterdir())
        try:
            path = sandbox.write_file(name, "x")
        except ToolError:
            assert list(base.rglob("*.tmp")) == []
            return

        assert path.resolve().is_relative_to(sandbox.path.resolve())
        assert set(base.iterdir()) == before
        assert list((base / "tmp").iterdir()) == []
        assert [entry for entry in sandbox.path.rglob("*") if entry.is_file()] == [path]


def test_a_full_disk_is_our_fault_and_leaves_no_draft(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)

    with pytest.raises(SandboxError, match="No space"):
        sandbox.write_file("a.py", "x")

    assert os.listdir(sandbox.path) == []


def test_a_disk_that_the_agent_filled_is_its_own_to_clear(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.write_file("big", bytes(LIMIT))

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)

    with pytest.raises(ToolError, match="delete some"):
        sandbox.write_file("a.py", "x")


def test_an_agent_that_deleted_its_directory_is_told(sandbox: Sandbox) -> None:
    sandbox.path.rmdir()

    assert sandbox.files() == []
    with pytest.raises(ToolError, match="no longer exists"):
        sandbox.write_file("a.py", "")
    with pytest.raises(ToolError, match="no file"):
        sandbox.run_python("a.py")


# Reading


@pytest.mark.parametrize("name", ["missing", "missing/a"])
def test_a_missing_file_is_not_found(sandbox: Sandbox, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        read(sandbox, name)


@pytest.mark.parametrize("name", ["folder", "link", "hard", "pipe", "socket", "long", "../tmp", "/etc/hostname"])
def test_only_a_plain_file_is_read(sandbox: Sandbox, outside: Path, name: str) -> None:
    (sandbox.path / "folder").mkdir()
    (sandbox.path / "link").symlink_to(outside / "precious.txt")
    os.link(outside / "precious.txt", sandbox.path / "hard")
    os.mkfifo(sandbox.path / "pipe")
    (sandbox.path / "long").write_bytes(bytes(LIMIT + 1))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sandbox.path / "socket"))

        with pytest.raises(ToolError, match=r"folder|link|special|bytes|inside|absolute"):
            read(sandbox, name)


def test_it_lists_the_plain_files_at_the_top(sandbox: Sandbox, outside: Path) -> None:
    sandbox.write_file("b.py", "")
    sandbox.write_file("a.py", "")
    sandbox.write_file("folder/c.py", "")
    (sandbox.path / "link").symlink_to(outside / "precious.txt")
    Path(os.fsdecode(os.fsencode(sandbox.path) + b"/z\xff")).touch()

    assert sandbox.files() == ["a.py", "b.py", "z\ufffd"]


# Cleaning up


def test_the_directory_is_private(sandbox: Sandbox) -> None:
    assert sandbox.path.stat().st_mode & 0o777 == 0o700
    # An agent with a user of its own must pass through the one above, but nobody can list it.
    assert sandbox.path.parent.stat().st_mode & 0o777 in (0o700, 0o711)


def test_it_removes_a_thousand_nested_folders() -> None:
    with Sandbox() as sandbox:
        sandbox.write_file(
            "deep.py",
            "import os\nfor _ in range(1200):\n    os.mkdir('d' * 50); open('f', 'w').close(); os.chdir('d' * 50)",
        )
        assert sandbox.run_python("deep.py").status == "files"

    assert not sandbox.path.parent.exists()


def test_it_removes_folders_without_permissions_and_odd_files(outside: Path) -> None:
    with Sandbox() as sandbox:
        for name in ("shut/in/a.txt", "shut/b.txt"):
            sandbox.write_file(name, "x")
        (sandbox.path / "link").symlink_to(outside)
        os.mkfifo(sandbox.path / "shut" / "pipe")
        Path(os.fsdecode(os.fsencode(sandbox.path) + b"/\xff")).mkdir()
        for folder in ("shut/in", "shut", "."):
            (sandbox.path / folder).chmod(0)

    assert not sandbox.path.parent.exists()
    assert (outside / "precious.txt").exists()


def test_what_cannot_be_removed_is_a_warning_and_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = Sandbox()
    sandbox.write_file("immortal", "")
    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", lambda *args, **kwargs: (_ for _ in ()).throw(PermissionError(1, "immortal")))

        with pytest.warns(RuntimeWarning, match="could not be removed: .*immortal"):
            sandbox.close()

    assert removal.remove_tree(sandbox.path.parent) == []
