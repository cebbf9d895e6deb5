"""The table of attacks on what it may not use up: time, output, memory, processes, files."""

from __future__ import annotations

import sys

import pytest

from tests.sandbox.attacks.box import Box, refuse_unless, said
from tests.sandbox.probes import MB, attack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the backends tested here are Linux's")


def test_a_loop_that_ignores_signals_ends(box: Box) -> None:
    result = box(
        attack("""
for number in range(1, 65):
    attempt(lambda: signal.signal(number, signal.SIG_IGN))
while True:
    pass
"""),
        wall_s=1.0,
    )

    assert result.status == "timed out"


def test_a_process_that_stops_itself_and_its_parents_ends(box: Box) -> None:
    result = box(
        attack("attempt(lambda: os.kill(os.getppid(), signal.SIGSTOP)); os.kill(0, signal.SIGSTOP)"), wall_s=1.0
    )

    assert result.status == "timed out"


def test_a_flood_of_output_ends(box: Box) -> None:
    result = box(attack("while True: os.write(1, bytes(65536))"), flood_bytes=8 * MB)

    assert result.status == "output"
    assert len(result.stdout) < 100_000


def test_any_bytes_may_be_printed(box: Box) -> None:
    result = box(attack("os.write(1, bytes(range(256)) * 10 + b'\\xed\\xa0\\x80'); os.write(2, b'\\xff\\xfe')"))

    assert result.ok
    (result.stdout + result.stderr).encode()


@pytest.mark.parametrize(
    "code",
    [
        "block = bytearray(50 * 2**30)",
        "held = []\nwhile True: held.append(bytearray(2**20))",
        "import mmap\nheld = [mmap.mmap(-1, 256 * 2**20) for _ in range(400)]\nfor h in held: h.write(b'x' * len(h))",
    ],
    ids=["at once", "bit by bit", "shared"],
)
def test_memory_is_bounded(code: str, box: Box) -> None:
    result = box(attack(code), memory_bytes=256 * MB)

    assert not result.ok
    assert result.status in ("exit", "memory"), said(result)


def test_memory_of_many_processes_is_bounded_together(box: Box) -> None:
    result = box(
        attack("""
for _ in range(6):
    if os.fork() == 0:
        held = os.urandom(1) * (100 * 2**20)
        time.sleep(30)
time.sleep(30)
"""),
        memory_bytes=256 * MB,
    )

    assert result.status == "memory"


def test_what_the_kernel_holds_of_pages_without_content_is_bounded(box: Box) -> None:
    """It is no process's memory: a page in 512 of an address space that is only read, and read everywhere."""
    result = box(
        attack("""
libc.mmap.restype = ctypes.c_void_p
SIZE, PROT_READ, NORESERVE_ANONYMOUS_PRIVATE, NOHUGEPAGE = 12 * 2**30, 1, 0x4022, 15
for _ in range(8):
    if os.fork() == 0:
        place = libc.mmap(None, ctypes.c_size_t(SIZE), PROT_READ, NORESERVE_ANONYMOUS_PRIVATE, -1, ctypes.c_long(0))
        libc.madvise(ctypes.c_void_p(place), ctypes.c_size_t(SIZE), NOHUGEPAGE)
        for offset in range(0, SIZE, 2**21):
            ctypes.c_char.from_address(place + offset).value
        time.sleep(30)
time.sleep(30)
"""),
        memory_bytes=160 * MB,
    )

    assert result.status == "memory", said(result)


def test_files_in_memory_are_bounded(box: Box) -> None:
    """Such a file belongs to no process's memory, unless somebody maps it."""
    result = box(
        attack("""
total, held = 0, []
try:
    while total < 3000 * 2**20:
        held.append(os.memfd_create("x"))
        for _ in range(8):
            total += os.write(held[-1], bytes(2**20))
except OSError as error:
    print(error)
print("GOT", total)
"""),
        memory_bytes=256 * MB,
        wall_s=20.0,
    )

    written = [int(line.split()[1]) for line in result.stdout.splitlines() if line.startswith("GOT")]
    assert not written or written[0] <= 1024 * MB


def _forks(*, new_group: bool) -> str:
    """Return a bomb with a bounded number of pieces: where no limit held, it would be 1,024 processes for 3 seconds."""
    return attack(f"""
for _ in range(10):
    attempt(os.fork)
    if {new_group}:
        attempt(os.setsid)
time.sleep(3)
""")


_BOUNDS = """
import resource
print(resource.getrlimit(resource.RLIMIT_NPROC)[0])
for path in ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"):
    print(open(path).read() if os.path.exists(path) else 0)
"""


@pytest.mark.parametrize("new_group", [False, True], ids=["one group", "many groups"])
def test_a_fork_bomb_ends(new_group: bool, box: Box) -> None:
    bounds = box(attack(_BOUNDS))
    known = [int(bound) for bound in bounds.stdout.split() if bound != "max"]
    refuse_unless(any(0 < bound < 10_000 for bound in known), "a limit on processes")

    result = box(_forks(new_group=new_group))

    assert result.status in ("processes", "exit"), said(result)
    assert result.status == "processes" or "BlockingIOError" in result.stdout, "more processes than the limit"


def test_a_file_is_bounded(box: Box) -> None:
    result = box(attack("f = open('big', 'wb')\nfor _ in range(40): f.write(bytes(2**20))"))

    assert not result.ok
    assert (box.last.path / "big").stat().st_size <= 8 * MB


def test_all_files_together_are_bounded(box: Box) -> None:
    result = box(
        attack("""
for number in range(200):
    open(f"{number}", "wb").write(bytes(4 * 2**20))
    time.sleep(0.02)
"""),
        disk_bytes=32 * MB,
    )

    assert result.status == "disk", said(result)


def test_the_number_of_files_is_bounded(box: Box) -> None:
    result = box(
        attack("""
for number in range(200_000):
    open(f"{number}", "w").close()
    if number % 500 == 0:
        time.sleep(0.02)
"""),
        disk_files=2_000,
    )

    assert result.status == "files", said(result)


def test_folders_for_temporary_files_are_bounded_or_closed(box: Box) -> None:
    result = box(
        attack("""
for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run"):
    total = 0
    def fill():
        global total
        for number in range(100):
            with open(f"{folder}/rltask-probe-{os.getpid()}-{number}", "wb") as file:
                total += file.write(bytes(4 * 2**20))
    attempt(fill)
    print("GOT", folder, total)
    for name in glob.glob(f"{folder}/rltask-probe-{os.getpid()}-*"):
        os.unlink(name)
"""),
        disk_bytes=64 * MB,
        memory_bytes=256 * MB,
    )

    written = {line.split()[1]: int(line.split()[2]) for line in result.stdout.splitlines() if line.startswith("GOT")}
    assert result.status in ("disk", "memory") or sum(written.values()) <= (64 + 256) * MB, written


def test_the_number_of_temporary_files_is_bounded(box: Box) -> None:
    """An inode takes a kilobyte of memory that is no process's: 400,000 of them would be half a gigabyte."""
    result = box(
        attack("""
for folder in ("/tmp", "/dev/shm"):
    made = 0
    def fill():
        global made
        while made < 200_000:
            open(f"{folder}/rltask-probe-{os.getpid()}-{made}", "w").close()
            made += 1
    attempt(fill)
    print("GOT", made)
    for name in glob.glob(f"{folder}/rltask-probe-{os.getpid()}-*"):
        os.unlink(name)
"""),
        disk_files=2000,
    )

    made = [int(line.split()[1]) for line in result.stdout.splitlines() if line.startswith("GOT")]
    assert result.status == "files" or max(made) <= 16384, said(result)
