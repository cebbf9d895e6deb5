"""The limits on what a sandbox's folders hold, and on open files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxLimits, SandboxResult
from pytest_rltask.sandbox.watcher import disk
from pytest_rltask.sandbox.watcher.descriptors import Held, held_by
from pytest_rltask.sandbox.watcher.disk import FOLDERS, Disk, usage
from pytest_rltask.sandbox.watcher.launcher import Limits
from pytest_rltask.tools import ToolError

MB = 2**20
PROMPT_S = 30.0
"""A guard against hanging: what is cut short would sleep for twice as long."""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

Run = Callable[..., SandboxResult]


@pytest.fixture(params=[(), ("decimal",)], ids=["cold", "preloaded"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a script in a sandbox of its own, under the limits given as keywords."""
    opened: list[Sandbox] = []

    def run(code: str, **limits: float) -> SandboxResult:
        sandbox = Sandbox(SandboxLimits(**{"wall_s": 20, **limits}), preload=request.param)  # type: ignore[arg-type]
        opened.append(sandbox)
        sandbox.write_file("script.py", dedent(code))
        return sandbox.run_python("script.py")

    yield run
    for sandbox in opened:
        sandbox.close()


FILL = """
    import os, tempfile, time
    os.chdir({folder})
    for i in range(16):
        with open(str(i), "wb") as file: file.write(os.urandom(2**20))
    {then}
"""


@pytest.mark.parametrize("folder", ["'.'", "tempfile.gettempdir()", "tempfile.mkdtemp()"])
@pytest.mark.parametrize("then", ["time.sleep(60)", "pass"], ids=["goes on", "ends"])
def test_files_that_take_more_than_their_limit_end_the_run(run: Run, folder: str, then: str) -> None:
    result = run(FILL.format(folder=folder, then=then), disk_bytes=8 * MB)

    assert (result.status, result.exit_code) == ("disk", None)
    assert result.wall_s < PROMPT_S
    assert "disk space" in result.summary


def test_files_below_the_limit_are_left_alone(run: Run) -> None:
    assert run(FILL.format(folder="'.'", then="time.sleep(0.3)"), disk_bytes=32 * MB).ok


@linux_only
def test_a_deleted_file_counts_as_long_as_it_is_open(run: Run) -> None:
    result = run(
        """
        import os, time
        file = open("a", "wb")
        os.unlink("a")
        file.write(os.urandom(16 * 2**20))
        file.flush()
        time.sleep(60)
        """,
        disk_bytes=8 * MB,
    )

    assert result.status == "disk"


HOLDS = {
    "mapped": ("libc.mmap(None, 4096, 1, 2, fd, 0)", "disk"),
    "in flight": ("socket.send_fds(ours, [b'x'], [fd])", "disk"),
    "hidden": ("libc.prctl(4, 0, 0, 0, 0); kept.append(os.dup(fd))", "disk or files"),
}
"""How a process keeps a file that has neither a name nor a descriptor to be seen, and what it counts as."""


@linux_only
@pytest.mark.parametrize("held", HOLDS)
def test_a_deleted_file_counts_however_it_is_held(run: Run, held: str) -> None:
    deed, told = HOLDS[held]
    result = run(
        f"""
        import ctypes, os, socket, time
        libc, kept = ctypes.CDLL(None), []
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        ours, theirs = socket.socketpair()
        for _ in range(32):
            fd = os.open("a", os.O_RDWR | os.O_CREAT)
            os.write(fd, bytes(2**20))
            {deed}
            os.unlink("a")
            os.close(fd)
        time.sleep(60)
        """,
        disk_bytes=8 * MB,
        file_bytes=MB,
    )

    assert result.status in told
    assert result.wall_s < PROMPT_S


