"""The table of attacks on what others have: what it may not see, what it may not change, whom it may not reach."""

from __future__ import annotations

import secrets
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from tests.sandbox import probes
from tests.sandbox.attacks.box import PROMPT_S, Box, said
from tests.sandbox.probes import MB, Arena, attack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the backends tested here are Linux's")


# What it may not see


@pytest.mark.parametrize("name", probes.READS)
def test_it_reads_no_secret(name: str, box: Box, arena: Arena) -> None:
    result = box(probes.READS[name], arena.told(), output_bytes=16 * MB)

    assert result.status == "exit", said(result)
    assert arena.canary not in result.stdout + result.stderr
    assert "GOT" not in result.stdout
    assert arena.victim_is_well()


def test_it_reads_no_password_file(box: Box) -> None:
    result = box(attack("show('/etc/shadow'); show('/etc/gshadow')"))

    assert result.status == "exit", said(result)
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

    assert result.status == "exit", said(result)
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

    assert result.status == "exit", said(result)
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

    assert result.status == "exit", said(result)
    assert "GOT" not in result.stdout


def test_it_leaves_no_shared_memory(box: Box) -> None:
    key = secrets.randbelow(2**30) + 1
    result = box(probes.SYSTEM_CALLS, f'{{"shm_key": {key}, "only": "shmget"}}')

    assert result.status == "exit", said(result)
    rows = [line.split()[0] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    try:
        assert str(key) not in rows
    finally:
        if str(key) in rows:  # it would outlive us as well
            subprocess.run(["ipcrm", "-M", str(key)], check=True)
