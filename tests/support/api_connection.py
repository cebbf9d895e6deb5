"""A client's connection to the scripted Messages API: HTTP/1.1, and what its journal holds of each request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class SeenRequest:
    """One HTTP request, and what became of it."""

    number: int
    """Position in the journal, from 0."""
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case. The key is in `authorization`, so this is kept out of the repr."""
    body: Any
    """The parsed JSON; None if there is none."""
    arrived: float
    """`time.monotonic()` when the request was complete."""
    conversation: str = ""
    """Key of its conversation; empty if the request violates something."""
    turn: int = 0
    attempt: int = 0
    """How many times the same request came before."""
    answered: str = ""
    """The status code, or `disconnect`, `cut body`, `client left`, `server closed`; empty while in flight."""
    message: Mapping[str, Any] | None = None
    """The message of a reply, as sent."""
    finished: float | None = None
    """`time.monotonic()` when the answer was handed to the socket, or the wait for it ended."""


class Connection(asyncio.Protocol):
    """One client connection: HTTP/1.1 with keep-alive, a request at a time.

    Args:
        connections: All of the server's; it is among them while it is open.
        arrived: Notes a request down.
        serve: Answers one.
        finished: Hears that one has been served, or why it was not.
    """

    def __init__(
        self,
        connections: set[Connection],
        arrived: Callable[[str, str, Mapping[str, str], bytes], SeenRequest],
        serve: Callable[[Connection, SeenRequest], Coroutine[Any, Any, None]],
        finished: Callable[[SeenRequest, str], None],
    ) -> None:
        self.connections, self.arrived, self.serve, self.finished = connections, arrived, serve, finished
        self.buffer = bytearray()
        self.head: tuple[str, str, dict[str, str]] | None = None
        self.task: asyncio.Task[None] | None = None
        self.closed_because = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.connections.discard(self)
        self.closed_because = self.closed_because or "client left"
        if self.task:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.task:
            self._next_request()

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def close(self, because: str) -> None:
        self.closed_because = because
        self.transport.close()
        if because == "server closed" and self.task:
            self.task.cancel()

    def _next_request(self) -> None:
        if not self.head:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
            del self.buffer[: end + 4]
            method, path, _ = first.split(" ", 2)
            pairs = (line.split(":", 1) for line in lines)
            self.head = method, path, {name.strip().lower(): value.strip() for name, value in pairs}
        method, path, headers = self.head
        length = int(headers.get("content-length", 0))
        if len(self.buffer) < length:
            return
        body = bytes(self.buffer[:length])
        del self.buffer[:length]
        self.head = None
        seen = self.arrived(method, path, headers, body)
        self.task = asyncio.get_running_loop().create_task(self.serve(self, seen))
        # In a callback, since a task that is cancelled before its first step runs no `finally` of its own.
        self.task.add_done_callback(lambda task: self._served(task, seen))

    def _served(self, task: asyncio.Task[None], seen: SeenRequest) -> None:
        self.task = None
        self.finished(seen, self.closed_because)
        if not task.cancelled() and (error := task.exception()):
            self.close("error in the test server")
            raise error
        if self.buffer and not self.transport.is_closing():
            self._next_request()
