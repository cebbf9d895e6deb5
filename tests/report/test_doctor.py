"""What the doctor says of an environment: never a secret of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_rltask import sandbox
from pytest_rltask.report import doctor
from pytest_rltask.report.doctor import examined, lines, secrets_of

KEY = "sk-ant-api03-hunter2"


@pytest.fixture(autouse=True)
def _no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try no backend out: that takes a second each, and tests of sandboxes do it."""
    problems = {"bwrap": "user namespaces are forbidden\x1b[2J", "landlock": None, "docker": "no daemon"}
    monkeypatch.setattr(sandbox, "problem_of", problems.get)
    monkeypatch.setattr(sandbox, "resolve_backend", lambda wanted: "landlock")
    monkeypatch.setattr(sandbox, "differences", lambda name: ("There are no servers.",))


def said(online: bool = False, **environment: str) -> str:
    return "\n".join(lines(examined(environment, online=online)))


def test_it_says_which_sandboxes_work_why_others_do_not_and_what_honest_code_misses():
    told = said()

    assert "sandbox    --sandbox auto takes landlock\n" in told
    assert "  bwrap    does not work: user namespaces are forbidden␛[2J\n  landlock works\n" in told
    assert "\n  - The network, as under every backend" in told
    assert "\n  - There are no servers.\n" in told


def test_without_any_sandbox_it_says_what_that_means(monkeypatch: pytest.MonkeyPatch):
    def none_works(wanted: str) -> str:
        raise sandbox.SandboxError("none")

    monkeypatch.setattr(sandbox, "resolve_backend", none_works)

    assert "sandbox    none works: tasks that run code are not played" in said()
    assert "honest code" not in said()


def test_versions_of_what_decides_are_there():
    found = examined({}, online=False)

    assert {"Python", "pytest-rltask", "pytest", "anthropic"} <= found["versions"].keys()
    assert "pytest-xdist" in found["plugins"]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({}, "none is set: policies"),
        ({"ANTHROPIC_API_KEY": KEY}, "ANTHROPIC_API_KEY is set, and well formed; whether"),
        ({"ANTHROPIC_AUTH_TOKEN": KEY}, "ANTHROPIC_AUTH_TOKEN is set, and well formed"),
        ({"ANTHROPIC_API_KEY": f"{KEY}\n"}, "ANTHROPIC_API_KEY ends with a line end"),
        ({"ANTHROPIC_API_KEY": KEY.replace("-", " ")}, "ANTHROPIC_API_KEY holds a space (character 3 of 20)"),
        ({"ANTHROPIC_PROFILE": "work"}, "ANTHROPIC_PROFILE is set, a profile"),
    ],
)
def test_a_key_is_judged_and_not_shown(environment: dict[str, str], key: str):
    told = said(**environment)

    assert f"\nkey        {key}" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("url", "server"),
    [
        (None, "https://api.anthropic.com (not asked; --online asks it)"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000 (not asked"),
        ("http://[::1]:8000", "http://[::1]:8000 (not asked"),
        (
            "https://me:hunter2@api.example.com/hunter2-and-more?key=hunter2#hunter2",
            "https://api.example.com: A",
        ),
        ("localhost:8000", "(no host): ANTHROPIC_BASE_URL does not begin with http"),
        (f"https://{KEY}", "(no host) (not asked"),
        ("https://host:hunter2", "(no address): ANTHROPIC_BASE_URL has a port"),
        ("http://a b'\"hunter2", "(no host): ANTHROPIC_BASE_URL holds white space"),
        ("", "(no host): ANTHROPIC_BASE_URL is empty"),
    ],
)
def test_of_an_address_only_the_host_is_shown(url: str | None, server: str):
    told = said(**({} if url is None else {"ANTHROPIC_BASE_URL": url}))

    assert f"\nserver     {server}" in told
    assert "hunter2" not in told


def test_proxies_are_named_without_what_they_are_opened_with():
    told = said(https_proxy="me:hunter2@proxy:3128", HTTP_PROXY="http://u:hunter2@other:1", NO_PROXY="a.hunter2,b")

    assert "proxy      HTTP_PROXY http://other:1\nproxy      HTTPS_PROXY http://proxy:3128\n" in told
    assert "NO_PROXY names 2 hosts" in told
    assert "hunter2" not in told


SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=20, max_size=40)
PLACES = ("ANTHROPIC_API_KEY", "GITHUB_TOKEN", "DB_PASSWORD", "ANTHROPIC_CUSTOM_HEADERS")


@settings(max_examples=20)
@given(SECRETS, st.sampled_from(PLACES), st.sampled_from(["ANTHROPIC_BASE_URL", "HTTPS_PROXY", "OTHER"]))
def test_no_secret_is_shown_wherever_it_turns_up(secret: str, name: str, address: str):
    environment = {name: secret, address: f"http://user:{secret}@host:80/{secret}?key={secret}"}
    found = doctor._without({"told": [f"a server said {secret}"]}, secrets_of(environment))

    assert secret not in said(**environment)
    assert secret not in found["told"][0]


@contextmanager
def answering(status: int) -> Iterator[str]:
    """Serve the list of models, or what is answered in its place."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"data": [], "has_more": False, "first_id": None, "last_id": None}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "key", "answer"),
    [
        (200, KEY, "answers, and takes the key"),
        (200, "", "answers"),
        (401, KEY, "answers, and refuses the key (HTTP 401)"),
        (401, "", "answers, and wants a key"),
        (404, KEY, "answers, if with HTTP 404 when asked for its models"),
    ],
)
def test_a_server_is_asked_only_if_it_shall_be(monkeypatch: pytest.MonkeyPatch, status: int, key: str, answer: str):
    with answering(status) as url:
        environment = {"ANTHROPIC_BASE_URL": url} | ({"ANTHROPIC_API_KEY": key} if key else {})
        for name, value in environment.items():
            monkeypatch.setenv(name, value)  # where the SDK looks
        assert f"server     {url} (not asked" in said(**environment)
        told = said(online=True, **environment)

    assert f"\nserver     {url}: {answer}" in told
    assert "hunter2" not in told


def test_a_server_that_is_not_there_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch):
    with answering(200) as url:
        pass
    monkeypatch.setenv("ANTHROPIC_BASE_URL", url)

    assert f"server     {url}: {url[7:]} refuses connections; start the server, or set" in said(
        online=True, ANTHROPIC_BASE_URL=url
    )
