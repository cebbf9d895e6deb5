"""The table of attacks, on every backend that works here: all are stopped, and honest code is not.

They act only on processes and files that the test made (see ``probes``). One that could hurt the machine if a layer
were missing first makes sure that the layer is there (``_refuse_unless``), and fails instead of starting.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxError, SandboxLimits, SandboxResult, resolve_backend
from pytest_rltask.tools import ToolError
from tests.sandbox import probes
from tests.sandbox.probes import MB, Arena, attack, processes_with

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the backends tested here are Linux's")

LIMITS = {"wall_s": 20.0, "memory_bytes": 512 * MB, "file_bytes": 8 * MB, "processes": 40}
PROMPT_S = 60.0
"""Far above what a kill takes, far below how long what is killed would live."""


@pytest.fixture(params=["bwrap", "landlock", "docker"])
def backend(request: pytest.FixtureRequest) -> str:
    """A backend that works on this machine."""
    name = str(request.param)
    try:
        return resolve_backend(name)
    except SandboxError as error:
        pytest.skip(str(error))


@pytest.fixture
def arena(tmp_path: Path, backend: str) -> Iterator[Arena]:
    with probes.arena(tmp_path, backend) as place:
        yield place


class Box:
    """Runs attacks, each in a sandbox of its own under a name that its processes carry, and looks what is left."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.name = f"probe-{secrets.token_hex(8)}.py"
        self._sandboxes: list[Sandbox] = []

    def __call__(self, code: str, told: str = "{}", **limits: float) -> SandboxResult:
        box = self.open(**limits)
        box.write_file(self.name, code)
        result = box.run_python(self.name, told)
        assert processes_with(self.name) == [], "a process outlived its run"
        return result

    def open(self, **limits: float) -> Sandbox:
        box = Sandbox(SandboxLimits(**{**LIMITS, **limits}), backend=self.backend)  # type: ignore[arg-type]
        self._sandboxes.append(box)
        return box

    @property
    def last(self) -> Sandbox:
        return self._sandboxes[-1]

    def close(self) -> None:
        for box in self._sandboxes:
            box.close()
            assert not box.path.parent.exists(), "a folder outlived its sandbox"


@pytest.fixture
def box(backend: str) -> Iterator[Box]:
    box = Box(backend)
    yield box
    box.close()


def _refuse_unless(held: bool, layer: str) -> None:
    if not held:
        pytest.fail(f"not started, since it could hurt this machine: {layer} is missing", pytrace=False)


def _said(result: SandboxResult) -> str:
    return f"{result.summary}\n{result.stdout}\n{result.stderr}"


# What it may not see


@pytest.mark.parametrize("name", probes.READS)
def test_it_reads_no_secret(name: str, box: Box, arena: Arena) -> None:
    result = box(probes.READS[name], arena.told(), output_bytes=16 * MB)

    assert result.status == "exit", _said(result)
    assert arena.canary not in result.stdout + result.stderr
    assert "GOT" not in result.stdout
    assert arena.victim_is_well()


def test_it_reads_no_password_file(box: Box) -> None:
    result = box(attack("show('/etc/shadow'); show('/etc/gshadow')"))

    assert result.status == "exit", _said(result)
    assert result.stdout.count("Error") == 2
    assert "b'" not in result.stdout


def test_it_reads_none_of_our_source(box: Box) -> None:
    import pytest_rltask

    package = Path(pytest_rltask.__file__).parent
    seen = box(attack(f"show({str(package / 'verdict.py')!r}); import pytest_rltask; print('GOT the package')"))

    if package.is_relative_to(sysconfig.get_path("purelib")):
        pytest.skip("installed among the packages that honest code needs")
    assert "proven" not in seen.stdout
    assert "GOT" not in seen.stdout


# What it may not change


@pytest.mark.parametrize("name", probes.WRITES)
def test_it_changes_nothing_outside(name: str, box: Box, arena: Arena) -> None:
    before = arena.snapshot()

    result = box(probes.WRITES[name], arena.told())

    assert result.status == "exit", _said(result)
    assert arena.snapshot() == before


def test_it_plants_nothing_among_the_packages(box: Box) -> None:
    plant = Path(sysconfig.get_path("purelib"), f"rltask-probe-{secrets.token_hex(8)}.pth")
    try:
        box(attack(f"attempt(lambda: open({str(plant)!r}, 'w').write('# nothing'))"))
        assert not plant.exists()
    finally:
        plant.unlink(missing_ok=True)


# Whom it may not reach


@pytest.mark.parametrize("kind", probes.NETWORK)
def test_it_reaches_no_listener(kind: str, box: Box, arena: Arena) -> None:
    result = box(probes.network(kind), arena.told())

    assert result.status == "exit", _said(result)
    assert arena.reached == []


