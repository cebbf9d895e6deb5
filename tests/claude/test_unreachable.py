"""A server that nobody has heard of: who refuses what is told at once, and what cannot succeed ends the run soon."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from pytest_rltask.report.progress import Progress
from pytest_rltask.run.bulletin import Bulletin, waits
from pytest_rltask.run.load import load_run
from tests.claude.desk import KEY, MODEL, message
from tests.conftest import WAYS, WAYS_IDS, Suite
from tests.support.messages_api import MessagesAPI, hang, reply, status, tool_use

ENDS_WITHIN_S = 3.0
CALL = {"type": "tool_use", "id": "toolu_1", "name": "submit", "input": {"number": 43}}
BODY = json.dumps(message(CALL)).encode()
SUBMITS = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


def free_port() -> int:
    """Return a port at which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


@contextmanager
def answering(answer: bytes, *, port: int = 0) -> Iterator[str]:
    """Serve a fixed answer to whatever comes, and yield host and port."""
    server = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@contextmanager
def serving_tls(folder: Path) -> Iterator[str]:
    """Serve TLS with a certificate that nobody has signed, and yield host and port."""
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"),
            *("-keyout", folder / "key.pem", "-out", folder / "cert.pem"),
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("openssl makes no certificate here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"localhost:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


def played_s(suite: Suite) -> float:
    """Return the seconds of the trial that the run gave up at."""
    (record,) = load_run(suite.run_dirs[-1]).records.values()
    return record.seconds["total"]


@pytest.mark.parametrize("any_suite", WAYS, ids=WAYS_IDS, indirect=True)
def test_a_server_that_refuses_connections_is_told_at_once_and_ends_the_run(
    any_suite: Suite, monkeypatch: pytest.MonkeyPatch
):
    where = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://{where}")

    result = any_suite.run(model=MODEL)

    said = result.stdout.str()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    told = f"rltask: {where} refuses connections; trying again"
    assert [line for line in said.splitlines() if line == told] == [told]
    assert said.index(told) < said.index("pass rates")
    ended = "(no attempt since the start of the run was answered)"
    start = "start the server, or set ANTHROPIC_BASE_URL to where it is"
    assert f"no trial can be played by {MODEL}: {where} refuses connections {ended}; {start}" in said
    assert all(record.seconds["total"] < ENDS_WITHIN_S for record in any_suite.last_run().records.values())
    assert not list(any_suite.run_dirs[0].glob(".waiting*"))


@pytest.mark.slow
def test_it_is_told_under_whatever_filter_of_warnings(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{free_port()}")

    error = "error::pytest_rltask.suite.telling.ServerWarning"
    for options in (("-W", error), ("-W", "ignore"), ("-s",), ("-p", "no:warnings", "-q")):
        assert "refuses connections; trying again" in suite.run(*options, model=MODEL).stdout.str(), options


def test_what_is_refused_by_a_proxy_is_told_of_it(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://api.example.com")
    with answering(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{proxy}")

        result = suite.run(model=MODEL)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    refused = f"the proxy {proxy} lets nothing through to api.example.com: 407 Proxy Authentication Required"
    result.stdout.fnmatch_lines([f"*no trial can be played by*{refused}*; check HTTPS_PROXY and NO_PROXY*"])
    assert "secret" not in result.stdout.str()
    assert played_s(suite) < ENDS_WITHIN_S


def test_a_proxy_that_is_not_there(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://api.example.com")
    proxy = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")

    result = suite.run(model=MODEL)

    result.stdout.fnmatch_lines(
        [f"*no trial can be played by*: the proxy {proxy} refuses connections*check HTTPS_PROXY*"]
    )
    assert played_s(suite) < ENDS_WITHIN_S


def test_a_name_that_is_none(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://nowhere.invalid")

    result = suite.run(model=MODEL)

    result.stdout.fnmatch_lines(["*no trial can be played by*: nowhere.invalid is no name that can be resolved (*)*"])
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_certificate_that_nobody_signed(suite: Suite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with serving_tls(tmp_path) as where:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"https://{where}")

        result = suite.run(model=MODEL)

    said = f"the certificate of {where} is not valid: self*signed certificate"
    result.stdout.fnmatch_lines([f"*no trial can be played by*{said}*SSL_CERT_FILE*"])
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert played_s(suite) < 1.5


def test_a_server_without_tls(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    with answering(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n") as where:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"https://{where}")

        result = suite.run(model=MODEL)

    result.stdout.fnmatch_lines([f"*no trial can be played by*: {where} does not speak TLS as https:// needs*"])
    assert played_s(suite) < ENDS_WITHIN_S


@pytest.mark.slow
def test_a_server_that_goes_away_for_a_while_is_waited_for(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    shouts = reply(tool_use("shout", {"text": "a"}))
    port = free_port()
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{port}")
    with ExitStack() as stack:
        first = stack.enter_context(MessagesAPI(lambda body, turn: hang() if turn else shouts, port=port))

        def go_away_and_come_back() -> None:
            first.wait_for_requests(2, timeout_s=30)
            first.close()
            time.sleep(4)  # how long it is away: longer than the first waits between two attempts
            stack.enter_context(answering(SUBMITS, port=port))

        keeper = threading.Thread(target=go_away_and_come_back)
        keeper.start()
        result = suite.run("--runs", "1", "--band", "50,100", model=MODEL)
        keeper.join()

    assert result.ret == 0, result.stdout.str()
    (record,) = suite.last_run().records.values()
    faults = record.requests[-1].faults
    assert f"127.0.0.1:{port} refuses connections" in faults
    assert "refuses connections; trying again" not in result.stdout.str()


def test_another_process_of_the_run_that_was_answered_counts(tmp_path: Path):
    one, other, later = (Bulletin(tmp_path, name, since) for name, since in (("1", "a"), ("2", "a"), ("3", "b")))

    one.note_answer()

    assert (one.was_answered(), other.was_answered(), later.was_answered()) == (True, True, False)


def test_a_first_refusal_of_any_kind_is_told_at_once(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    submits = reply(tool_use("submit", {"number": 43}))
    with MessagesAPI([status(529, message="Overloaded"), submits]) as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.base_url)

        result = suite.run("--runs", "1", model=MODEL)

    assert "rltask: HTTP 529: Overloaded; trying again" in result.stdout.str()


def test_a_server_that_never_answers_is_told_and_ends_the_run_after_two_requests(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pytest_rltask.models.contact.SILENT_S", 0.5)
    with MessagesAPI([hang()]) as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.base_url)

        result = suite.run("--reply-timeout", "1", model=MODEL)
        sent = len(api.requests)

    assert (result.ret, sent) == (pytest.ExitCode.INTERRUPTED, 2)
    where = api.base_url.removeprefix("http://")
    assert f"rltask: {where} has not answered for 0.5 s, and is waited for (--reply-timeout)" in result.stdout.str()
    late = "no reply within 1 s (--reply-timeout) (no attempt since the start of the run was answered)"
    assert f"no trial can be played by {MODEL}: {late}" in result.stdout.str()


def test_the_progress_line_says_who_keeps_it_waiting(tmp_path: Path):
    Bulletin(tmp_path, "1", "2026-01-01T00:00:00").wait("127.0.0.1:9 refuses connections, attempt 3")
    (tmp_path / "plan.json").write_text("[]")
    (tmp_path / "run.json").write_text('{"schema": 1}')

    line = Progress(tmp_path, since="2026-01-01T00:00:00").line(100)

    assert "waiting: 127.0.0.1:9 refuses connections, attempt 3" in line
    assert waits(tmp_path, "another invocation") == []


def test_how_long_a_first_answer_is_waited_for_is_told(tmp_path: Path):
    Bulletin(tmp_path, "1", "x").wait("127.0.0.1:9 has not answered", timed=True)
    ((what, at),) = waits(tmp_path, "x")

    assert what == "127.0.0.1:9 has not answered"
    assert at > "2026"
