"""How long a container is there: from the first run to the end of its sandbox, or of pytest."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxError
from pytest_rltask.sandbox.backends import docker as docker_module
from tests.sandbox.containers.container import PROMPT_S, container, is_there, put_docker, run, wait_for
from tests.sandbox.probes import processes_with

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the container shares our kernel")


def test_it_is_made_for_the_first_run_and_kept_for_the_others(sandbox: Sandbox) -> None:
    assert sandbox._runner.backend._container is None  # type: ignore[attr-defined]

    run(sandbox, "")
    first = container(sandbox)
    run(sandbox, "")

    assert container(sandbox) is first
    assert is_there(first)


def test_it_is_gone_when_its_sandbox_is_closed(sandbox: Sandbox) -> None:
    run(sandbox, "")
    it = container(sandbox)

    sandbox.close()

    wait_for(lambda: not is_there(it))
    assert not sandbox.path.parent.exists()


def test_closing_ends_a_run_at_once(sandbox: Sandbox) -> None:
    sandbox.write_file("endless.py", "open('up', 'w').close()\nwhile True: pass")
    outcome: list[object] = []
    thread = threading.Thread(target=lambda: outcome.append(sandbox.run_python("endless.py").status))
    thread.start()
    wait_for(lambda: "up" in sandbox.files())

    sandbox.close()
    thread.join(PROMPT_S)

    assert outcome == ["closed"]


def test_it_is_gone_when_pytest_is_killed(docker: None, tmp_path: Path) -> None:
    driver = """
        from pytest_rltask.sandbox import Sandbox
        sandbox = Sandbox(backend="docker")
        sandbox.write_file("script.py", "")
        sandbox.run_python("script.py")
        print(sandbox._runner.backend._container._name, flush=True)
        sandbox.write_file("script.py", "while True: pass")
        sandbox.run_python("script.py")
    """
    with subprocess.Popen(
        [sys.executable, "-c", dedent(driver)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        it = docker_module._Container.__new__(docker_module._Container)
        it._name = process.stdout.readline().strip()
        assert is_there(it)

        process.kill()

    wait_for(lambda: not is_there(it))


def test_a_container_that_dies_under_a_run_is_our_fault_and_the_next_run_gets_another(sandbox: Sandbox) -> None:
    sandbox.write_file("endless.py", "open('up', 'w').close()\nwhile True: pass")
    outcome: list[str] = []

    def play() -> None:
        try:
            sandbox.run_python("endless.py")
        except SandboxError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=play)
    thread.start()
    wait_for(lambda: "up" in sandbox.files())

    container(sandbox)._remove()
    thread.join(PROMPT_S)

    assert outcome == ["the sandbox's watcher died without a report: it was killed"]
    assert run(sandbox, "print('again')") == "again\n"


def test_an_agent_whose_watcher_is_killed_does_not_live_on(sandbox: Sandbox) -> None:
    name = f"probe-{secrets.token_hex(8)}.py"
    sandbox.write_file(name, "open('up', 'w').close()\nwhile True: pass")
    outcome: list[str] = []

    def play() -> None:
        try:
            sandbox.run_python(name)
        except SandboxError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=play)
    thread.start()
    wait_for(lambda: "up" in sandbox.files())
    (agent,) = processes_with(name)

    os.kill(parent_of(parent_of(agent)), signal.SIGKILL)
    thread.join(PROMPT_S)

    wait_for(lambda: container(sandbox).has_ended)
    assert processes_with(name) == []
    assert outcome == ["the sandbox's watcher died without a report: it was killed"]
    assert run(sandbox, "print('again')") == "again\n"


def test_it_is_gone_when_pytest_is_killed_though_a_child_of_it_lives(docker: None, tmp_path: Path) -> None:
    driver = """
        import os
        from pytest_rltask.sandbox import Sandbox
        sandbox = Sandbox(backend="docker")
        sandbox.write_file("script.py", "")
        sandbox.run_python("script.py")
        if os.fork() == 0:
            os.read(0, 1)
            os._exit(0)
        print(sandbox._runner.backend._container._name, flush=True)
        os.kill(os.getpid(), 9)
    """
    life, ours = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", dedent(driver)],
        stdin=life,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        os.close(life)
        assert process.stdout is not None
        it = docker_module._Container.__new__(docker_module._Container)
        it._name = process.stdout.readline().strip()

        wait_for(lambda: not is_there(it))
        os.close(ours)


def test_a_start_that_failed_can_be_tried_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    real = docker_module._docker

    def busy(*words: str, **more: float) -> str:
        raise SandboxError("the daemon is busy")

    monkeypatch.setattr(docker_module, "_docker", busy)
    with pytest.raises(SandboxError, match="the daemon is busy"):
        run(sandbox, "")
    monkeypatch.setattr(docker_module, "_docker", real)

    assert run(sandbox, "print('again')") == "again\n"


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_an_interrupt_while_one_starts_leaves_none(tmp_path: Path) -> None:
    """As Ctrl-C does it: the client, which has a session of its own, goes on, and what it made is removed by name."""
    stub = f"""
        import os, signal, sys
        with open({str(tmp_path / "asked")!r}, "a") as file:
            print(sys.argv[1], sys.argv[-1], file=file)
        if sys.argv[1] == "run":
            os.kill(os.getppid(), signal.SIGINT)
        print({{"info": "linux []", "images": "1234"}}.get(sys.argv[1], ""))
    """
    with pytest.MonkeyPatch.context() as patch:
        put_docker(tmp_path / "bin", patch, stub)
        driver = """
            from pytest_rltask.sandbox import choice, Sandbox
            choice.resolve = str
            with Sandbox(backend="docker") as sandbox:
                sandbox.write_file("script.py", "")
                sandbox.run_python("script.py")
        """
        ended = subprocess.run([sys.executable, "-c", dedent(driver)], capture_output=True, text=True, check=False)

    assert "KeyboardInterrupt" in ended.stderr
    command, name = (tmp_path / "asked").read_text().splitlines()[-1].split()
    assert command == "rm"
    assert name.startswith("pytest-rltask-sandbox-")
