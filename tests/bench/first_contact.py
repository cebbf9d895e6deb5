"""How soon does the user know that a run has no chance, what was sent until then, and how does it end?

Run as `make bench-first-contact`. Each situation is a run of ten trials against something that is no Messages API, or
one that wants nothing of this run. Seconds are those from the start of the process; `trial` are those of them after the
first trial began, the loading of the SDK included.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.kills import SUITE, script
from tests.support.messages_api import MessagesAPI, Script, hang, status

KEY = "sk-ant-a-key-that-is-never-shown"
MODEL = "claude-haiku-4-5-20251001"
BROKE = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade."
TARGET_S = 3.0
"""Seconds after which the user knows of what cannot succeed."""
GIVEN_UP_S = 120.0


@dataclass(frozen=True)
class Situation:
    """What a run meets first."""

    name: str
    tells: str
    """What the line says by which the user knows; a regular expression."""
    script: Script = ()
    """Of the server, if one is there."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the environment; `{port}` stands for one at which nobody listens."""
    arguments: tuple[str, ...] = ()
    exits: int = 2


SITUATIONS = (
    Situation("all is well", r"^test_add\.py ", script, exits=-1),
    Situation(
        "refused connections", "refuses connections", variables={"ANTHROPIC_BASE_URL": "http://127.0.0.1:{port}"}
    ),
    Situation("a name that is none", "no name that can be", variables={"ANTHROPIC_BASE_URL": "http://nowhere.invalid"}),
    Situation(
        "a proxy that is not there",
        "the proxy .* refuses connections",
        variables={"ANTHROPIC_BASE_URL": "https://api.example.com", "HTTPS_PROXY": "http://127.0.0.1:{port}"},
    ),
    Situation("a server that never answers", "has not answered", [hang()], arguments=("--reply-timeout", "15")),
    Situation("wrong key", "HTTP 401", [status(401, message="invalid x-api-key")]),
    Situation("key with a line end", "ends with a line end", script, {"ANTHROPIC_API_KEY": f"{KEY}\n"}, exits=4),
    Situation("address that is none", "ANTHROPIC_BASE_URL=", variables={"ANTHROPIC_BASE_URL": "localhost:80"}, exits=4),
    Situation("empty account", "credit balance is too low", [status(400, message=BROKE)]),
    Situation(
        "disabled organisation", "has been disabled", [status(400, message="This organization has been disabled.")]
    ),
    Situation("model that does not exist", "HTTP 404", [status(404, message=f"model: {MODEL}")]),
)


@dataclass
class Met:
    """What came of a situation."""

    known_s: float | None
    """Seconds until the user could know; None: nothing was said."""
    began_s: float | None
    """Seconds until the first trial began; None: none did."""
    ended_s: float
    requests: int
    exit_status: int
    said: str
    """The line by which the user knows."""


def meet(situation: Situation) -> Met:
    """Play a run in a situation."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        Path(folder, "test_add.py").write_text(SUITE)
        api = stack.enter_context(MessagesAPI(situation.script, allow_violations=True)) if situation.script else None
        port = _free_port()
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANTHROPIC_", "PYTEST_")) and not name.lower().endswith("_proxy")
        }
        environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1", "ANTHROPIC_API_KEY": KEY}
        environment |= {"ANTHROPIC_BASE_URL": api.base_url} if api else {}
        environment |= {name: value.format(port=port) for name, value in situation.variables.items()}
        command = [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", "-p", "no:cacheprovider"]
        command += ["--model", MODEL, "--runs", "10", *situation.arguments]
        begin = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            known_s, began_s, said = _listen(process, situation.tells, begin)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return Met(
            known_s, began_s, time.monotonic() - begin, len(api.requests) if api else 0, process.returncode, said
        )


def _listen(process: subprocess.Popen[bytes], tells: str, begin: float) -> tuple[float | None, float | None, str]:
    """Read what a process says until its end; return when it told the user, when it began a trial, and what it told."""
    assert process.stdout is not None
    known_s, began_s, said, text, out = None, None, "", "", process.stdout.fileno()
    while chunk := os.read(out, 65536):
        text += chunk.decode(errors="replace")
        if began_s is None and re.search(r"^test_add\.py ", text, re.MULTILINE):
            began_s = time.monotonic() - begin
        found = re.search(f"^.*({tells}).*$", text, re.MULTILINE)
        if found and known_s is None:
            known_s, said = time.monotonic() - begin, found[0].strip()
        if time.monotonic() - begin > GIVEN_UP_S:
            break
    assert KEY not in text, "the key is shown"
    process.wait()
    return known_s, began_s, said


def _free_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def main() -> None:
    """Meet all situations and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="situations whose name holds this text")
    options = parser.parse_args()
    print(
        f"{'situation':<28}{'known':>8}{'trial':>8}{'ended':>8}{'requests':>10}{'exit':>6}   what the user reads first"
    )
    wrong = 0
    for situation in SITUATIONS:
        if options.only not in situation.name:
            continue
        met = meet(situation)
        wrong += situation.exits not in (-1, met.exit_status) or met.known_s is None
        known = "never" if met.known_s is None else f"{met.known_s:.1f} s"
        trial = f"{met.known_s - met.began_s:.1f} s" if met.known_s and met.began_s else "-"
        print(
            f"{situation.name:<28}{known:>8}{trial:>8}{met.ended_s:>6.1f} s{met.requests:>10}{met.exit_status:>6}   "
            f"{met.said[:110]}",
            flush=True,
        )
    print(f"situations that ended otherwise than they should: {wrong} (target: 0)")
    print(f"target for what cannot succeed: known within {TARGET_S:g} s; a server that never answers is told after ten")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
