"""Who answers requests: Anthropic's own API, or any server that speaks it, of which nobody knows how well.

The latter is asked for nothing that it may lack, caching above all, and is told in the results of tools what the API
keeps apart: many such servers hand a conversation on in another form, in which an error is a result like any other and
a text behind results stands before them, or is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_rltask.models.lenient import mended
from pytest_rltask.models.settings import BASE_URL, KEY_VARIABLES
from pytest_rltask.models.transport import http_client

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

__all__ = ["ANTHROPIC", "ANY_SERVER", "Server", "told_in_results"]

NO_KEY = "no-key-is-set"
"""What a server that asks for no key is sent as one: the SDK insists on one."""
Message = dict[str, Any]


@dataclass(frozen=True)
class Server:
    """How one kind of server is spoken to."""

    prefix: str
    """What a model's name begins with in front of the name that the server knows."""
    connect: Callable[[], Any]
    """Makes a client for the environment as it is."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Fields of each request beside those of the trial."""
    sent: Callable[[list[Message]], list[Message]] = lambda messages: messages
    """Returns a conversation as the server is sent it."""
    read: Callable[[Any], Any] = lambda answer: answer
    """Returns an answer as the API would have sent it, where that is plain."""
    remedies: Mapping[str, str] = field(default_factory=dict)
    """What to do about what leaves no trial a chance, in place of what is said of the API."""
    has_native_tools: bool = False
    """Whether it knows tools by the types that Claude was trained with."""
    own: tuple[str, ...] = ()
    """Beginnings of modules whose errors mean that there are no credentials."""

    def is_without_credentials(self, error: Exception) -> bool:
        """Say whether an error of the client means that no request can be sent for lack of credentials."""
        if not self.own:
            return False
        return type(error).__module__.startswith(self.own) or type(error) in (RuntimeError, ImportError)


def _anthropic() -> AsyncAnthropic:
    from anthropic import AsyncAnthropic

    return AsyncAnthropic(max_retries=0, http_client=http_client())


def _any_server() -> AsyncAnthropic:
    from anthropic import AsyncAnthropic

    has_key = any(os.environ.get(name) for name in KEY_VARIABLES[:2])
    key = None if has_key else NO_KEY
    return AsyncAnthropic(base_url=os.environ[BASE_URL], max_retries=0, http_client=http_client(), api_key=key)


def told_in_results(messages: list[Message]) -> list[Message]:
    r"""Return a conversation whose results say themselves what failed, and in the last what was said behind them.

    Each message depends on itself alone, so that a longer conversation begins as the shorter one did.

    Example:
        >>> result = {"type": "tool_result", "tool_use_id": "a", "content": "no such file", "is_error": True}
        >>> said = {"type": "text", "text": "1 of 3 calls remains."}
        >>> told_in_results([{"role": "user", "content": [result, said]}])[0]["content"][0]["content"]
        'Error: no such file\n\n1 of 3 calls remains.'
    """
    return [_told(message) for message in messages]


def _told(message: Message) -> Message:
    content = message["content"]
    results = [block for block in content if block.get("type") == "tool_result"] if isinstance(content, list) else []
    if message["role"] != "user" or not results:
        return message
    texts = [block["text"] for block in content if block.get("type") == "text"]
    told = [_with_error(block) for block in results]
    told[-1] = {**told[-1], "content": _joined(told[-1]["content"], texts)}
    others = [block for block in content if block.get("type") not in ("tool_result", "text")]
    return {**message, "content": [*told, *others]}


def _with_error(block: Message) -> Message:
    content = block["content"]
    if not block.get("is_error"):
        return block
    if isinstance(content, str):
        return {**block, "content": f"Error: {content}"}
    return {**block, "content": [{"type": "text", "text": "Error:"}, *content]}


def _joined(content: Any, texts: list[str]) -> Any:
    if isinstance(content, str):
        return "\n\n".join([content, *texts])
    return [*content, *({"type": "text", "text": text} for text in texts)]


ANTHROPIC = Server(
    "",
    _anthropic,
    extras={"cache_control": {"type": "ephemeral"}},  # the automatic mode: the marker moves on every turn
    has_native_tools=True,
)
ANY_SERVER = Server(
    "api:",
    _any_server,
    sent=told_in_results,
    read=mended,
    remedies={
        "model": f"check the name behind api:, and that the server of {BASE_URL} has /v1/messages below that address",
        "key": f"set {KEY_VARIABLES[0]} to the key of that server",
    },
)
