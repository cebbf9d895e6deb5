"""Attacks typed as commands, by `Sandbox.run` and in a shell: seen from outside, like those of scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

from pytest_rltask.sandbox import SandboxResult
from tests.sandbox.attacks.box import Box, said, until
from tests.sandbox.probes import Arena

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the backends tested here are Linux's")
Typed = Callable[[str], SandboxResult]

READS = {
    "a file of the user": "cat {folder}/key.txt {folder}/.ssh/*; ls -la {folder}",
    "another sandbox": "cat {sibling}/*; ls {sibling}",
    "processes": "cd /proc; cat {victim}/environ {victim}/cmdline {parent}/environ */environ | tr -d '\\0'",
    "descriptors": "for fd in $(seq 3 255); do cat <&$fd; done 2>/dev/null; ls -l /proc/self/fd /proc/$PPID/fd",
    "a link": "ln -s {folder}/key.txt l; cat l; ln {folder}/key.txt h; cat h; ln -s / root; cat root{folder}/key.txt",
    "memory of what started it": "cat /proc/$PPID/mem /proc/$PPID/maps /proc/$PPID/environ; head -c 100 /proc/1/mem",
    "files of the machine": "cat /etc/shadow /root/.ssh/* /home/*/.ssh/*",
}
REACHES = {
    "tcp": "timeout 2 bash -c 'echo x > /dev/tcp/127.0.0.1/{port}'",
    "udp": "timeout 2 bash -c 'echo x > /dev/udp/127.0.0.1/{datagrams}'",
}


@pytest.fixture(params=["run", "shell"])
def typed(request: pytest.FixtureRequest, box: Box) -> Typed:
    sandbox = box.open(wall_s=20.0)
    return sandbox.run if request.param == "run" else sandbox.shell().run


def filled(command: str, arena: Arena) -> str:
    for name, value in json.loads(arena.told()).items():
        command = command.replace(f"{{{name}}}", str(value))
    return command


@pytest.mark.parametrize("name", READS)
def test_a_command_reads_no_secret(name: str, typed: Typed, arena: Arena) -> None:
    result = typed(filled(READS[name], arena))

    assert result.status == "exit", said(result)
    assert arena.canary not in result.stdout + result.stderr


@pytest.mark.parametrize("name", REACHES)
def test_a_command_reaches_nobody(name: str, typed: Typed, arena: Arena) -> None:
    typed(filled(REACHES[name], arena))

    assert arena.reached == []


def test_a_command_changes_nothing_outside(typed: Typed, arena: Arena) -> None:
    before = arena.snapshot()

    typed(filled("echo x > {folder}/new; rm -rf {folder} {sibling}; chmod 777 {folder}; mv {folder}/key.txt .", arena))
    typed(f"echo x >> {sys.executable}; touch {sys.prefix}/new")

    assert arena.snapshot() == before


def test_a_command_that_kills_what_started_it_harms_itself_alone(typed: Typed, arena: Arena) -> None:
    result = typed("kill -9 $PPID; sleep 0.2; echo on")

    assert result.status in ("exit", "killed"), said(result)
    assert typed("echo next").stdout == "next\n"
    assert arena.victim_is_well()


def test_a_shells_daemon_dies_with_the_sandbox(box: Box) -> None:
    sandbox = box.open(wall_s=20.0)
    sandbox.shell().run("(setsid sh -c 'while :; do touch beat; sleep 0.01; done' >&- 2>&- &)")
    until((sandbox.path / "beat").exists)

    sandbox.close()

    assert not sandbox.path.exists()
