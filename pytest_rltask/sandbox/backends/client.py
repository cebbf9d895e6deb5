"""The ``docker`` client: its commands, and some of its options."""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
import subprocess

from pytest_rltask.sandbox.result import SandboxError

BARE: tuple[str, ...] = ("--network", "none", "--ipc", "none", "--hostname", "sandbox", "--read-only", "--user", "0:0")
BARE += ("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--security-opt", "label=disable")
BARE += ("--dns", "127.0.0.1")  # not the machine's, of which the container would be told
BARE += ("--no-healthcheck", "--workdir", "/")  # an image would run the one as root, beside our watcher
"""What every container is without."""
LOOK_S = 0.5
_CALL_S = 20.0


def docker(*words: str, given: bytes = b"", wait_s: float = _CALL_S) -> str:
    """Run a command of the client, and return what it prints.

    Raises:
        SandboxError: there is none, or it failed; with the last line that it said.
    """
    program = shutil.which("docker")
    if program is None:
        raise SandboxError("docker is not installed")
    pipe = subprocess.PIPE
    try:
        with subprocess.Popen(
            [program, *words], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        ) as client:
            try:
                told, complaint = client.communicate(given, timeout=wait_s)
            except BaseException:
                with contextlib.suppress(subprocess.TimeoutExpired):  # killed in between it leaves half a container
                    client.wait(LOOK_S)
                client.kill()
                raise
    except subprocess.TimeoutExpired:
        raise SandboxError(f"docker {words[0]} did not end within {wait_s:g} s") from None
    except OSError as error:
        raise SandboxError(f"docker {words[0]}: {error}") from error
    if client.returncode != 0:
        lines = complaint.decode("utf-8", "replace").splitlines()
        said = [line.strip() for line in lines if line.strip() and not line.startswith(("See 'docker", "Run 'docker"))]
        raise SandboxError(said[-1][:300] if said else f"docker {words[0]} failed")
    return told.decode("utf-8", "replace").strip()


def mount(kind: str, source: str | None, target: str, *more: str) -> tuple[str, str]:
    """Return an option ``--mount``, whose fields are those of a line of CSV."""
    line = io.StringIO()
    fields = [f"type={kind}", *([] if source is None else [f"source={source}"]), f"target={target}", *more]
    csv.writer(line, lineterminator="").writerow(fields)
    return "--mount", line.getvalue()
