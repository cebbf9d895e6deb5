"""An agent's code, for tests that grade it: calls are made in another process, and plain data comes back.

It lies beside the tests in the sandbox where they run, as the module ``agent_code``; the agent's modules that the
author names are stand-ins made by :class:`Module`. So ``from solution import add`` and ``assert add(2, 3) == 5`` mean
what they say, though no line of the agent's runs where they are compared. What comes back is a number, a string, a list
and the like, of Python's own types, or an :class:`Object` that stands for anything else.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")
SECONDS = float(os.environ.get("RLTASK_CALL_S", "10"))
"""How long one call may take, unless it is set anew."""
_LINE_BYTES = 2**24
_ENDS = (StopIteration, StopAsyncIteration)
"""What ends a loop of the tests' instead of failing it."""
_Kind = tuple[str, str, tuple["_Kind", ...]]
"""An exception's class: its module, its name, and its bases."""


class AgentError(Exception):
    """The agent's code ended, took too long, said what is no answer, or raised an exception of its own."""


class _Channel:
    """The way to the agent's process."""

    def __init__(self) -> None:
        self.requests = int(os.environ.get("RLTASK_REQUESTS", "-1"))
        self.answers = int(os.environ.get("RLTASK_ANSWERS", "-1"))
        self.heard = b""
        self.generation = 0
        self.exceptions: dict[tuple[str, str], type[Exception]] = {}

    def ask(self, request: dict[str, Any], seconds: float) -> Any:
        """Return what the agent's process answers, as plain data."""
        if self.requests < 0:
            raise RuntimeError("there is no agent here: isolated_grade runs these tests")
        _write(self.requests, json.dumps({**request, "seconds": seconds}).encode() + b"\n")
        answer = self._line()
        if "value" in answer:
            return self.decoded(answer["value"])
        if "raised" in answer:
            kind, said = answer["raised"]
            raise _made(self.exception(kind), said)
        self.generation += 1
        if "late" in answer:
            raise AgentError(f"it did not answer within {seconds:g} s")
        raise AgentError("its answer is too long" if "big" in answer else "its process ended before it answered")

    def _line(self) -> dict[str, Any]:
        while b"\n" not in self.heard:
            chunk = os.read(self.answers, 65536)
            self.heard += chunk
            if not chunk or len(self.heard) > _LINE_BYTES:
                raise AgentError("its process ended before it answered")
        line, _, self.heard = self.heard.partition(b"\n")
        try:
            answer = json.loads(line)
            if not isinstance(answer, dict):
                raise ValueError("no object")
            if "raised" in answer:
                kind, said = answer["raised"]
                answer["raised"] = [_kind(kind), _text(said)]
            return answer
        except (ValueError, TypeError, RecursionError):
            raise AgentError("it said what is no answer") from None

    def decoded(self, value: Any) -> Any:
        """Return plain data, of Python's own types."""
        try:
            return self._decoded(value)
        except (ValueError, TypeError, LookupError, RecursionError, AttributeError):
            raise AgentError("it said what is no answer") from None

    def _decoded(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._decoded(one) for one in value]
        if not isinstance(value, dict):
            return value
        ((kind, held),) = value.items()
        if kind == "dict":
            return {self._decoded(key): self._decoded(one) for key, one in held}
        if kind in ("tuple", "set", "frozenset"):
            return getattr(builtins, kind)([self._decoded(one) for one in held])
        if kind == "bytes":
            return bytes.fromhex(held)
        if kind == "complex":
            return complex(*held)
        if kind == "exception":
            return self.exception(_kind(held))
        return Object({"object": int(held[0])}, _text(held[1]), self.generation)

    def exception(self, kind: _Kind) -> type[Exception]:
        """Return the class that stands for an exception's, derived from those that stand for its bases.

        It is Python's own as well where the agent's is, but never that itself: a test that expects what the agent
        names must not take a failed comparison, or any error of its own, for it.
        """
        module, name, bases = kind
        if (module, name) not in self.exceptions:
            of_python = getattr(builtins, name, None) if module == "builtins" else None
            if of_python is Exception:
                return AgentError
            parents = dict.fromkeys(map(self.exception, bases))
            if isinstance(of_python, type) and issubclass(of_python, Exception) and of_python not in _ENDS:
                parents[of_python] = None
            self.exceptions[module, name] = _class(name.rpartition(".")[2], module, tuple(parents))
        return self.exceptions[module, name]