@pytest.mark.parametrize("kind", probes.NETWORK)
def test_the_listeners_do_listen(kind: str, arena: Arena) -> None:
    """Without a sandbox each attack on a listener gets through: silence above means something."""
    subprocess.run([sys.executable, "-c", probes.network(kind), arena.told()], check=True, capture_output=True)

    deadline = time.monotonic() + PROMPT_S
    while not arena.reached and time.monotonic() < deadline:
        time.sleep(0.01)
    assert arena.reached == [kind]


def test_it_finds_no_way_out(box: Box) -> None:
    result = box(probes.ROUTE_OUT)

    assert result.status == "exit", _said(result)
    assert "GOT" not in result.stdout


def test_it_leaves_no_shared_memory(box: Box) -> None:
    key = secrets.randbelow(2**30) + 1
    result = box(probes.SYSTEM_CALLS, f'{{"shm_key": {key}, "only": "shmget"}}')

    assert result.status == "exit", _said(result)
    rows = [line.split()[0] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    try:
        assert str(key) not in rows
    finally:
        if str(key) in rows:  # it would outlive us as well
            subprocess.run(["ipcrm", "-M", str(key)], check=True)


# What the kernel may not do for it


def test_it_is_refused_dangerous_system_calls(box: Box, backend: str) -> None:
    result = box(probes.SYSTEM_CALLS, f'{{"shm_key": {secrets.randbelow(2**30) + 1}}}')

    assert result.status == "exit", _said(result)
    granted = [line for line in result.stdout.splitlines() if line.startswith("GOT")]
    assert granted == []


def test_it_has_no_privilege_and_gains_none(box: Box, backend: str) -> None:
    result = box(attack("print(os.getresuid(), os.getresgid(), os.getgroups(), open('/proc/self/status').read())"))

    facts = dict(line.split(":\t", 1) for line in result.stdout.splitlines() if ":\t" in line)
    assert "(0," not in result.stdout.splitlines()[0]
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    # Root's agent may hold CAP_DAC_READ_SEARCH with Landlock: an interpreter below /root needs it, and Landlock's own
    # rules, which that does not touch, say what else it reads.
    harmless = 0b100 if backend == "landlock" and os.getuid() == 0 else 0
    assert all(int(facts[name], 16) in (0, harmless) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))


def test_every_process_in_there_is_filtered(box: Box) -> None:
    """bwrap's own as well: where it has the agent's user, the agent can write to its memory."""
    result = box(
        attack("""
for path in glob.glob("/proc/[0-9]*/status") or ["/proc/self/status"]:
    facts = attempt(lambda: dict(line.split(":\\t", 1) for line in open(path).read().splitlines()))
    print(facts and (facts["NoNewPrivs"], facts["Seccomp"]))
""")
    )

    seen = {line for line in result.stdout.splitlines() if line.startswith("('")}
    assert seen == {"('1', '2')"}, _said(result)


def test_it_watches_no_folder_of_others(box: Box, backend: str) -> None:
    if backend != "landlock":
        pytest.skip("what it could name are folders of its own")
    result = box(
        attack("""
IN_CREATE, places = 0x100, (b"/tmp", b"/", b"/etc")
watch = libc.inotify_init1(0)
print(["GOT " + place.decode() for place in places if libc.inotify_add_watch(watch, place, IN_CREATE) >= 0])
""")
    )

    assert result.stdout == "[]\n", _said(result)


def test_it_has_nobody_wait_for_it_who_opens_a_file(box: Box) -> None:
    """Its user may own the packages, which all Pythons of that user open."""
    result = box(
        attack("""
import fcntl
with open("file", "w") as file: pass
file = open("file")
for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):
    if attempt(lambda: fcntl.fcntl(file, fcntl.F_SETLEASE, kind)) is not None:
        print("GOT a lease", kind)
""")
    )

    assert result.ok, _said(result)
    assert "GOT" not in result.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a program that runs as root")
def test_a_setuid_program_gives_it_nothing(box: Box) -> None:
    sandbox = box.open()
    program = sandbox.write_file("id", Path("/usr/bin/id").read_bytes())
    os.chown(program, 0, 0)
    program.chmod(0o4755)
    sandbox.write_file(box.name, "import subprocess; print(subprocess.run(['./id'], capture_output=True, text=True))")

    result = sandbox.run_python(box.name)

    assert "euid=0" not in result.stdout
    assert "uid=0(root)" not in result.stdout


# What it may not use up


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
    assert result.status in ("exit", "memory"), _said(result)


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

    assert result.status == "memory", _said(result)


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
    _refuse_unless(any(0 < bound < 10_000 for bound in known), "a limit on processes")

    result = box(_forks(new_group=new_group))

    assert result.status in ("processes", "exit"), _said(result)
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

    assert result.status == "disk", _said(result)


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

    assert result.status == "files", _said(result)


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
    assert result.status == "files" or max(made) <= 16384, _said(result)


