"""A scripted Messages API on 127.0.0.1: what the real anthropic SDK talks to in tests and benchmarks.

    with MessagesAPI([status(529), reply(tool_use("submit", {"answer": 12})), reply(text("done"))]) as api:
        client = anthropic.AsyncAnthropic(base_url=api.base_url, api_key="test-key", max_retries=0)
        ...
    assert [seen.answered for seen in api.requests] == ["529", "200", "200"]

A script is a list of steps, or a function `(body, turn) -> step` that is asked at every attempt. How a list is
played, each conversation from its start:

* The list falls into turns: each turn is any number of faults and the reply that ends it. The turn of a request
  is the number of answers its history holds, so turn `t` plays the `t`-th group.
* Attempt `k` at a turn (the identical request, again) takes the `k`-th step of its group; attempts past the end
  repeat the last step. So `[status(529), reply(...)]` is a fault and then an answer, `[status(529)]` is a fault
  for ever, and a client that lost a reply and asks again gets the same step anew, with new ids.
* A turn past the last group is a violation: the client went on further than the script.
* `reply` ends a turn, and `slow` or `drip` around one; everything else is a fault.

Trials with the same prompt: an opening that follows an identical one which *failed* is its retry, any other
starts a new conversation. To tell concurrent identical trials apart beyond doubt, send the header `x-trial`, or
`metadata.user_id`. To script them differently, use `each_conversation`.

Every request is checked (see `request_validator`) before it is answered: a violation is answered with 400,
kept in `violations`, and raised as AssertionError on leaving the context unless `take_violations` fetched it.

Run as `python -m tests.support.messages_api --turns 5` it prints its URL and plays N calls of `echo` until stdin
closes.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from tests.support.api_answers import Answers
from tests.support.api_connection import Connection, SeenRequest
from tests.support.api_steps import (
    Block,
    CutBody,
    Disconnect,
    Drip,
    EachConversation,
    Gate,
    Hang,
    OneScript,
    Raw,
    Reply,
    Script,
    Slow,
    Status,
    Step,
    cut_body,
    disconnect,
    drip,
    each_conversation,
    hang,
    ratelimit_headers,
    raw,
    reply,
    slow,
    spend_limit,
    status,
    step_of,
    text,
    thinking,
    tool_use,
)
from tests.support.request_validator import Conversation, RequestValidator

__all__ = [
    "TRIAL_HEADER",
    "Block",
    "CutBody",
    "Disconnect",
    "Drip",
    "EachConversation",
    "Gate",
    "Hang",
    "MessagesAPI",
    "OneScript",
    "Raw",
    "Reply",
    "Script",
    "SeenRequest",
    "Slow",
    "Status",
    "Step",
    "cut_body",
    "disconnect",
    "drip",
    "each_conversation",
    "echo_script",
    "hang",
    "ratelimit_headers",
    "raw",
    "reply",
    "slow",
    "spend_limit",
    "status",
    "text",
    "thinking",
    "tool_use",
]

TRIAL_HEADER = "x-trial"
"""Request header that tells trials with identical prompts apart."""


class MessagesAPI:
    """The server, in a thread of its own; a context manager. All public members are thread safe.

    Args:
        script: One script for all conversations, or a dict of marker to script: a conversation plays the first
            whose marker occurs in its first user message (so `""` serves as the default, put last).
        allow_violations: Do not raise on leaving the context.
        latency_s: Waited before each answer.
        port: 0 takes any free one.
        journal: Whether to keep the requests; off for benchmarks.
        listening: A socket to serve at, in place of a port; it may be of another network (`tests.support.cluster`).
    """

    def __init__(
        self,
        script: Script | Mapping[str, Script],
        *,
        allow_violations: bool = False,
        latency_s: float = 0.0,
        port: int = 0,
        journal: bool = True,
        listening: socket.socket | None = None,
    ) -> None:
        self._scripts: Mapping[str, Script] = script if isinstance(script, Mapping) else {"": script}
        self._allow_violations, self._latency_s, self._port = allow_violations, latency_s, port
        self._keeps_journal, self._listening = journal, listening
        self._changed = threading.Condition()  # guards what follows, and tells that it changed
        self._requests: list[SeenRequest] = []
        self._violations: list[str] = []
        self._in_flight = self._peak_in_flight = 0
        # From here on only for the server's thread.
        self._validator = RequestValidator()
        self._playing: dict[str, OneScript] = {}
        self._numbers, self._answers = itertools.count(), Answers()
        self._connections: set[Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="messages-api", daemon=True)

    def __enter__(self) -> Self:
        self._validator.check({})  # imports the SDK's types now rather than under the first request
        self._thread.start()
        listening = self._listening or socket.create_server(("127.0.0.1", self._port), backlog=1024)
        server = self._loop.create_server(self._connect, sock=listening)
        self._server = asyncio.run_coroutine_threadsafe(server, self._loop).result()
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if self._allow_violations or not self._violations:
            return
        found = "the Messages API would have refused:\n  " + "\n  ".join(self._violations)
        if error is None:
            raise AssertionError(found)
        error.add_note(found)  # most likely the reason for it

    def close(self) -> None:
        """End the server and all that is in flight, as leaving the context does. Closing again does nothing."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def base_url(self) -> str:
        """For `ANTHROPIC_BASE_URL`, or `base_url=`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def requests(self) -> list[SeenRequest]:
        """The journal so far: all requests in order of arrival."""
        with self._changed:
            return list(self._requests)

    @property
    def conversations(self) -> dict[str, list[SeenRequest]]:
        """The journal by conversation, violations left out."""
        found: dict[str, list[SeenRequest]] = {}
        for seen in self.requests:
            if seen.conversation:
                found.setdefault(seen.conversation, []).append(seen)
        return found

    @property
    def violations(self) -> list[str]:
        """What was wrong with requests so far."""
        with self._changed:
            return list(self._violations)

    @property
    def in_flight(self) -> int:
        """Requests being answered now."""
        return self._in_flight

    @property
    def peak_in_flight(self) -> int:
        """The most requests that ever were in flight at once."""
        return self._peak_in_flight

    def take_violations(self) -> list[str]:
        """Return the violations and forget them: for a test that expects some."""
        with self._changed:
            taken, self._violations = self._violations, []
            return taken

    def wait_for_requests(self, count: int, *, timeout_s: float = 10) -> list[SeenRequest]:
        """Block until so many requests have arrived (answered or not), and return them."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self._requests) >= count, timeout_s)
            assert arrived, f"{len(self._requests)} of {count} requests came within {timeout_s:g} s"
            return list(self._requests)

    def wait_until_idle(self, *, timeout_s: float = 10) -> list[SeenRequest]:
        """Block until no request is in flight, so that `answered` is final, and return the journal."""
        with self._changed:
            idle = self._changed.wait_for(lambda: not self._in_flight, timeout_s)
            assert idle, f"{self._in_flight} requests still in flight after {timeout_s:g} s"
            return list(self._requests)

    def leaks(self, secret: str) -> list[str]:
        """Return where the secret was sent, the authorization header left out."""
        found = []
        for seen in self.requests:
            found += [
                f"request {seen.number}: header {name}"
                for name, value in seen.headers.items()
                if secret in value and name != "authorization"
            ]
            if secret in seen.path:
                found.append(f"request {seen.number}: path")
            if secret in json.dumps(seen.body, ensure_ascii=False):
                found.append(f"request {seen.number}: body")
        return found

    def _connect(self) -> Connection:
        return Connection(self._connections, self._arrived, self._serve, self._finished)

    async def _close(self) -> None:
        self._server.close()
        tasks = [connection.task for connection in self._connections if connection.task]
        for connection in list(self._connections):
            connection.close("server closed")
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # lets the transports report their end

    def _arrived(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> SeenRequest:
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        seen = SeenRequest(next(self._numbers), method, path, headers, parsed, time.monotonic())
        with self._changed:
            if self._keeps_journal:
                self._requests.append(seen)
            self._in_flight += 1
            self._peak_in_flight = max(self._peak_in_flight, self._in_flight)
            self._changed.notify_all()
        return seen

    async def _serve(self, connection: Connection, seen: SeenRequest) -> None:
        """Answer one request, and write down how."""
        conversation: Conversation | None = None
        try:
            conversation, step = self._next_step(seen)
            if self._latency_s:
                await asyncio.sleep(self._latency_s)
            await self._play(connection, seen, step, conversation)
        finally:
            if conversation and conversation.state == "in flight":
                self._validator.failed(conversation)

    def _finished(self, seen: SeenRequest, how: str) -> None:
        with self._changed:
            seen.answered = seen.answered or how
            seen.finished = time.monotonic()
            self._in_flight -= 1
            self._changed.notify_all()

    def _next_step(self, seen: SeenRequest) -> tuple[Conversation | None, Step]:
        """Check the request, and find its conversation and what the script has for it."""
        if (seen.method, seen.path.partition("?")[0]) != ("POST", "/v1/messages"):
            self._violated(seen, [f"{seen.method} {seen.path} is not served"])
            return None, status(404)
        if not isinstance(seen.body, dict):
            return None, self._violated(seen, ["the body is not a JSON object"])

        metadata = seen.body.get("metadata")
        user = metadata.get("user_id") if isinstance(metadata, dict) else None
        verdict = self._validator.place(seen.body, discriminator=seen.headers.get(TRIAL_HEADER) or str(user or ""))
        conversation = verdict.conversation
        if conversation is None:
            return None, self._violated(seen, verdict.violations)
        seen.conversation, seen.turn, seen.attempt = conversation.key, conversation.turn, conversation.attempt
        try:
            if verdict.is_new:
                self._playing[conversation.key] = self._script_for(_first_text(seen.body))
            return conversation, step_of(self._playing[conversation.key], seen.body, seen.turn, seen.attempt)
        except Exception as error:  # whatever a script raises must reach the test
            return conversation, self._violated(seen, [f"script: {error!r}"])

    def _script_for(self, prompt: str) -> OneScript:
        for marker, script in self._scripts.items():
            if marker in prompt:
                if not isinstance(script, EachConversation):
                    return script
                return script.scripts[min(next(script.dealt), len(script.scripts) - 1)]
        raise LookupError(f"none of the markers {list(self._scripts)} is in the first message {prompt[:80]!r}")

    def _violated(self, seen: SeenRequest, violations: Sequence[str]) -> Status:
        with self._changed:
            self._violations += [f"request {seen.number}: {violation}" for violation in violations]
        return status(400, message="; ".join(violations))

    async def _play(
        self, connection: Connection, seen: SeenRequest, step: Step, conversation: Conversation | None
    ) -> None:
        if isinstance(step, Slow):
            gate = step.until or Gate()
            await gate._pass(step.seconds)
            await self._play(connection, seen, step.step, conversation)
        elif isinstance(step, Hang):
            await asyncio.Event().wait()
        elif isinstance(step, Disconnect):
            seen.answered = "disconnect"
            connection.close("disconnect")
        elif isinstance(step, CutBody):
            head, body = self._answers.render(seen, step.step)
            seen.answered = "cut body"
            connection.write(head + body[: len(body) // 2])
            connection.close("cut body")
        else:
            interval_s = step.interval_s if isinstance(step, Drip) else 0
            step = step.step if isinstance(step, Drip) else step
            head, body = self._answers.render(seen, step)
            if interval_s:
                connection.write(head)
                head = b""
                for byte in body[:-1]:
                    connection.write(bytes([byte]))
                    await asyncio.sleep(interval_s)
                body = body[-1:]
            seen.answered = str(200 if isinstance(step, Reply) else step.code)
            connection.write(head + body)
            if conversation and isinstance(step, Reply) and seen.message:
                self._validator.answered(conversation, seen.message)


def _first_text(body: Mapping[str, Any]) -> str:
    """Return all text of the first message, which the validator has found to be the user's."""
    content = body["messages"][0]["content"]
    return content if isinstance(content, str) else "\n".join(block.get("text", "") for block in content)


def echo_script(turns: int) -> OneScript:
    """Return a script of so many calls of `echo`, and a last word; cheap to play however long."""
    call, end = reply(tool_use("echo", {"text": "hello " * 8})), reply(text("done"))
    return lambda body, turn: call if turn < turns else end


def main() -> None:
    """Serve `echo_script` until stdin closes."""
    parser = argparse.ArgumentParser(description="A Messages API that calls the tool 'echo' and ends.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--turns", type=int, default=5, help="tool calls before the end")
    parser.add_argument("--latency", type=float, default=0.0, metavar="S", help="seconds before each answer")
    options = parser.parse_args()
    with MessagesAPI(echo_script(options.turns), port=options.port, latency_s=options.latency, journal=False) as api:
        sys.stdout.write(f"{api.base_url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
