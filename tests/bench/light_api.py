"""A Messages API that costs next to nothing, so that what is measured is its client: answers are prepared bytes.

Run as `python -m tests.bench.light_api --turns 6 --latency 0.5` it prints its URL and serves until its stdin closes;
then it prints its journal as JSON: what was asked, by which conversation, when. Every conversation is so many turns:
calls of the tool `add`, and a last word. A request's turn is the number of assistant messages it holds, and its
conversation the number behind the word `seed` in its prompt. What a request says is otherwise not checked.

With `--per-minute 50` an account may send so many requests: a bucket that refills continuously, told in the headers of
each answer as the real API does; a request that finds it empty is refused (429), and so says the journal.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

SEED = re.compile(rb"seed (\d+)")
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
ASSISTANT = re.compile(rb'"role": ?"assistant"')
MODEL = "claude-haiku-4-5-20251001"


@dataclass
class Served:
    """What one server has been asked, and how it answers."""

    turns: int
    latency_s: float
    journal: list[tuple[int, int]] = field(default_factory=list)
    """Of each request, in order of arrival: its conversation's seed, and its turn."""
    first_s: float | None = None
    last_s: float = 0.0
    """When the first request arrived and the last answer left, on the monotonic clock."""
    in_flight: int = 0
    peak_in_flight: int = 0
    late_s: float = 0.0
    """The most by which an answer left later than it should have: what the server itself added to the latency."""
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    per_minute: int = 0
    """Requests that the account may send; 0: as many as it likes."""
    period_s: float = 60.0
    """How long a minute is."""
    refused: int = 0
    _left: float = 0.0
    _at: float = 0.0

    def __post_init__(self) -> None:
        self._left, self._at = float(self.per_minute), time.monotonic()

    def admit(self, now: float) -> tuple[bool, str]:
        """Take a request out of the account's bucket; return whether it was in it, and what the headers say."""
        if not self.per_minute:
            return True, ""
        per_s = self.per_minute / self.period_s
        self._left, self._at = min(self.per_minute, self._left + (now - self._at) * per_s), now
        is_admitted = self._left >= 1
        self._left -= is_admitted
        self.refused += not is_admitted
        wall = datetime.now(UTC)
        full = wall + timedelta(seconds=(self.per_minute - self._left) / per_s)
        headers = (
            f"date: {format_datetime(wall, usegmt=True)}\r\n"
            f"anthropic-ratelimit-requests-limit: {self.per_minute}\r\n"
            f"anthropic-ratelimit-requests-remaining: {int(self._left)}\r\n"
            f"anthropic-ratelimit-requests-reset: {full.isoformat(timespec='seconds')}\r\n"
        )
        wait = "" if is_admitted else f"retry-after: {(1 - self._left) / per_s + 0.5:.0f}\r\n"
        return is_admitted, headers + wait

    def answer(self, turn: int, headers: str = "") -> bytes:
        """Return the answer to a request of a turn."""
        number = next(self.numbers)
        if turn < self.turns - 1:
            use = {"type": "tool_use", "id": f"toolu_{number:022d}", "name": "add", "input": {"a": turn, "b": 1}}
            return _http(number, [use], "tool_use", headers)
        return _http(number, [{"type": "text", "text": f"The sum is {turn}."}], "end_turn", headers)

    def refusal(self, headers: str) -> bytes:
        """Return the answer to a request for which the account has nothing left."""
        error = {"type": "error", "error": {"type": "rate_limit_error", "message": "too many requests"}}
        return _response("429 Too Many Requests", error, f"request-id: req_{next(self.numbers)}\r\n{headers}")

    def summary(self) -> dict[str, Any]:
        """Return what a client's measurement needs to know."""
        return {
            "journal": self.journal,
            "first_s": self.first_s,
            "span_s": self.last_s - (self.first_s or self.last_s),
            "peak_in_flight": self.peak_in_flight,
            "late_s": self.late_s,
            "refused": self.refused,
        }


def _http(number: int, content: list[dict[str, Any]], stop_reason: str, headers: str) -> bytes:
    usage = {"input_tokens": 100, "output_tokens": 20, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    message = {
        "id": f"msg_{number:022d}",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }
    return _response("200 OK", message, f"request-id: req_{number}\r\n{headers}")


def _response(status: str, data: dict[str, Any], headers: str) -> bytes:
    body = json.dumps(data, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One client connection: HTTP/1.1 with keep-alive, a request at a time."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = LENGTH.search(self.buffer, 0, end)
        size = end + 4 + (int(length[1]) if length else 0)
        if len(self.buffer) < size:
            return
        body = bytes(self.buffer[end + 4 : size])
        del self.buffer[:size]
        self._arrived(body)

    def _arrived(self, body: bytes) -> None:
        served, now = self.served, time.monotonic()
        is_admitted, headers = served.admit(now)
        if not is_admitted:
            self.transport.write(served.refusal(headers))
            return
        served.first_s = now if served.first_s is None else served.first_s
        seed, turn = SEED.search(body), len(ASSISTANT.findall(body))
        served.journal.append((int(seed[1]) if seed else -1, turn))
        served.in_flight += 1
        served.peak_in_flight = max(served.peak_in_flight, served.in_flight)
        asyncio.get_running_loop().call_later(served.latency_s, self._answer, turn, now + served.latency_s, headers)

    def _answer(self, turn: int, due: float, headers: str) -> None:
        served = self.served
        served.in_flight -= 1
        self.transport.write(served.answer(turn, headers))
        served.last_s = time.monotonic()
        served.late_s = max(served.late_s, served.last_s - due)


async def serve(served: Served) -> None:
    """Serve until stdin closes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(served), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Serve, and print the journal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--latency", type=float, default=0.5, metavar="S", help="seconds before each answer")
    parser.add_argument("--per-minute", type=int, default=0, metavar="N", help="requests that the account may send")
    parser.add_argument("--minute", type=float, default=60, metavar="S", help="seconds that a minute takes")
    options = parser.parse_args()
    served = Served(options.turns, options.latency, per_minute=options.per_minute, period_s=options.minute)
    asyncio.run(serve(served))
    json.dump(served.summary(), sys.stdout)


if __name__ == "__main__":
    main()
