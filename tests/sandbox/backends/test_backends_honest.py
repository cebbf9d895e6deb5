"""What honest code finds in each backend, and a program that is handed descriptors."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from textwrap import dedent

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxError, choice, resolve_backend
from pytest_rltask.sandbox.backends.backend import Wish
from tests.sandbox.backends.isolated import LIMITS, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the backends are Linux's")


def test_honest_code_does_not_notice(sandbox: Sandbox) -> None:
    sandbox.write_file("package/helper.py", "VALUE = 6")

    said = run(
        sandbox,
        """
        import getpass, os, shutil, socket, subprocess, sys, tempfile, threading
        import numpy as np
        from package.helper import VALUE
        with tempfile.TemporaryDirectory() as folder, open(f"{folder}/a", "w") as file:
            file.write("x")
            shutil.copy(file.name, "copy")
        os.chmod("copy", 0o600)
        os.replace("copy", "moved")
        os.symlink("moved", "link")
        os.truncate("moved", 0)
        thread = threading.Thread(target=lambda: np.save("array", np.ones(3)))
        thread.start()
        thread.join()
        one, other = socket.socketpair()
        one.send(b"x")
        child = subprocess.run([sys.executable, "-c", "print(7)"], capture_output=True, text=True, check=True)
        subprocess.run(["ls"], stdout=subprocess.DEVNULL, check=True)
        print(VALUE * int(child.stdout), np.load("array.npy").sum(), getpass.getuser(), os.cpu_count() > 0)
        """,
    )

    assert said == "42 3.0 agent True\n"
    assert {"moved", "array.npy", "script.py"} <= set(sandbox.files())


@pytest.mark.slow  # it imports for seconds; so do the solver in the audit, and honest programs
def test_torch_and_onnxruntime_run_quietly(sandbox: Sandbox) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    sandbox.write_file("script.py", "import torch, onnxruntime; print((torch.ones(3) @ torch.ones(3)).item())")

    result = sandbox.run_python("script.py")

    assert (result.stdout, result.stderr) == ("3.0\n", "")


def test_bwrap_gives_what_multiprocessing_needs() -> None:
    try:
        resolve_backend("bwrap")
    except SandboxError as error:
        pytest.skip(str(error))
    with Sandbox(LIMITS, backend="bwrap") as sandbox:
        code = "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, 2]))"
        assert run(sandbox, code) == "[1, 2]\n"


def test_a_program_inside_can_be_handed_descriptors(backend: str) -> None:
    """A long-lived program forks a child for each call, and hands it the call's own descriptors."""
    code = """
        import array, os, socket, sys
        ours = socket.socket(fileno=int(sys.argv[1]))
        data, ancillary, *_ = ours.recvmsg(10, 100)
        received = array.array("i", ancillary[0][2])[0]
        if (child := os.fork()) == 0:
            os.dup2(received, 1)
            print("from inside", flush=True)
            os._exit(7)
        ours.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    """
    if backend == "docker":
        pytest.skip("its commands run in its container: see the tests of preloading there")
    isolation = choice.make_backend(backend)
    ours, theirs = socket.socketpair()
    with Sandbox(LIMITS, backend="none") as sandbox, ours, theirs:
        base = sandbox.path.parent
        isolation.prepare(base, LIMITS)
        command = [sys.executable, "-c", dedent(code), str(theirs.fileno())]
        wrapped = isolation.wrap(command, base=base, wish=Wish(keep_fds=[theirs.fileno()]))
        with subprocess.Popen(wrapped, pass_fds=[theirs.fileno()], env={"LANG": "C.UTF-8"}) as process:
            read, write = os.pipe()
            socket.send_fds(ours, [b"go"], [write])
            os.close(write)
            ours.settimeout(60)
            exit_code = ours.recv(10)
            with os.fdopen(read) as output:
                said = output.read()

    assert (said, exit_code, process.returncode) == ("from inside\n", b"7", 0)
