"""The table of attacks on our own side; and honest code, which none of the defences may stop."""

from __future__ import annotations

import contextlib
import sys
import threading

import pytest

from pytest_rltask.tools import ToolError
from tests.sandbox.attacks.box import Box, said, until
from tests.sandbox.probes import MB, Arena, attack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the backends tested here are Linux's")


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
    until((sandbox.path / "up").exists)
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
    assert result.stdout == f"{[*files, 'x.npy', 'x.npz', 'x.tar', 'x.zip', 'z/zipped']}\n", said(result)


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

    assert result.ok, said(result)
    assert result.stdout == "done\n"
    assert box.last.read_file("out/deep/x", max_bytes=10) == b"kept"
