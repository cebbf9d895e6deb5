"""The program that holds an agent's code while it is graded: it answers calls with plain data.

Its source is started as ``python -c SOURCE REQUESTS ANSWERS`` in a sandbox that holds the agent's files, no test. Each
line of JSON at the descriptor REQUESTS asks for one thing, and gets one line at ANSWERS. Who asks is ``agent_code``, in
another sandbox. The code runs in a child of this process, which is replaced when it ends, or takes too long; nobody
trusts either: what code makes of an answer is an answer, right or wrong.
"""

from __future__ import annotations

import builtins
import importlib
import itertools
import json
import operator
import os
import select
import subprocess
import sys
from collections.abc import Callable
from typing import Any

_LINE_BYTES = 2**24
_ITEMS = 100_000
_SECONDS = 1e6
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda target, *args, **kwargs: target(*args, **kwargs),
    "len": lambda target: len(target),
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "contains": lambda target, item: bool(operator.contains(target, item)),
    "list": lambda target: list(itertools.islice(target, _ITEMS)),
    "str": lambda target: str(target),
    "setattr": setattr,
}


class Worker:
    """What runs in the child: the modules that were asked for, and the objects that were handed out by number."""

    def __init__(self) -> None:
        self.objects: list[Any] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked, and return what comes of it."""
        try:
            value = self._done(request)
            return {"value": self._plain(value)}
        except Exception as error:
            return {"raised": [_kind(type(error)), _text(error)]}
        except BaseException as error:  # sys.exit() in a function is no end of the test
            return {"raised": [[type(error).__module__, type(error).__qualname__, []], _text(error)]}

    def _done(self, request: dict[str, Any]) -> Any:
        is_module = "module" in request
        target = importlib.import_module(request["module"]) if is_module else self.objects[request["object"]]
        if "get" in request:
            return getattr(target, request["get"])
        args = [self._given(one) for one in request["args"]]
        kwargs = {name: self._given(one) for name, one in request["kwargs"].items()}
        return _OPERATIONS[request["do"]](target, *args, **kwargs)

    def _plain(self, value: Any) -> Any:
        """Return a value as JSON holds it: what is no plain data, or nested without end, stays here, under a number."""
        try:
            return _encoded(value)
        except (TypeError, RecursionError):
            pass
        if isinstance(value, type) and issubclass(value, Exception):
            return {"exception": _kind(value)}
        self.objects.append(value)
        return {"object": [len(self.objects) - 1, type(value).__name__]}

    def _given(self, value: Any) -> Any:
        match value:
            case {"object": number}:
                return self.objects[number]
            case {"tuple": items}:
                return tuple(map(self._given, items))
            case {"set": items}:
                return set(map(self._given, items))
            case {"frozenset": items}:
                return frozenset(map(self._given, items))
            case {"bytes": text}:
                return bytes.fromhex(text)
            case {"complex": [real, imaginary]}:
                return complex(real, imaginary)
            case {"dict": pairs}:
                return {self._given(key): self._given(one) for key, one in pairs}
            case list():
                return [self._given(one) for one in value]
        return value


def _encoded(value: Any) -> Any:
    """Return plain data, of subclasses their base's: a namedtuple is a tuple, a Counter a dict.

    Raises:
        TypeError: it is none.
    """
    if value is None or isinstance(value, bool):
        return value
    for name in ("int", "float", "str"):
        scalar = getattr(builtins, name)
        if isinstance(value, scalar):
            return scalar.__new__(scalar, value) if type(value) is not scalar else value
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, list):
        return [_encoded(one) for one in value]
    for name in ("tuple", "set", "frozenset"):
        if isinstance(value, getattr(builtins, name)):
            return {name: [_encoded(one) for one in value]}
    if isinstance(value, dict):
        return {"dict": [[_encoded(key), _encoded(one)] for key, one in value.items()]}
    raise TypeError


def _kind(cls: type) -> list[Any]:
    """Return an exception's class by its module and name, and its bases in the same way."""
    bases = [_kind(base) for base in cls.__bases__ if issubclass(base, Exception)]
    return [cls.__module__, cls.__qualname__, bases]


def _text(error: BaseException) -> str:
    try:
        return str(error)[:10_000]
    except Exception:
        return ""


def _program(request: dict[str, Any]) -> dict[str, Any]:
    """Run a program of the agent's, and return what it printed."""
    given = request["run"]
    try:
        ended = subprocess.run(
            given["command"],
            input=bytes.fromhex(given["stdin"]),
            capture_output=True,
            timeout=request["seconds"],
            shell=isinstance(given["command"], str),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"late": True}
    except OSError as error:
        return {"value": {"tuple": [127, "", f"{error}"]}}
    said = [stream.decode("utf-8", "replace") for stream in (ended.stdout, ended.stderr)]
    return {"value": {"tuple": [ended.returncode, *said]}}


class Child:
    """The process that holds the modules."""

    def __init__(self, others: tuple[int, int]) -> None:
        theirs, self._ask = os.pipe()
        self._hear, ours = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            for fd in (self._ask, self._hear, *others):
                os.close(fd)
            _work(theirs, ours)
        os.close(theirs)
        os.close(ours)
        self._heard = b""

    def ask(self, line: bytes, seconds: float) -> bytes | None:
        """Return the answer; None if none comes in time, empty if the child has ended."""
        import time

        try:
            _write(self._ask, line)
        except BrokenPipeError:
            return b""
        until = time.monotonic() + seconds
        while b"\n" not in self._heard:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._hear], [], [], left)[0]:
                return None
            chunk = os.read(self._hear, 65536)
            self._heard += chunk
            if not chunk or len(self._heard) > _LINE_BYTES:
                return b""
        answer, _, self._heard = self._heard.partition(b"\n")
        return answer

    def end(self) -> None:
        """Kill it."""
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        os.close(self._ask)
        os.close(self._hear)


def _work(requests: int, answers: int) -> None:
    sys.path.insert(0, os.getcwd())
    worker = Worker()
    with open(requests, "rb") as lines:
        for line in lines:
            answer = json.dumps(worker.answer(json.loads(line))).encode()
            _write(answers, (answer if len(answer) < _LINE_BYTES else b'{"big": true}') + b"\n")
    os._exit(0)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def serve(requests: str, answers: str) -> None:
    """Answer requests until there are no more."""
    child: Child | None = None
    for number in (requests, answers):
        os.set_inheritable(int(number), False)
    with open(int(requests), "rb") as lines:
        for line in lines:
            request = json.loads(line)
            if "run" in request:
                answer = _program(request)
            else:
                child = child or Child((lines.fileno(), int(answers)))
                said = child.ask(line, min(request["seconds"], _SECONDS))
                if not said:
                    answer = {"late": True} if said is None else {"ended": True}
                    child.end()
                    child = None
                else:
                    _write(int(answers), said + b"\n")
                    continue
            _write(int(answers), json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    serve(*sys.argv[1:])
