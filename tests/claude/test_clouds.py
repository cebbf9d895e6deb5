"""`bedrock:NAME` and `vertex:NAME`: the SDK's own clients at a loopback server, and what they lack is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pytest_rltask.models.clouds import VERTEX, lacking, marked
from pytest_rltask.models.named import make_model, missing_key, parse_model
from pytest_rltask.models.prices import Prices
from pytest_rltask.run.record import Record, Usage
from pytest_rltask.trial.play import play
from tests.claude.desk import Desk, spec_of

SUBMIT = {"type": "tool_use", "id": "s", "name": "submit", "input": {"answer": 12}}
ECHO = {"type": "tool_use", "id": "e", "name": "echo", "input": {"text": "a"}}
BEDROCK_NAME = "bedrock:us.anthropic.claude-opus-5-v1:0"
VERTEX_NAME = "vertex:claude-opus-5@20260101"


@contextmanager
def cloud(*answers: tuple[int, Any]) -> Iterator[tuple[str, list[tuple[str, dict[str, str], Any]]]]:
    """Serve answers in order, the last for ever; yields the address, and what was asked."""
    seen: list[tuple[str, dict[str, str], Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            code, answer = answers[min(len(seen), len(answers) - 1)]
            seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            said = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def said(*blocks: Any) -> tuple[int, Any]:
    usage = {"input_tokens": 1_000_000, "output_tokens": 0}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "claude-opus-5", "content": list(blocks)}
    return 200, {**message, "stop_reason": "tool_use", "usage": usage}


def played(name: str) -> Record:
    async def one() -> Record:
        model = make_model(parse_model(name))
        try:
            return await play(spec_of(Desk(), name), model)
        finally:
            await model.aclose()

    return asyncio.run(one())


@pytest.fixture
def _bedrock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "a-key-of-bedrock")


@pytest.fixture
def _vertex(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_ML_REGION", "global")
    monkeypatch.setenv("ANTHROPIC_VERTEX_PROJECT_ID", "a-project")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "Authorization: Bearer a-token")


@pytest.mark.usefixtures("_bedrock")
def test_a_trial_is_played_at_bedrock(monkeypatch: pytest.MonkeyPatch):
    with cloud(said(ECHO), said(SUBMIT)) as (url, seen):
        monkeypatch.setenv("ANTHROPIC_BEDROCK_BASE_URL", url)
        record = played(f"{BEDROCK_NAME}@effort=high")

    assert (record.outcome, record.turns, record.settings) == ("passed", 2, {"effort": "high"})
    path, headers, body = seen[1]
    assert path == "/model/us.anthropic.claude-opus-5-v1:0/invoke"
    assert headers["authorization"] == "Bearer a-key-of-bedrock"
    assert body["output_config"] == {"effort": "high"}
    assert "model" not in body
    assert "cache_control" not in body
    marks = [block.get("cache_control") for message in body["messages"] for block in message["content"]]
    assert marks == [None, None, {"type": "ephemeral"}]
    assert record.cost_usd == pytest.approx(2 * 5.5)  # a profile of a region costs a tenth more than the API


@pytest.mark.usefixtures("_vertex")
def test_a_trial_is_played_at_vertex(monkeypatch: pytest.MonkeyPatch):
    with cloud(said(SUBMIT)) as (url, seen):
        monkeypatch.setenv("ANTHROPIC_VERTEX_BASE_URL", f"{url}/v1")
        record = played(VERTEX_NAME)

    assert (record.outcome, record.model) == ("passed", VERTEX_NAME)
    ((path, headers, _),) = seen
    assert path == (
        "/v1/projects/a-project/locations/global/publishers/anthropic/models/claude-opus-5@20260101:rawPredict"
    )
    assert headers["authorization"] == "Bearer a-token"


@pytest.mark.usefixtures("_bedrock")
def test_what_bedrock_refuses_is_told_with_where_to_look(monkeypatch: pytest.MonkeyPatch):
    with cloud((403, {"message": "You don't have access to the model"})) as (url, seen):
        monkeypatch.setenv("ANTHROPIC_BEDROCK_BASE_URL", url)
        record = played(BEDROCK_NAME)

    assert record.fault is not None
    assert record.fault.fatal
    assert record.fault.message.startswith("HTTP 403: You don't have access to the model; ask for access to the model")
    assert len(seen) == 1


def test_credentials_that_there_are_not_end_the_run_in_words():
    google = type("DefaultCredentialsError", (Exception,), {"__module__": "google.auth.exceptions"})

    assert VERTEX.is_without_credentials(google("x"))
    assert VERTEX.is_without_credentials(RuntimeError("Could not resolve API token from the environment"))
    assert not VERTEX.is_without_credentials(ValueError("x"))


@pytest.mark.usefixtures("_vertex")
def test_a_client_without_credentials_is_told_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ANTHROPIC_VERTEX_PROJECT_ID")

    record = played(VERTEX_NAME)

    assert record.fault is not None
    assert record.fault.fatal
    assert record.fault.message.startswith("no request can be sent: RuntimeError: No project_id was given")
    assert record.fault.message.endswith("gcloud auth application-default print-access-token")


@pytest.mark.parametrize(
    ("kind", "environment", "words"),
    [
        ("bedrock", {"AWS_REGION": "r"}, "pip install 'pytest-rltask[bedrock]'"),
        ("bedrock", {"AWS_BEARER_TOKEN_BEDROCK": "k"}, "set AWS_REGION=us-east-1"),
        ("bedrock", {"AWS_BEARER_TOKEN_BEDROCK": "k", "AWS_DEFAULT_REGION": "r"}, ""),
        (
            "bedrock",
            {"AWS_BEARER_TOKEN_BEDROCK": "k\n", "AWS_REGION": "r"},
            "AWS_BEARER_TOKEN_BEDROCK ends with a line end",
        ),
        ("vertex", {}, "set CLOUD_ML_REGION=global"),
        ("vertex", {"CLOUD_ML_REGION": "r"}, "set ANTHROPIC_VERTEX_PROJECT_ID"),
        ("vertex", {"CLOUD_ML_REGION": "r", "ANTHROPIC_VERTEX_PROJECT_ID": "p"}, "pip install 'pytest-rltask[vertex]'"),
    ],
)
def test_what_a_cloud_lacks_is_told_before_anything(
    kind: str, environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pytest_rltask.models.clouds._has", lambda module: False)

    found = lacking(kind, environment)

    assert words in found
    assert bool(found) == bool(words)
    assert missing_key(parse_model(f"{kind}:x"), environment, ()) == (f"--model {kind}:x: {found}" if found else None)


def test_prices_are_those_of_the_cloud():
    million = Usage(1_000_000, 1_000_000)

    assert Prices().of_tokens(BEDROCK_NAME, million) == pytest.approx(33.0)
    assert Prices().of_tokens(f"{VERTEX_NAME}@effort=low", million) == pytest.approx(30.0)
    assert Prices().text("bedrock:nobody") is None


def test_a_mark_leaves_the_conversation_as_it_is():
    messages = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]

    assert marked(messages)[0]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert messages == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
