"""The table of attacks by way of the kernel: calls, privileges, and what waits for whom."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import pytest

from tests.sandbox import probes
from tests.sandbox.attacks.box import Box, said
from tests.sandbox.probes import attack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the backends tested here are Linux's")


def test_it_is_refused_dangerous_system_calls(box: Box, backend: str) -> None:
    result = box(probes.SYSTEM_CALLS, f'{{"shm_key": {secrets.randbelow(2**30) + 1}}}')

    assert result.status == "exit", said(result)
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
    assert seen == {"('1', '2')"}, said(result)


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

    assert result.stdout == "[]\n", said(result)


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

    assert result.ok, said(result)
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