# What may not outlive it


DAEMON = """
def beat():
    os.setsid()
    for fd in (0, 1, 2) if {silent} else ():
        os.close(fd)
    while True:
        pathlib.Path("beat.txt").write_text(str(time.monotonic()))
        time.sleep(0.01)
if os.fork() == 0:
    if os.fork() == 0:
        beat()
    os._exit(0)
while not os.path.exists("beat.txt"):
    time.sleep(0.01)
"""


@pytest.mark.parametrize("silent", [True, False], ids=["a daemon", "one that holds the output"])
def test_nothing_outlives_the_run(silent: bool, box: Box) -> None:
    result = box(attack(DAEMON.format(silent=silent)))

    assert result.ok, _said(result)
    assert (box.last.path / "beat.txt").exists()  # and box() has seen that no process is left


def test_it_changes_no_priority_of_our_processes(box: Box, arena: Arena) -> None:
    before = arena.victim_runs()

    result = box(probes.PRIORITIES, arena.told())

    assert result.status == "exit", _said(result)
    assert arena.victim_runs() == before


CAN_SIGNAL = attack("""
for pid in (A["victim"], -A["victim"], A["parent"]):
    if attempt(lambda: os.kill(pid, 0) or True):
        print("GOT", pid)
""")


def test_it_cannot_signal_our_processes(box: Box, arena: Arena) -> None:
    result = box(CAN_SIGNAL, arena.told())

    assert result.status == "exit", _said(result)
    assert "GOT" not in result.stdout


def test_it_cannot_kill_all_processes(box: Box, arena: Arena) -> None:
    seen = box(CAN_SIGNAL, arena.told())
    _refuse_unless(seen.ok and "GOT" not in seen.stdout, "what keeps signals inside the sandbox")

    result = box(attack("attempt(lambda: os.kill(-1, signal.SIGKILL))"), arena.told())

    assert result.status == "exit", _said(result)
    assert arena.victim_is_well()


def test_it_may_kill_what_started_it(box: Box) -> None:
    result = box(attack("attempt(lambda: os.kill(os.getppid(), signal.SIGKILL)); time.sleep(0.2)"), wall_s=5.0)

    assert result.status in ("exit", "timed out"), _said(result)


def test_it_dies_with_the_process_that_runs_it(backend: str, tmp_path: Path) -> None:
    name = f"probe-{secrets.token_hex(8)}.py"
    driver = f"""
from pytest_rltask.sandbox import Sandbox, SandboxLimits
box = Sandbox(SandboxLimits(wall_s=600), backend={backend!r})
print(box.path, flush=True)
box.write_file({name!r}, "open('up', 'w').close()\\nwhile True: pass")
box.run_python({name!r})
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", driver], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        _until((folder / "up").exists)
        assert processes_with(name)
        process.send_signal(signal.SIGKILL)

        _until(lambda: not processes_with(name))


def _until(holds: object) -> None:
    deadline = time.monotonic() + PROMPT_S
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


# What our own side may not be tricked into


def test_a_link_does_not_lead_our_writing_out(box: Box, arena: Arena) -> None:
    before = arena.snapshot()
    box(attack("os.symlink(A['folder'], 'way'); os.symlink(A['folder'] + '/key.txt', 'file')"), arena.told())

    for name in ("way/key.txt", "way/new.txt", "file", "../new.txt", arena.unix_path + "x"):
        with pytest.raises(ToolError):
            box.last.write_file(name, "x")
    for name in ("way/key.txt", "file"):
        with pytest.raises(ToolError):
            box.last.read_file(name, max_bytes=100)
    assert arena.snapshot() == before


def test_a_race_does_not_lead_our_writing_out(box: Box, arena: Arena) -> None:
    before = arena.snapshot()
    sandbox = box.open()
    sandbox.write_file(
        box.name,
        attack("""
pathlib.Path("up").touch()
while not os.path.exists("stop"):
    for swap in (lambda: os.mkdir("way"), lambda: os.rmdir("way"),
                 lambda: os.symlink(A["folder"], "way"), lambda: os.unlink("way")):
        try:
            swap()
        except OSError:
            pass