@linux_only
def test_what_is_so_for_a_moment_does_not_count(tmp_path: Path) -> None:
    """Such as files that seem to be mapped by a child alone, since its parent was looked at before it made them."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
    maps = """if True:
        import ctypes, os
        libc = ctypes.CDLL(None)
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        fd = os.open("work/a", os.O_RDWR | os.O_CREAT)
        libc.mmap(None, 4096, 1, 2, fd, 0); os.unlink("work/a"); os.close(fd)
        print("ready", flush=True); input()
        """
    limits = Limits(f"9,{MB},{9 * MB},9,99,{8 * MB},99", bound_tasks=False)
    command = [sys.executable, "-c", maps]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline()
        place = f"/proc/{process.pid}"
        interrupted, lasting = Disk(str(tmp_path), limits), Disk(str(tmp_path), limits)

        of_one = [interrupted.over(lambda seen=seen: seen) for seen in ([place], [], [place], [place], [])]
        of_all = [lasting.over(lambda: [place]) for _ in range(3)]

        process.communicate(b"\n")
    assert of_one == [None] * 5
    assert of_all == [None, None, "disk"]


HIDES, MAPS = Held(), Held()
HIDES.opaque, MAPS.unknown_files = frozenset(["one of many"]), 9
OTHER_HIDES = Held()
OTHER_HIDES.opaque = frozenset(["another"])


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([HIDES, OTHER_HIDES, HIDES], "files"),
        ([HIDES, MAPS, OTHER_HIDES], "disk"),
        ([MAPS, HIDES, MAPS], "disk"),
        ([HIDES, Held(), OTHER_HIDES], None),
        ([MAPS, Held(), MAPS], None),
    ],
)
def test_who_hides_it_may_change_and_so_may_how(
    looks: list[Held], told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, seen = Disk(str(tmp_path), Limits(f"9,{MB},{MB},9,99,{8 * MB},99", bound_tasks=False)), iter(looks)
    monkeypatch.setattr(disk, "held_by", lambda places, folder: next(seen))

    assert [look.over() for _ in looks] == [None, None, told]


@linux_only
def test_files_do_not_escape_by_being_handed_from_process_to_process(run: Run) -> None:
    result = run(
        """
        import ctypes, os, time
        if os.fork():
            time.sleep(60)
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # closed to our user, but for root
        fd = os.open("a", os.O_RDWR | os.O_CREAT)
        os.unlink("a")
        os.write(fd, bytes(2**24))
        while True:
            time.sleep(0.05)
            if os.fork():
                os._exit(0)
        """,
        disk_bytes=8 * MB,
    )

    assert result.status in ("disk", "files")
    assert result.wall_s < PROMPT_S


@linux_only
def test_a_process_that_took_over_from_another_meanwhile_is_looked_at(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        file.write(bytes(MB))
        file.flush()
        listings = iter([[f"/proc/{gone.pid}"], [f"/proc/{os.getpid()}"], []])

        held = held_by(lambda: next(listings), str(tmp_path))

    assert held.deleted_bytes >= MB


def test_processes_are_listed_after_the_walk_over_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since the agent decides how long that takes."""
    done: list[str] = []
    monkeypatch.setattr(disk, "usage", lambda *_, **__: done.append("walk") or (0, 0))

    def places() -> list[str]:
        done.append("list")
        return []

    Disk(str(tmp_path), Limits(f"9,{MB},{MB},9,99,{MB},99", bound_tasks=False)).over(places)

    assert done[:2] == ["walk", "list"]


@linux_only
def test_what_lies_in_sockets_counts_as_memory(run: Run) -> None:
    result = run(
        """
        import socket, time
        pairs = [socket.socketpair() for _ in range(200)]
        time.sleep(60)
        """,
        memory_bytes=64 * MB,
    )

    assert result.status == "memory"


@linux_only
def test_files_in_memory_count_as_well() -> None:
    with Sandbox(SandboxLimits(wall_s=20, disk_bytes=8 * MB), backend="none") as sandbox:  # others forbid them
        sandbox.write_file(
            "script.py", "import os, time; os.write(os.memfd_create('a'), bytes(16 * 2**20)); time.sleep(60)"
        )

        assert sandbox.run_python("script.py").status == "disk"