def _class(name: str, module: str, parents: tuple[type, ...]) -> type[Exception]:
    if not any(issubclass(parent, AgentError) for parent in parents):
        parents = (AgentError, *parents)
    try:
        return type(name, parents, {"__module__": module})
    except TypeError:  # the agent says of its bases what cannot be
        return type(name, (AgentError,), {"__module__": module})


def _kind(value: Any) -> _Kind:
    module, name, bases = value
    return _text(module), _text(name), tuple(map(_kind, bases))


def _made(cls: type[Exception], said: str) -> Exception:
    if issubclass(cls, UnicodeDecodeError):
        return cls("utf-8", b"", 0, 0, said)
    if issubclass(cls, UnicodeEncodeError):
        return cls("utf-8", "", 0, 0, said)
    try:
        return cls(said)
    except TypeError:  # some of Python's take more
        return AgentError(f"{cls.__name__}: {said}")


def _text(value: object) -> str:
    return str(value)[:10_000] if isinstance(value, str) else ""


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _encoded(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Object):
        return object.__getattribute__(value, "_number")
    if isinstance(value, list):
        return [_encoded(one) for one in value]
    for name in ("tuple", "set", "frozenset"):
        if isinstance(value, getattr(builtins, name)):
            return {name: [_encoded(one) for one in value]}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, dict):
        return {"dict": [[_encoded(key), _encoded(one)] for key, one in value.items()]}
    raise TypeError(
        f"the agent's code, which runs in another process, cannot be given a {type(value).__name__}: give numbers, "
        "strings, bytes, lists, tuples, sets, dicts, or what it returned"
    )


_CHANNEL = _Channel()


class Object:
    """A thing of the agent's that is no plain data; it is equal to itself alone, whatever its class says.

    Attributes, calls, ``len``, items, ``in``, iteration and ``str`` are asked of it in its process.
    """

    def __init__(self, number: dict[str, int], kind: str, generation: int) -> None:
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_generation", generation)

    def _do(self, what: str, *args: Any, **kwargs: Any) -> Any:
        given = [_encoded(one) for one in args], {name: _encoded(one) for name, one in kwargs.items()}
        return _CHANNEL.ask({**self._where(), "do": what, "args": given[0], "kwargs": given[1]}, SECONDS)

    def _where(self) -> dict[str, Any]:
        if object.__getattribute__(self, "_generation") != _CHANNEL.generation:
            raise AgentError("its process, which ended or was too late, took this object with it")
        number: dict[str, Any] = object.__getattribute__(self, "_number")
        return number

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # pytest and others look for what is none of the agent's
        return _CHANNEL.ask({**self._where(), "get": name}, SECONDS)

    def __setattr__(self, name: str, value: Any) -> None:
        self._do("setattr", name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self._do("call", *args, **kwargs)

    def __len__(self) -> int:
        return _of(int, self._do("len"))

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> Any:
        return self._do("getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._do("setitem", key, value)

    def __contains__(self, item: Any) -> bool:
        return _of(bool, self._do("contains", item))

    def __iter__(self) -> Iterator[Any]:
        return iter(_of(list, self._do("list")))

    def __str__(self) -> str:
        return _of(str, self._do("str"))

    def __repr__(self) -> str:
        return f"<the agent's {object.__getattribute__(self, '_kind')}>"


def _of(kind: type[_T], value: Any) -> _T:
    if type(value) is not kind:
        raise AgentError("it said what is no answer")
    return value


class Module:
    """Stands for a module of the agent's, which is imported in its process."""

    def __init__(self, name: str) -> None:
        own = vars(sys.modules[name])
        vars(self).update(__name__=name, __file__=None, __path__=own.get("__path__", []), __spec__=own["__spec__"])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        try:
            return _CHANNEL.ask({"module": vars(self)["__name__"], "get": name}, SECONDS)
        except AgentError as error:
            if type(error) is not AgentError:
                raise  # its own, of which Python makes what it makes of any module's
            raise ImportError(f"the agent's module {vars(self)['__name__']}: {error}") from error


def run(command: str | list[str], stdin: str | bytes = b"", *, seconds: float | None = None) -> tuple[int, str, str]:
    """Run a program in the agent's folder; return its exit code, and what it printed to either stream."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    asked = {"run": {"command": command, "stdin": given.hex()}}
    code, out, err = _of(tuple, _CHANNEL.ask(asked, SECONDS if seconds is None else seconds))
    return _of(int, code), _of(str, out), _of(str, err)