"""),
    )
    run = threading.Thread(target=sandbox.run_python, args=(box.name, arena.told()))
    run.start()
    _until((sandbox.path / "up").exists)
    for _ in range(500):
        with contextlib.suppress(ToolError, FileNotFoundError):
            sandbox.write_file("way/key.txt", "overwritten")
    sandbox.write_file("stop", "")
    run.join()

    assert arena.snapshot() == before


TRICKS = {
    "a link": "os.symlink(A['folder'] + '/key.txt', 'model.onnx')",
    "a pipe": "os.mkfifo('model.onnx')",
    "a device": "attempt(lambda: os.mknod('model.onnx', 0o20666, os.makedev(1, 5)))",
    "a socket": "s = attempt(lambda: socket.socket(socket.AF_UNIX)); s and attempt(lambda: s.bind('model.onnx'))",
    "a folder": "os.mkdir('model.onnx')",
    "two names": "pathlib.Path('other').touch(); os.link('other', 'model.onnx')",
    "a hole": "attempt(lambda: open('model.onnx', 'wb').truncate(10 * 2**30))",
}


@pytest.mark.parametrize("trick", TRICKS)
def test_what_is_no_plain_file_is_not_collected(trick: str, box: Box, arena: Arena) -> None:
    box(attack(TRICKS[trick]), arena.told())

    with contextlib.suppress(FileNotFoundError, ToolError):
        assert box.last.read_file("model.onnx", max_bytes=MB) == b""  # where the trick itself was refused


def test_hostile_folders_are_removed(box: Box) -> None:
    box(
        attack("""
for _ in range(200):
    os.mkdir("d"); os.chdir("d")
pathlib.Path("file").touch()
attempt(lambda: os.chmod(".", 0)); os.chdir("/")
""")
    )  # and the fixture sees that nothing is left


# What honest code gets


def test_standard_input_has_ended(box: Box) -> None:
    result = box(attack("print(repr(sys.stdin.read()))"))

    assert result.stdout == "''\n"


def test_a_working_directory_that_was_closed_is_opened_again(box: Box) -> None:
    """Else a run that will miss could see to it that its trial counts as our fault."""
    box(attack("attempt(lambda: os.chmod('.', 0))"))

    box.last.write_file("next.py", "print(open('next.py').read())")

    assert box.last.run_python("next.py").ok


def test_honest_code_finds_the_files_that_it_left(box: Box) -> None:
    """Where modes and times cannot be changed, what cares for them goes on."""
    result = box(
        attack("""
import csv, io, numpy, shutil, tarfile, tempfile, zipfile
here = pathlib.Path(".")
(here / "touched").touch(); (here / "touched").touch(); os.utime("touched", (1, 2))
subprocess.run(["/usr/bin/touch", "touched", "touched too"], check=True)
(here / "text").write_text("text")
for copy in (shutil.copy, shutil.copy2, shutil.copyfile): copy("text", copy.__name__)
shutil.copytree(".", tempfile.mkdtemp() + "/tree"); shutil.move("copy", "moved")
with zipfile.ZipFile("x.zip", "w") as archive: archive.write("text", "zipped")
zipfile.ZipFile("x.zip").extractall("z")
with tarfile.open("x.tar", "w:gz") as archive: archive.add("text", "tarred")
tarfile.open("x.tar").extractall("t")
numpy.save("x.npy", numpy.ones(3)); numpy.savez("x.npz", a=numpy.ones(3)); numpy.load("x.npy", mmap_mode="r")
for number in range(8):  # deleted, and mapped: their descriptors are kept
    with tempfile.NamedTemporaryFile() as file: numpy.memmap(file, shape=9, mode="w+")[:] = 1
with tempfile.NamedTemporaryFile("w", suffix=".csv") as file: csv.writer(file).writerow([1]); file.flush()
print(sorted(str(path) for path in here.rglob("*") if path.is_file() and path.suffix != ".py"))
""")
    )

    files = ["copy2", "copyfile", "moved", "t/tarred", "text", "touched", "touched too"]
    assert result.stdout == f"{[*files, 'x.npy', 'x.npz', 'x.tar', 'x.zip', 'z/zipped']}\n", _said(result)


def test_honest_code_works(box: Box) -> None:
    pytest.importorskip("sklearn")
    result = box(
        attack("""
import concurrent.futures, datetime, hashlib, random, sqlite3, ssl, tempfile, threading, uuid, zoneinfo
import numpy, sklearn.linear_model
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "x.csv"); path.write_text("1,2"); path.chmod(0o600); os.utime(path, (1, 2))
    path.rename(path.with_suffix(".txt"))
os.makedirs("out/deep"); pathlib.Path("out/deep/x").write_text("kept")
numpy.random.default_rng().normal(size=(100, 100)) @ numpy.ones((100, 100))
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(int, "1234")) == 10
assert subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True).stdout == "42\\n"
assert os.fork() or os._exit(0) is None
os.wait()
sqlite3.connect("x.db").execute("create table t (x)"); os.urandom(8); socket.socketpair()
assert os.cpu_count() and os.path.expanduser("~") and time.localtime() and random.random() < 1
print("done")
"""),
        processes=64,
    )

    assert result.ok, _said(result)
    assert result.stdout == "done\n"
    assert box.last.read_file("out/deep/x", max_bytes=10) == b"kept"