@pytest.mark.parametrize(
    "deed",
    [
        "for i in range(200): open(str(i), 'w').close()",
        "for i in range(200): os.mkdir(str(i))",
        "for i in range(60): os.mkdir('d'); os.chdir('d')",
        "for i in range(200): os.symlink('missing', str(i))",
    ],
    ids=["files", "folders", "depth", "links"],
)
def test_too_many_files_end_the_run(run: Run, deed: str) -> None:
    result = run(f"import os, time\n{deed}\ntime.sleep(60)", disk_files=100)

    assert (result.status, result.exit_code) == ("files", None)
    assert result.wall_s < PROMPT_S
    assert "files" in result.summary


def test_a_sparse_file_takes_no_space(run: Run) -> None:
    assert run("open('a', 'wb').truncate(64 * 2**20); import time; time.sleep(0.3)", disk_bytes=8 * MB).ok


def test_a_process_may_hold_so_many_files_open(run: Run) -> None:
    result = run("files = [open('script.py') for _ in range(200)]", open_files=100)

    assert result.exit_code == 1
    assert "Too many open files" in result.stderr


def test_write_file_refuses_what_would_exceed_the_limits() -> None:
    with Sandbox(SandboxLimits(disk_bytes=2 * MB, disk_files=4)) as sandbox:
        sandbox.write_file("a", os.urandom(MB))
        with pytest.raises(ToolError, match="more than 2097152 bytes together"):
            sandbox.write_file("b", os.urandom(MB + MB // 2))

        for name in "bcd":
            sandbox.write_file(name, "")
        with pytest.raises(ToolError, match="more than 4 files and folders"):
            sandbox.write_file("e", "")


def test_a_file_may_be_replaced_at_the_limit() -> None:
    with Sandbox(SandboxLimits(disk_bytes=2 * MB, disk_files=1)) as sandbox:
        for _ in range(3):
            sandbox.write_file("a", os.urandom(MB + MB // 2))


@pytest.mark.parametrize("preload", [(), ("decimal",)], ids=["cold", "preloaded"])
def test_a_script_that_deletes_all_folders_has_exited(preload: tuple[str, ...]) -> None:
    with Sandbox(SandboxLimits(wall_s=20), backend="none", preload=preload) as sandbox:
        sandbox.write_file("script.py", "import os, shutil; shutil.rmtree(os.path.dirname(os.getcwd()))")

        assert sandbox.run_python("script.py").status == "exit"
        with pytest.warns(RuntimeWarning, match="could not be removed"):
            sandbox.close()


# The walk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of an agent, in a folder of ours."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_it_counts_what_is_there(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").write_bytes(os.urandom(MB))
    (folder.parent / "ours").write_bytes(os.urandom(MB))

    size, files = usage(str(folder.parent), max_bytes=10 * MB, max_files=10)

    assert files == 3
    assert MB <= size < MB + 2**16


def test_it_follows_no_link(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "file").write_bytes(os.urandom(MB))
    (folder / "link").symlink_to(outside)
    (folder / "loop").symlink_to(folder)

    size, files = usage(str(folder.parent), max_bytes=10 * MB, max_files=10)

    assert files == 2
    assert size < MB


def test_it_stops_where_a_maximum_is_exceeded_and_leaves_nothing_open(folder: Path) -> None:
    for i in range(50):
        (folder / f"{i}" / "below").mkdir(parents=True)
    before = os.listdir("/dev/fd")

    assert usage(str(folder.parent), max_bytes=10 * MB, max_files=5)[1] == 6
    assert len(os.listdir("/dev/fd")) == len(before)


def test_what_lies_too_deep_to_be_counted_exceeds_the_maximum(folder: Path) -> None:
    folder.joinpath(*["d"] * 60).mkdir(parents=True)

    assert usage(str(folder.parent), max_bytes=10 * MB, max_files=100)[1] > 100


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_exceeds_the_maximum(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o300)

    assert usage(str(folder.parent), max_bytes=10 * MB, max_files=100)[1] > 100
